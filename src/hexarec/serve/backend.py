"""What every door into the server shares: the service, its limits, its metrics, and who may come in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakSet

from hexarec.core.errors import HexarecError
from hexarec.serve.keys import Caller, Doorkeeper
from hexarec.serve.limits import Limits
from hexarec.serve.observe import Metrics
from hexarec.serve.recent import Recent
from hexarec.serve.service import Service
from hexarec.serve.settings import OWN, Settings

T = TypeVar("T")
log = logging.getLogger("hexarec.serve")


@dataclass(eq=False)
class Follower:
    """A stream that follows a job of a tenant."""

    tenant: str


class Backend:
    """Started by `start`, ended by `close`; between them it saves every second what keys have spent."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.metrics = Metrics()
        self.recent = Recent()
        self.doorkeeper = Doorkeeper(service.store, open_to=OWN if service.settings.alone else None)
        self.followers: WeakSet[Follower] = WeakSet()  # one whose stream is dropped unread counts no more
        self.aside = ThreadPoolExecutor(8, "aside")  # for lists, so that no long talk keeps them from a thread
        self._limits: dict[str, Limits] = {}
        self._stop = threading.Event()
        self._saver = threading.Thread(target=self._save_often, name="save what was spent", daemon=True)

    @property
    def settings(self) -> Settings:
        """The section [serve]."""
        return self.service.settings

    def limits(self, tenant: str) -> Limits:
        """Rates and budgets of a tenant's keys."""
        if tenant not in self._limits:
            self._limits.setdefault(tenant, Limits(self.service.store.of(tenant), rate=self.settings.rate))
        return self._limits[tenant]

    def paying(self, caller: Caller, function: Callable[..., T], *args: object) -> T:
        """What the function returns; its calls of models are paid by the budgets of the caller's key."""
        if caller.key is None:
            return function(*args)
        return self.limits(caller.tenant).purse(caller.key).paying(function, *args)

    def start(self) -> None:
        """Open the tenants that exist and begin to follow the store."""
        for name in {OWN, *self.service.store.tenants()}:
            self.service.tenant(name)
        self.service.start()
        self._saver.start()

    def close(self) -> None:
        """Answer what waits, save, and close the store."""
        self._stop.set()
        if self._saver.is_alive():
            self._saver.join()
        self._save()
        self.service.close()
        self.aside.shutdown(wait=False, cancel_futures=True)

    def _save_often(self) -> None:
        while not self._stop.wait(1.0):
            self._save()

    def _save(self) -> None:
        for name, limits in list(self._limits.items()):
            try:
                limits.save()
            except HexarecError as error:
                log.warning("what the keys of %s spent could not be saved: %s", name, error.message)
