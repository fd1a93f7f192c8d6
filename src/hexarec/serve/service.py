"""The service: one store, its tenants, and a follower that takes up what others changed."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import HexarecError
from hexarec.lm.private import keep_private
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.settings import Settings
from hexarec.serve.watch import Watch

if TYPE_CHECKING:
    from hexarec.serve.store.open import Store

log = logging.getLogger("hexarec.serve")


class Service:
    """Everything behind the API. `start` begins to follow the store, `close` answers what waits and stops."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        if not settings.remote_pii:
            keep_private()
        self.started = time.time()
        self._tenants: dict[str, Tenant] = {}
        self._lock = threading.Lock()
        self._watches: dict[str, Watch] = {}
        self._stop, self._leaving = threading.Event(), threading.Event()
        self._follower = threading.Thread(target=self._follow, name="follow the store", daemon=True)

    @property
    def folder(self) -> Path:
        """Where the server keeps what is no row: fitted pipelines, artefacts of jobs."""
        return self.settings.home

    def tenant(self, name: str = "default") -> Tenant:
        """The tenant of this name, opened at the first call. Raises OptionError for a name that is none."""
        found = self._tenants.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._tenants:
                made = Tenant(
                    self.store.of(name), self.folder / "pipelines" / name,
                    merge=self.settings.merge, most=self.settings.waiting, threads=self.settings.threads,
                    memory=int(1e6 * self.settings.lm_cache_mb),
                )  # fmt: skip
                made.refresh()
                self._tenants[name] = made
            return self._tenants[name]

    @property
    def tenants(self) -> dict[str, Tenant]:
        """The tenants that are open."""
        return dict(self._tenants)

    def start(self) -> None:
        """Begin to follow the store."""
        self._follower.start()

    def leave(self) -> None:
        """Say that this service is about to close: it still answers, but is not ready and ends its streams."""
        self._leaving.set()

    def close(self) -> None:
        """Stop following, answer what waits, close the store. Nothing acknowledged is lost."""
        self._stop.set()
        if self._follower.is_alive():
            self._follower.join(self.settings.stop_seconds)
        for tenant in self._tenants.values():
            tenant.close(self.settings.stop_seconds)
        self.store.close()

    @property
    def stopping(self) -> bool:
        """Whether the service closes, or is about to: it is alive, but no longer ready."""
        return self._leaving.is_set() or self._stop.is_set()

    def _follow(self) -> None:
        while not self._stop.wait(self.settings.poll_seconds):
            for tenant in list(self._tenants.values()):
                try:
                    tenant.refresh()
                    self._watches.setdefault(tenant.name, Watch()).look(tenant, time.time())
                except HexarecError as error:  # the store may be busy or down: the next round tries again
                    log.warning("tenant %s could not be refreshed: %s", tenant.name, error.message)
                except Exception:
                    log.exception("tenant %s could not be refreshed", tenant.name)
