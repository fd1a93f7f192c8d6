"""What the contracts share: how a stage is fitted and asked, and when two answers are the same."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, IdTable, Interactions, Item, Lists, Queries, fresh, ragged, rng
from hexarec.data.worlds import World

LISTING = ("retrieve", "rank", "control")
K = 5
POOL = 12  # candidates given to rankers and controllers: letters suffice to name them
FEW = 8  # questions asked where the number does not matter
TOLERANCE = 1e-4
SEED = 3


class Broken(AssertionError):
    """A promise that a stage did not keep."""


def hold(kept: Any, said: str) -> None:
    """Raise Broken with what was found unless the promise is kept."""
    if not kept:
        raise Broken(said)


def newly_fitted(stage: Any, data: Dataset, seed: int = SEED) -> Any:
    """A copy of the stage with the same options, fitted on `data`; one without `fit` as it is."""
    made = fresh(stage)
    return made.fit(data, seed=seed) if hasattr(made, "fit") else made


_FITS: OrderedDict[tuple[int, str], tuple[Any, Any]] = OrderedDict()


def ready(stage: Any, data: Dataset) -> Any:
    """The fitted stage, kept for the next contract. The stage is held too, so its identity is not reused."""
    key = (id(stage), data.key)
    if key not in _FITS:
        _FITS[key] = (stage, newly_fitted(stage, data))
        while len(_FITS) > 4:
            _FITS.popitem(last=False)
    return _FITS[key][1]


def verbs(stage: Any) -> list[str]:
    """The verbs of the stage that answer with lists."""
    return [verb for verb in LISTING if callable(getattr(stage, verb, None))]


def few(world: World) -> Queries:
    """The first questions of the world."""
    return world.queries.take(slice(0, FEW))


def pool(queries: Queries) -> Lists:
    """Permitted candidates of each question, drawn by its user and seed, with a field `mark` that names the item."""
    allowed = ~queries.forbidden(len(queries.catalog))
    rows = []
    for i, name in enumerate(queries.user_ids()):
        some = rng(int(queries.seed[i]), "contracts", name).permutation(np.flatnonzero(allowed[i]))[:POOL]
        rows.append(some.tolist())
    made = Lists.of(queries.catalog.key, rows)
    return made.with_field("mark", 7 * made.items.astype(np.int64) + 1)


def ask(stage: Any, verb: str, queries: Queries, k: int = K, given: Lists | None = None) -> Lists:
    """What the verb answers; rankers and controllers get `given` or the drawn pool."""
    if verb == "retrieve":
        made: Lists = stage.retrieve(queries, k)
        return made
    candidates = pool(queries) if given is None else given
    made = stage.rank(queries, candidates) if verb == "rank" else stage.control(queries, candidates, k)
    return made


def same(ours: Lists, theirs: Lists, what: str, tolerance: float = TOLERANCE) -> None:
    """Equal items and scores, list by list; near ties may change places where a tolerance is given."""
    hold(len(ours) == len(theirs), f"{what}: {len(theirs)} lists against {len(ours)}")
    for i in range(len(ours)):
        one, other = ours[i], theirs[i]
        hold(len(one.items) == len(other.items), f"{what}: list {i} has {len(other.items)} items, not {len(one.items)}")
        if tolerance == 0.0:
            hold(np.array_equal(one.items, other.items), f"{what}: list {i} holds {other.items}, not {one.items}")
            hold(np.array_equal(one.scores, other.scores, equal_nan=True), f"{what}: scores of list {i} differ")
        else:
            _near(_scored(one), _scored(other), f"{what}: list {i}", tolerance)


def _scored(one: Any) -> dict[int, float]:
    return dict(zip(one.items.tolist(), one.scores.tolist(), strict=True))


def _near(ours: Mapping[int, float], theirs: Mapping[int, float], what: str, tolerance: float) -> None:
    for item in {**ours, **theirs}:
        if item in ours and item in theirs:
            close = np.isclose(ours[item], theirs[item], rtol=tolerance, atol=tolerance, equal_nan=True)
            hold(close, f"{what}: item {item} has score {theirs[item]:.6g}, not {ours[item]:.6g}")
        else:
            # an item may only leave a list where it ties with the last one
            own = ours if item in ours else theirs
            last = list(own.values())[-1]
            tied = np.isclose(own[item], last, rtol=tolerance, atol=tolerance, equal_nan=True)
            hold(tied, f"{what}: item {item} is in one answer only")


def differ(ours: Lists, theirs: Lists) -> bool:
    """Whether two answers are not the same."""
    try:
        same(ours, theirs, "")
    except Broken:
        return True
    return False


def nobody(queries: Queries) -> Queries:
    """The same questions with no history and nothing excluded."""
    from hexarec.core import History

    none = np.zeros(len(queries) + 1, np.int64)
    return queries.with_history(History.empty(len(queries))).excluding(np.zeros(0, np.int32), none)


def grown(data: Dataset, n: int = 2) -> Dataset:
    """The same lineage with n new items that read like the first ones."""
    items = []
    for row in range(n):
        old = data.catalog.item(row)
        items.append(Item(f"contract:new:{row}", old.title, old.text, old.attributes, old.titles, old.texts))
    return data.with_items(items)


def elsewhere(data: Dataset) -> Dataset:
    """The same data in another lineage, where row numbers mean other items."""
    return data.onto(IdTable.of(["contract:foreign"], "contract:foreign"))


def end_of(data: Dataset) -> float:
    """A moment after every event."""
    return float(data.interactions.time.max(initial=0.0)) + 1.0


def poisoned(data: Dataset) -> Dataset:
    """The data with absurd events after the end: everybody consumes the least popular items, over and over."""
    log = data.interactions
    rare = np.argsort(log.counts(data.n_items), kind="stable")[:3]
    user = np.repeat(np.arange(data.n_users), 6)
    columns: dict[str, Any] = {
        "user": np.concatenate([log.user, user]),
        "item": np.concatenate([log.item, np.resize(rare, len(user))]),
        "time": np.concatenate([log.time, np.full(len(user), end_of(data) + 1.0)]),
    }
    rest = {"kind": 0, "value": 5.0, "liked": True, "weight": 100.0, "source": 0}
    for name, value in rest.items():
        old = getattr(log, name)
        columns[name] = np.concatenate([old, np.full(len(user), value, old.dtype)])
    if log.text is not None:
        columns["text"] = np.concatenate([log.text, np.full(len(user), "", object)])
    columns["sources"] = log.sources
    return data.with_log(Interactions.of(columns, log.n_users, clock=log.clock, like_rule=log.like_rule))


def rewritten(data: Dataset, moment: float) -> Dataset:
    """The data in which all from the moment on is another thing: other items, likes, values, weights and gains."""
    log = data.interactions
    late = log.time >= moment
    shift = 1 + np.arange(len(log.item)) % max(data.n_items - 1, 1)
    turned = replace(
        log,
        item=np.where(late, (log.item + shift) % data.n_items, log.item).astype(np.int32),
        liked=np.where(late, shift % 3 > 0, log.liked),
        value=np.where(late, np.float32(1.0), log.value).astype(np.float32),
        weight=np.where(late, np.float32(50.0), log.weight).astype(np.float32),
    )
    seen = data.exposures
    if seen is None:
        return data.with_log(turned)
    gain = seen.shown.fields["gain"]
    flip = (seen.queries.now >= moment)[ragged.segments(seen.shown.offsets)]
    shown = seen.shown.with_field("gain", np.where(flip, 1.0 - gain, gain).astype(np.float32))
    return replace(data.with_log(turned), exposures=replace(seen, shown=shown))


def arrays_in(value: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array a value holds, by its path."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from arrays_in(one, f"{path}[{key!r}]", seen)
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from arrays_in(one, f"{path}[{place}]", seen)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from arrays_in(getattr(value, field.name, None), f"{path}.{field.name}", seen)


def words_in(value: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Every text a learned state holds, keys and caches included; not those of models and of the data set served."""
    seen = set() if seen is None else seen
    if isinstance(value, str):
        yield value
        return
    if id(value) in seen or isinstance(value, Dataset) or getattr(value, "spec", None):
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OU":
            yield from (one for one in value.ravel().tolist() if isinstance(one, str))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from words_in(key, seen)
            yield from words_in(one, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from words_in(one, seen)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from words_in(vars(value), seen)


def well_formed(lists: Lists, queries: Queries) -> None:
    """The shape every answer has: one list a question, rows of the catalog, columns of one length."""
    n = len(queries.catalog)
    hold(isinstance(lists, Lists), f"answered with a {type(lists).__name__}, not Lists")
    hold(lists.key == queries.catalog.key, f"the lists belong to lineage {lists.key!r}, not {queries.catalog.key!r}")
    hold(len(lists) == len(queries), f"{len(lists)} lists for {len(queries)} questions")
    flat = len(lists.items)
    hold(lists.offsets[0] == 0 and lists.offsets[-1] == flat, "the offsets do not cover the items")
    hold((lists.lengths >= 0).all(), "an offset falls")
    hold(lists.items.dtype == np.int32, f"items are {lists.items.dtype}, not int32")
    hold(lists.scores.dtype == np.float32, f"scores are {lists.scores.dtype}, not float32")
    hold(len(lists.scores) == flat, f"{len(lists.scores)} scores for {flat} items")
    for name, column in lists.fields.items():
        hold(len(column) == flat, f"the field {name!r} has {len(column)} values for {flat} items")
    outside = lists.items[(lists.items < 0) | (lists.items >= n)]
    hold(not len(outside), f"rows {outside[:5].tolist()} are not in the catalog of {n}")
    wide = ragged.segments(lists.offsets) * n + lists.items
    hold(len(np.unique(wide)) == flat, "an item stands twice in one list")
