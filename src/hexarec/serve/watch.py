"""The watch over running experiments: what breaks one of its rules is stopped, and the reason is kept."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hexarec.core.errors import HexarecError
from hexarec.serve import trials
from hexarec.serve.rules import NEWEST, Seen, broken
from hexarec.serve.store.rows import ShownRow, Versioned

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

log = logging.getLogger("hexarec.serve")
EVERY = 5.0
"""Seconds between two looks."""
SETTLED = 1.0
"""Seconds after which a list that was shown is sure to be in the store."""
AGO = 3_600.0
"""Seconds that a server which has just started looks back."""
BOTH = "both"
"""How the lists of an interleaving are called, which have no arm."""


@dataclass
class _Lists:
    """The newest lists of one experiment by arm, and the moment up to which they were read."""

    until: float
    arms: dict[str, deque[ShownRow]] = field(default_factory=dict)


@dataclass
class Watch:
    """Looks at the running experiments of one tenant; each list is read once."""

    _known: dict[str, _Lists] = field(default_factory=dict)
    _looked: float = 0.0

    def look(self, tenant: Tenant, now: float) -> list[str]:
        """Stop every running experiment that breaks a rule, when the last look is old enough; the names of these."""
        if 0.0 <= now - self._looked < EVERY:
            return []
        self._looked = now
        running = [one for one in trials.running(tenant) if one.body.get("stop_if")]
        since = now - AGO
        self._known = {
            one.name: self._known.get(one.name) or _Lists(max(one.body["started"], since)) for one in running
        }
        return [one.name for one in running if self._stopped(tenant, one, now)]

    def _stopped(self, tenant: Tenant, experiment: Versioned, now: float) -> bool:
        found = broken(experiment.body["stop_if"], self._arms(tenant, experiment, now - SETTLED))
        if found is None:
            return False
        words = f"{found['rule']}: {found['value']:.4g} in arm {found['arm']}, its newest {found['lists']} lists"
        try:
            trials.moved(tenant, experiment.name, "stopped", now, why={**found, "said": words})
        except HexarecError as error:  # somebody else stopped it, or the store is busy: look again
            log.warning("experiment %s could not be stopped: %s", experiment.name, error.message)
            return False
        tenant.shelf.audit("server", "experiment stopped", f"{experiment.name}: {words}")
        log.warning("experiment %s was stopped: %s", experiment.name, words)
        return True

    def _arms(self, tenant: Tenant, experiment: Versioned, until: float) -> dict[str, Seen]:
        known, body = self._known[experiment.name], experiment.body
        control = next(iter(body["arms"]))
        for row in tenant.shelf.shown_between(known.until, until, experiment=experiment.name):
            arm = BOTH if row.teams else row.arm
            if arm is not None and arm != control:
                known.arms.setdefault(arm, deque(maxlen=NEWEST)).append(row)
        known.until = max(until, known.until)
        return {arm: _seen(tenant, body, list(rows)) for arm, rows in known.arms.items()}


def _seen(tenant: Tenant, body: Mapping[str, Any], rows: list[ShownRow]) -> Seen:
    came = trials.outcomes(tenant, [row.request for row in rows])
    events = [[one for one in came.get(row.request, ()) if one.time <= row.time + body["window"]] for row in rows]
    return Seen(rows, events, body["kinds"])
