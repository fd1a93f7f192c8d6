"""The task `session`: recommenders before simulated users; what is taken up and liked, exits, and the interview.

Also what tells whether simulated users may be believed: their judgements against held-out likes, and their traits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    DataError,
    Dataset,
    Lists,
    OptionError,
    Queries,
    UserModel,
    at_least,
    best,
    digest,
    fitted,
    fresh,
    options_digest,
    ragged,
    rng,
    stages_of,
)
from hexarec.eval.estimate import Estimate, estimate
from hexarec.eval.silence import heard_rollout
from hexarec.eval.tasks import Round, answered
from hexarec.metrics import Metric, Pairs, auc
from hexarec.metrics.visits import MEASURES, visit_metrics

METRICS = tuple(MEASURES)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SessionRound(Round):
    """A round of visits. people: fitted users; a system's list is shown to them in pages."""

    people: UserModel = field(kw_only=True)
    pages: int = 5
    per_page: int = 4

    @property
    def key(self) -> str:
        """A hash of the questions and of who answers for them."""
        return digest(super().key, options_digest(self.people), self.pages, self.per_page)

    def answered(self, system: Any, queries: Queries, given: Lists | None, k: int) -> tuple[Lists, int]:
        """The items looked at, with what was thought of them; notes hold page and satisfaction. k does not count.

        Failed are the recommender's stages and the steps in which a user's model said nothing of use.
        """
        shown, failed = answered(system, queries, None, self.pages * self.per_page)
        rolled, lost = heard_rollout(shown, queries, self.people, pages=self.pages, per_page=self.per_page)
        notes = tuple({"visit": {n: one.get(n) for n in ("page", "satisfaction")}} for one in rolled.visits)
        seen = rolled.seen.shown
        return Lists(seen.key, seen.offsets, seen.items, seen.scores, seen.fields, notes), failed + lost

    def measured(self, answers: Sequence[Lists], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
        """Measures of the visits: values per user, so that systems are compared in pairs."""
        if other := [m for m in metrics if m.family != "visit" or m.slice]:
            raise OptionError(f"{other[0]} does not measure visits", hint=f"take {', '.join(METRICS)}")
        names = [m.name for m in metrics]
        return [
            {name: made.values for name, made in visit_metrics(lists, _scores(lists), names).items()}
            for lists in answers
        ]


def _scores(lists: Lists) -> Floats:
    said = [note.get("visit", {}).get("satisfaction") for note in lists.notes]
    return np.array([np.nan if one is None else float(one) for one in said] or [np.nan] * len(lists))


@dataclass(frozen=True)
class Session:
    """Show each system's list to simulated users in pages of `per_page`, at most `pages` of them.

    people: a user model; fitted here on the data, like the systems. max_users: a seeded sample. name:
    what the title calls them, the class by default.
    """

    data: Dataset
    people: Any
    pages: int = 5
    per_page: int = 4
    max_users: int | None = None
    seed: int = 0
    name: str = ""
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        at_least(self, pages=1, per_page=1, max_users=1)

    def round(self) -> SessionRound:
        """Fit the users and ask for everybody. Raises OptionError for what is no user model."""
        if "react" not in stages_of(self.people):
            raise OptionError(f"{type(self.people).__name__} is no user model", hint="take agent4rec")
        people = fitted(self.people, self.data, self.seed) if hasattr(self.people, "fit") else self.people
        rows = rng(self.seed, "session").permutation(self.data.n_users)[: self.max_users]
        queries = self.data.queries(np.sort(rows), seed=self.seed)
        if not len(queries):
            raise DataError("there is nobody to visit", field="users")
        who = self.name or type(self.people).__name__
        title = (
            f"{self.data.name}, visits of {len(queries):,} simulated users ({who}), at most "
            f"{self.pages} pages of {self.per_page}"
        )
        none = Lists.empty(self.data.catalog.key, len(queries))
        return SessionRound(
            replace(self.data, simulated=True),
            queries,
            none,
            None,
            title,
            people=people,
            pages=self.pages,
            per_page=self.per_page,
        )


@dataclass
class _Longest:
    """Visits in which everything suits and nobody leaves before the last page: what they can cost at most."""

    people: Any
    pages: int
    per_page: int

    def fit(self, data: Dataset, *, seed: int = 0) -> _Longest:
        """Fit the users; a model's yes has no threshold."""
        self.people_ = fresh(self.people)
        self.people_ = self.people_.fit(data, seed=seed) if hasattr(self.people_, "fit") else self.people_
        if hasattr(self.people_, "bias_"):
            self.people_.bias_ = -np.inf
        return self

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """Drawn lists, looked through to the end."""
        shown = _drawn(queries, self.pages * self.per_page)
        visits: list[Any] = [{"user": query.user, "lang": query.lang, "seed": query.seed} for query in queries]
        place = ragged.positions(shown.offsets)
        for page in range(self.pages):
            now = shown.where((place >= page * self.per_page) & (place < (page + 1) * self.per_page))
            visits = [{**one, "exited": False} for one in self.people_.react(visits, now)]
        return shown


def _drawn(queries: Queries, k: int) -> Lists:
    return best(queries, lambda part: rng(0, "drawn").random((len(part), len(part.catalog))).astype(np.float32), k)


def visits_cost(people: Any, data: Dataset, n: int, *, pages: int = 5, per_page: int = 4, **more: Any) -> Estimate:
    """What fitting simulated users and n visits to the last page cost at most; no model is asked.

    more: as for `estimate`. That function, given a session to estimate, counts the recommender alone.
    """
    return estimate(_Longest(people, pages, per_page), data, n, **more)


def mixed(queries: Queries, truth: Lists, n: int, others: int, seed: int = 0) -> Lists:
    """A page of n items for each question: one held-out like to `others` items not met; field `gain` 1 or 0.

    Shuffled. Questions with fewer than n / (1 + others) held-out likes get an empty page.
    """
    right = max(n // (1 + others), 1)
    rows: list[list[int]] = []
    gains: list[Floats] = []
    for i, name in enumerate(queries.user_ids()):
        draw, held = rng(seed, "mixed", others, name), truth[i].items
        if len(held) < right:
            rows.append([])
            gains.append(np.zeros(0))
            continue
        met = np.concatenate([queries.exclude[slice(*queries.exclude_offsets[i : i + 2])], held])
        free = np.setdiff1d(np.flatnonzero(queries.catalog.alive), met)
        some = np.concatenate([draw.permutation(held)[:right], draw.permutation(free)[: n - right]])
        gain = (np.arange(len(some)) < right).astype(np.float64)
        order = draw.permutation(len(some))
        rows.append(some[order].tolist())
        gains.append(gain[order])
    return Lists.of(queries.catalog.key, rows).with_field("gain", np.concatenate([np.zeros(0), *gains]))


@dataclass(frozen=True)
class Discrimination:
    """What yes is worth. recall, false_positives: share of the likes, and of the others, that are said to suit.

    failed: steps in which a user's model said nothing of use; what it was asked there counts as no.
    """

    yes_rate: float
    recall: float
    false_positives: float
    precision: float
    auc: float
    failed: int = 0


def discrimination(people: UserModel, queries: Queries, page: Lists) -> Discrimination:
    """One page of items with known `gain` before each user: which are said to suit.

    auc: of yes against no, pairs of one user only: 0.5 + (recall - false positives) / 2 on average. Raises ModelError
    when no answer of the users' model came.
    """
    longest = max(int(page.lengths.max(initial=0)), 1)
    rolled, failed = heard_rollout(page, queries, people, pages=1, per_page=longest)
    kept = np.isin(ragged.segments(page.offsets), np.flatnonzero(page.lengths))
    seen = rolled.seen.shown
    if len(seen.items) != int(kept.sum()):
        raise DataError("some items were not looked at")
    true, yes = page.fields["gain"] > 0, np.nan_to_num(seen.fields["aligned"]) > 0
    pairs = Pairs.of(true.astype(np.float64), yes.astype(np.float64), ragged.segments(page.offsets))
    return Discrimination(
        _share(yes, np.ones(len(yes), bool)),
        _share(yes, true),
        _share(yes, ~true),
        _share(true, yes),
        auc(pairs),
        failed,
    )


def _share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(of[among].mean()) if among.any() else float("nan")


@dataclass(frozen=True)
class Trend:
    """A measure by trait level: its means at levels 1 to 3, the slope per level, and p of a permutation test."""

    means: tuple[float, ...]
    slope: float
    p: float


def trend(levels: NDArray[Any], values: NDArray[Any], seed: int = 0, draws: int = 2_000) -> Trend:
    """Whether a measure rises with a trait: the slope against that of shuffled levels, one-sided; NaN is left out."""
    known = ~np.isnan(np.asarray(values, np.float64))
    x, y = np.asarray(levels, np.float64)[known], np.asarray(values, np.float64)[known]
    means = tuple(float(y[x == level].mean()) if (x == level).any() else float("nan") for level in (1, 2, 3))
    if len(y) < 3 or np.ptp(x) == 0:
        return Trend(means, float("nan"), float("nan"))
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    shuffled = np.array([rng(seed, "trend", n).permutation(centred) @ y for n in range(draws)]) / (centred @ centred)
    return Trend(means, slope, float((1 + (shuffled >= slope - 1e-12).sum()) / (1 + draws)))


def hazards(pages: NDArray[Any], last: int) -> tuple[float, ...]:
    """Share that leaves at each page among those who came to it, from the exit pages (n,)."""
    known = np.asarray(pages, np.float64)
    known = known[~np.isnan(known)]
    return tuple(float((known == page).sum() / max((known >= page).sum(), 1)) for page in range(1, last + 1))
