"""A recommender before simulated users: page by page until everybody has left, and again after learning from it.

The protocol is that of Zhang et al. 2024, arXiv:2310.10108: the recommender gives one list a visit, shown in pages; for
a filter bubble it learns from what was liked and is asked anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Exposures, Interactions, Lists, OptionError, Queries, UserModel, ragged, track
from hexarec.metrics.reference import Tags

COLUMNS = ("aligned", "watched", "liked")
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rollout:
    """What came of visits, one a question.

    seen: the looked-at items in the order shown, with `gain` (liked), `page`, `slot`, `aligned`, `watched`, `rating`
    (NaN = none); source "sim:...". visits: the last state of each.
    """

    seen: Exposures
    visits: tuple[Mapping[str, Any], ...]


def rollout(
    shown: Lists, queries: Queries, people: UserModel, *, pages: int = 5, per_page: int = 4, name: str = ""
) -> Rollout:
    """Let each question's user look through their list, `per_page` items a page, until they leave or it ends.

    people: fitted. Visits take user, language and seed of the question. name: of the recommender. Whoever has not left
    after `pages` pages is left where they are. Raises OptionError for pages without items.
    """
    if pages < 1 or per_page < 1:
        raise OptionError("pages and per_page are at least 1")
    shown.same(Lists.empty(queries.catalog.key, len(queries)))
    visits: list[Mapping[str, Any]] = [
        {"user": query.user, "lang": query.lang, "seed": query.seed} for query in queries
    ]
    place, looks = ragged.positions(shown.offsets), np.zeros(len(shown.items), np.int64)
    columns = {name: np.full(len(shown.items), np.nan) for name in (*COLUMNS, "rating")}
    for page in track(range(1, pages + 1), "pages"):
        now = shown.where((place >= per_page * (page - 1)) & (place < per_page * page))
        going = np.array([i for i, one in enumerate(visits) if not one.get("exited") and len(now[i].items)], np.int64)
        if not len(going):
            break
        after = people.react([visits[i] for i in going], now.take(going))
        for i, one in zip(going.tolist(), after, strict=True):
            visits[i] = one
            start = int(shown.offsets[i])
            part = slice(start + per_page * (page - 1), min(start + per_page * page, int(shown.offsets[i + 1])))
            looks[part] = page
            _note(columns, part, queries.catalog.ids(shown.items[part]), one)
    seen = replace(shown, fields={}, notes=()).with_field("page", looks).with_field("slot", place)
    for column, values in columns.items():
        seen = seen.with_field(column, values.astype(np.float32))
    seen = seen.with_field("gain", columns["liked"].astype(np.float32))
    return Rollout(Exposures(queries, seen.where(looks > 0), name, f"sim:{type(people).__name__}"), tuple(visits))


def _note(columns: Mapping[str, Floats], part: slice, ids: Sequence[str], visit: Mapping[str, Any]) -> None:
    """The judgements of a page into the columns, by id; an item nobody judged stays unknown (NaN)."""
    judged = {one["item"]: one for one in visit.get("judged", ())}
    for place, name in zip(range(part.start, part.stop), ids, strict=True):
        for column in columns if name in judged else ():
            value = judged[name].get(column)
            columns[column][place] = np.nan if value is None else float(value)


def learned(data: Dataset, rolled: Rollout) -> Dataset:
    """The data with what simulated users liked as events at its end; the given data is left as it was.

    The events have the source of the rollout; the data says that it is simulated.
    """
    seen, log = rolled.seen.shown, data.interactions
    row = rolled.seen.queries.user_rows(data.users.ids)[ragged.segments(seen.offsets)]
    keep = (seen.fields["gain"] > 0) & (row >= 0)
    n, end = int(keep.sum()), float(log.time.max(initial=0.0))
    sources = log.sources if rolled.seen.source in log.sources else (*log.sources, rolled.seen.source)
    fresh: dict[str, Any] = {
        "user": row[keep], "item": seen.items[keep], "time": end + 1.0 + seen.fields["slot"][keep],
        "value": seen.fields["rating"][keep], "liked": np.ones(n, bool), "kind": np.full(n, 2, np.int8),
        "weight": np.ones(n, np.float32), "source": np.full(n, sources.index(rolled.seen.source), np.int16),
    }  # fmt: skip
    columns = {name: np.concatenate([getattr(log, name), fresh[name]]) for name in fresh}
    if log.text is not None:
        columns["text"] = np.concatenate([log.text, np.full(n, None, object)])
    made = Interactions.of({**columns, "sources": sources}, log.n_users, clock=log.clock, like_rule=log.like_rule)
    return replace(data, interactions=made, simulated=True)


@dataclass(frozen=True)
class Bubble:
    """One round of a closed loop, means over users. top_share: share of the most shown tag among a user's shown items;
    kinds: different tags shown; likes: items liked; satisfaction: from the interview."""

    top_share: float
    kinds: float
    likes: float
    satisfaction: float


def rounds(
    recommender: Any, people: UserModel, data: Dataset, queries: Queries, n: int = 4, *, tags: str = "genres",
    pages: int = 5, per_page: int = 4, seed: int = 0,
) -> list[Bubble]:  # fmt: skip
    """n rounds: fit, show, let users react, learn from what they liked. people: fitted once, on real data alone.

    What was shown is not shown again. Each round's visits have seeds of their own.
    """
    from hexarec.core import fresh

    made: list[Bubble] = []
    held = Tags.of(data.catalog.attributes[tags]).matrix
    for turn in range(n):
        ready = fresh(recommender).fit(data, seed=seed)
        asked = replace(queries, seed=queries.seed + turn)
        shown = ready.retrieve(asked, pages * per_page)
        rolled = rollout(shown, asked, people, pages=pages, per_page=per_page)
        made.append(_bubble(shown, rolled, held))
        data = learned(data, rolled)
        queries = _again(data, queries, shown)
    return made


def _again(data: Dataset, queries: Queries, shown: Lists) -> Queries:
    """The questions after a round: the new likes are history, all that was shown is excluded."""
    later = data.queries(queries.user_rows(data.users.ids), seed=0)
    lengths = np.diff(queries.exclude_offsets) + shown.lengths
    row = np.concatenate([ragged.segments(queries.exclude_offsets), ragged.segments(shown.offsets)])
    items = np.concatenate([queries.exclude, shown.items])[np.argsort(row, kind="stable")]
    made = replace(later, lang=queries.lang, seed=queries.seed)
    return made.excluding(items.astype(np.int32), ragged.offsets_of(lengths))


def _bubble(shown: Lists, rolled: Rollout, held: Any) -> Bubble:
    """Tags of the whole lists, for who leaves early has seen less of a bubble that is there all the same."""
    row = ragged.segments(shown.offsets)
    counts = np.zeros((len(shown), held.shape[1]))
    np.add.at(counts, row, np.asarray(held[shown.items].todense()))
    n = np.maximum(shown.lengths, 1)
    scores = [one["satisfaction"] for one in rolled.visits if one.get("satisfaction") is not None]
    likes = np.bincount(
        ragged.segments(rolled.seen.shown.offsets), rolled.seen.shown.fields["gain"] > 0, minlength=len(shown)
    )
    return Bubble(
        float((counts.max(1, initial=0) / n).mean()), float((counts > 0).sum(1).mean()), float(likes.mean()),
        float(np.mean(scores)) if scores else float("nan"),
    )  # fmt: skip
