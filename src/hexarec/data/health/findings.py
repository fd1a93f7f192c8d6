"""One finding, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["ok", "warn", "bad"]
ORDER: tuple[Level, ...] = ("ok", "warn", "bad")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how bad it is, its number, a sentence in plain words, and what to do."""

    name: str
    level: Level
    number: float
    sentence: str
    mend: str = ""


@dataclass(frozen=True, eq=False)
class Health:
    """All findings about one data set. curves: name -> (x, y) of the plots."""

    name: str
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)
    simulated: bool = False
    like_rule: str = ""

    @property
    def level(self) -> Level:
        """The worst level of any finding."""
        return max((one.level for one in self.findings), key=ORDER.index, default="ok")

    def __getitem__(self, name: str) -> Finding:
        return next(one for one in self.findings if one.name == name)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values, without the curves."""
        rows = [
            {"name": f.name, "level": f.level, "number": _json(f.number), "sentence": f.sentence, "mend": f.mend}
            for f in self.findings
        ]
        return {"name": self.name, "level": self.level, "counts": dict(self.counts), "findings": rows}


def _json(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def graded(number: float, warn: float, bad: float) -> Level:
    """ok below `warn`, bad from `bad` on, warn between."""
    return "bad" if number >= bad else "warn" if number >= warn else "ok"


def finding(
    name: str, number: float, sentence: str, mend: str = "", *, warn: float = np.inf, bad: float = np.inf
) -> Finding:
    """A finding graded by its number; what to do is said only when there is something to do."""
    level = graded(number, warn, bad)
    return Finding(name, level, float(number), sentence, mend if level != "ok" else "")
