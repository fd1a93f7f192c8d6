"""Metric names: one table, one spelling (`ndcg@10`, `recall@20[cold]`, `auc`), and what a measurement returns."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import OptionError

Family = Literal["list", "run", "label", "words", "visit"]
Better = Literal["higher", "lower", "neither"]
FORM = re.compile(r"\s*([A-Za-z_\- ]+?)\s*(?:@\s*(\d+))?\s*(?:\[([^\[\]]+)\])?\s*")


@dataclass(frozen=True, eq=False)
class Measured:
    """One number and where it comes from.

    value: of the whole run, NaN when it does not apply. values: (n,) per list with `nanmean(values) == value`, NaN =
    not applicable, so that intervals can be bootstrapped; None for a metric that exists only for a whole run.
    draws: (rounds,) the number in each round of a bootstrap over users (`user_draws`), for what is no mean of values
    per user; None where there are none.
    """

    value: float
    values: NDArray[np.float64] | None = None
    draws: NDArray[np.float64] | None = None

    @classmethod
    def mean(cls, values: NDArray[np.float64]) -> Measured:
        """The mean of the values that apply; NaN when none does."""
        return cls(mean(values), values)

    @property
    def counted(self) -> int:
        """Lists that count, 0 for a metric without per-list values."""
        return 0 if self.values is None else int(np.count_nonzero(~np.isnan(self.values)))


def mean(values: NDArray[np.float64]) -> float:
    """The mean of the values that are not NaN, NaN when none is left (without a warning)."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


@dataclass(frozen=True)
class Spec:
    """A row of the table. at: whether the name takes a cut-off; aliases: other spellings, lower case, no separators."""

    family: Family
    better: Better = "higher"
    at: bool = True
    aliases: tuple[str, ...] = ()


_ERROR = Spec("words", "lower", at=False)
TABLE: dict[str, Spec] = {
    "hit": Spec("list", aliases=("hr", "hitrate", "success", "hits")),
    "recall": Spec("list", aliases=("rec", "r")),
    "recall_capped": Spec("list", aliases=("cappedrecall", "rprecisioncapped")),
    "precision": Spec("list", aliases=("prec", "p")),
    "ndcg": Spec("list", aliases=("normalizeddcg", "normalisedcg")),
    "mrr": Spec("list", aliases=("rr", "reciprocalrank", "meanreciprocalrank")),
    "map": Spec("list", aliases=("ap", "averageprecision", "meanaverageprecision")),
    "coverage": Spec("run", aliases=("catalogcoverage", "itemcoverage")),
    "gini": Spec("run", "lower", aliases=("giniindex",)),
    "entropy": Spec("run", aliases=("shannonentropy",)),
    "novelty": Spec("run", "neither", aliases=("selfinformation", "meaninvuserfreq")),
    "avg_popularity": Spec("run", "neither", aliases=("arp", "averagepopularity")),
    "popularity_lift": Spec("run", "neither", aliases=("poplift",)),
    "ild": Spec("run", aliases=("intralistdistance", "intralistdiversity", "diversity")),
    "ild_tags": Spec("run", aliases=("ildjaccard",)),
    "tag_coverage": Spec("run", aliases=("interestcoverage",)),
    "calibration": Spec("run", "lower", aliases=("miscalibration", "calibrationkl")),
    "unexpectedness": Spec("run", "neither"),
    "div_ratio": Spec("run", aliases=("diversityratio",)),
    "or_ratio": Spec("run", "lower", aliases=("overrecommendationratio",)),
    "mgu": Spec("run", "lower"),
    "dgu": Spec("run", "lower"),
    "auc": Spec("label", at=False, aliases=("rocauc",)),
    "uauc": Spec("label", at=False, aliases=("userauc", "gauc")),
    "log_loss": Spec("label", "lower", at=False, aliases=("bce", "crossentropy")),
    "ece": Spec("label", "lower", at=False, aliases=("expectedcalibrationerror",)),
    "accuracy": Spec("label", at=False, aliases=("acc",)),
    "uauc_users": Spec("label", "neither", at=False),
    "parse_failure_rate": Spec("label", "lower", at=False, aliases=("unscored",)),
    "satisfaction": Spec("visit", at=False),
    "clicks": Spec("visit", at=False),
    "click_rate": Spec("visit", at=False),
    "likes": Spec("visit", at=False),
    "like_rate": Spec("visit", at=False),
    "yes_rate": Spec("visit", "neither", at=False),
    "exit_page": Spec("visit", at=False),
    "raw_invention": Spec("words", "lower", at=False),
    "repaired_invention": Spec("words", "lower", at=False, aliases=("invention",)),
    "claim_precision": Spec("words", at=False),
    "template_share": Spec("words", "neither", at=False),
    "retried_share": Spec("words", "lower", at=False),
    "empty_share": Spec("words", "lower", at=False),
    "candidate_error_rate": _ERROR,
    "duplicate_error_rate": _ERROR,
    "missing_rate": _ERROR,
    "refusal_rate": _ERROR,
    "format_error_rate": _ERROR,
    "retried_rate": _ERROR,
    "fallback_rate": _ERROR,
}


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]", "", name.lower())


_SPELLINGS = {_plain(name): name for name in TABLE} | {a: name for name, spec in TABLE.items() for a in spec.aliases}


@dataclass(frozen=True)
class Metric:
    """A parsed name. k: cut-off, 0 for a metric without one. slice: what stands in brackets, "" for everybody."""

    name: str
    k: int = 0
    slice: str = ""

    def __str__(self) -> str:
        """The canonical spelling: `parse(str(metric)) == metric`."""
        return self.name + (f"@{self.k}" if self.k else "") + (f"[{self.slice}]" if self.slice else "")

    @property
    def family(self) -> Family:
        """Which module measures it."""
        return TABLE[self.name].family

    @property
    def better(self) -> Better:
        """Whether more is better, less is better, or neither."""
        return TABLE[self.name].better


def parse(text: str | Metric) -> Metric:
    """A metric from its name; case, `_` and known aliases (HR, HitRate, nDCG, MRR, MAP, ...) do not matter.

    Raises OptionError with the nearest real name for an unknown one, and for a missing or needless cut-off.
    """
    if isinstance(text, Metric):
        return text
    form = FORM.fullmatch(text)
    if form is None:
        raise OptionError(f"{text!r} is not a metric", hint="write name@k or name@k[slice], for example ndcg@10")
    word, cut, part = form.groups()
    name = _SPELLINGS.get(_plain(word))
    if name is None:
        close = difflib.get_close_matches(_plain(word), list(_SPELLINGS), n=1, cutoff=0.5)
        guess = f"did you mean {_SPELLINGS[close[0]] + (f'@{cut}' if cut else '')!r}? " if close else ""
        raise OptionError(f"no metric is called {word!r}", hint=f"{guess}metrics: {', '.join(TABLE)}")
    if TABLE[name].at and (cut is None or int(cut) < 1):
        raise OptionError(f"{text!r} needs a cut-off of at least 1", hint=f"write {name}@10")
    if not TABLE[name].at and cut is not None:
        raise OptionError(f"{name} takes no cut-off", hint=f"write {name}")
    return Metric(name, int(cut) if cut else 0, (part or "").strip())
