"""The audit of what was shown, as figures and rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from hexarec.serve.exposure import Audit, audited
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.figures import Axis, Figure, Series

T = Callable[..., str]
DAYS = (1, 7, 30, 365)
KEPT = 30.0
"""Seconds for which an audit is not worked out again."""
_MADE: WeakKeyDictionary[Tenant, dict[tuple[int, str, str], tuple[float, Audit | None]]] = WeakKeyDictionary()
MOST = 8


def audit_of(tenant: Tenant, days: int, tag: str, by: str) -> Audit | None:
    """The audit of the last days, as of half a minute ago at most."""
    key = (days, tag, by)
    with tenant.reporting:
        kept = _MADE.setdefault(tenant, {})
        if key not in kept or time.monotonic() - kept[key][0] > KEPT:
            while len(kept) >= MOST:
                kept.pop(next(iter(kept)))
            kept[key] = (time.monotonic(), audited(tenant, days=days, tag=tag, by=by))
        return kept[key][1]


def audit_figures(audit: Audit, t: T) -> list[Figure]:
    """Lorenz curve of exposure, exposure by group of items, and each measure by group of users."""
    x, y = (one.tolist() for one in audit.lorenz)
    made = [
        Figure(
            "exposure", t("audit.lorenz"), Axis(t("data.figure.share_items")), Axis(t("audit.share_exposure")), x,
            (Series(t("audit.exposure_held"), y), Series(t("data.figure.even"), x)),
        )
    ]  # fmt: skip
    if audit.items:
        names = tuple(name for name, _, _ in audit.items)
        shown = [_known(share) for _, share, _ in audit.items]
        stock = [_known(share) for _, _, share in audit.items]
        both = (Series(t("audit.of_exposure"), shown, kind="bars"), Series(t("audit.of_catalog"), stock, kind="bars"))
        made.append(_bars("groups", t("audit.by_items", tag=audit.tag), audit.tag, t("audit.share"), names, both))
    for measure, gap in audit.gaps.items():
        names = tuple(f"{name} ({n})" for name, n in zip(gap.names, gap.counted.tolist(), strict=True))
        said = t(f"audit.measure.{measure}")
        means = [_known(mean) for mean in gap.means.tolist()]
        title = t("audit.by_users", measure=said, by=audit.by)
        name = f"users-{measure.replace('_', '-')}"
        figure = _bars(name, title, audit.by, said, names, (Series(said, means, kind="bars"),))
        made += [] if figure.empty else [figure]
    return made


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bars(name: str, title: str, x: str, y: str, names: Sequence[str], series: tuple[Series, ...]) -> Figure:
    return Figure(name, title, Axis(x), Axis(y), tuple(range(len(names))), series, tuple(names))
