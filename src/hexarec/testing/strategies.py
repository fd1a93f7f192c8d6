"""Hypothesis strategies: small catalogs, logs, data sets, questions, lists and model answers, for property tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import (
    KINDS,
    Catalog,
    Dataset,
    IdTable,
    Interactions,
    Item,
    Lists,
    MissingExtraError,
    Queries,
    Users,
    ragged,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

GENRES = ("drama", "comedy", "战争", "")


def _st() -> Any:
    try:
        from hypothesis import strategies
    except ImportError:
        raise MissingExtraError("hypothesis", "dev") from None
    return strategies


def catalogs(low: int = 1, high: int = 8) -> SearchStrategy[Catalog]:
    """Catalogs of `low` to `high` items: any titles, genres (tuples, some missing), years (numbers, some missing)."""
    st = _st()

    def made(rows: list[tuple[str, str, tuple[str, ...] | None, int | None]]) -> Catalog:
        items = [
            Item(f"i{place}", title, text, {"genres": genres, "year": None if year is None else float(year)})
            for place, (title, text, genres, year) in enumerate(rows)
        ]
        return Catalog.of(items)

    genres = st.none() | st.lists(st.sampled_from(GENRES), max_size=3, unique=True).map(tuple)
    row = st.tuples(st.text(max_size=12), st.text(max_size=20), genres, st.none() | st.integers(1990, 1993))
    found: SearchStrategy[Catalog] = st.lists(row, min_size=low, max_size=high).map(made)
    return found


def logs(n_users: int, n_items: int, most: int = 20) -> SearchStrategy[Interactions]:
    """Event logs of up to `most` events in any order, with equal times, dislikes and repeated items."""
    st = _st()
    event = st.tuples(
        st.integers(0, n_users - 1), st.integers(0, n_items - 1), st.integers(0, 9), st.booleans(),
        st.integers(0, len(KINDS) - 1),
    )  # fmt: skip

    def made(events: list[tuple[int, int, int, bool, int]]) -> Interactions:
        names = ("user", "item", "time", "liked", "kind")
        columns = list(zip(*events, strict=True)) if events else [()] * len(names)
        return Interactions.of(dict(zip(names, map(np.array, columns), strict=True)), n_users)

    found: SearchStrategy[Interactions] = st.lists(event, max_size=most).map(made)
    return found


def datasets(n_users: int = 4, low: int = 1, high: int = 8) -> SearchStrategy[Dataset]:
    """Catalog, log and users that fit each other."""
    st = _st()

    def with_log(catalog: Catalog) -> Any:
        users = Users(IdTable.of(f"u{row}" for row in range(n_users)))
        return logs(n_users, len(catalog)).map(lambda log: Dataset(catalog, log, users))

    found: SearchStrategy[Dataset] = catalogs(low, high).flatmap(with_log)
    del st
    return found


def queries(n_users: int = 4) -> SearchStrategy[Queries]:
    """Questions of a small data set at some moments, some with further exclusions, a filter or a tombstone around."""
    st = _st()

    def asked(data: Dataset) -> Any:
        n = len(data.catalog)
        choices = st.tuples(
            st.lists(st.integers(0, n_users - 1), max_size=6),
            st.integers(0, 11),
            st.none() | st.sampled_from(["drama", "comedy"]),
            st.lists(st.integers(0, n - 1), max_size=2),
        )
        return choices.map(lambda drawn: _asked(data, *drawn))

    found: SearchStrategy[Queries] = datasets(n_users).flatmap(asked)
    return found


def _asked(data: Dataset, users: list[int], now: int, genre: str | None, gone: list[int]) -> Queries:
    from dataclasses import replace

    catalog = data.catalog.remove(data.catalog.ids(np.array(gone, np.int64)))
    made = replace(data, catalog=catalog).queries(users, now=float(now))
    return made if genre is None else made.filtered({"field": "genres", "op": "=", "value": genre})


def lists(n: int, n_items: int, key: str = "k", most: int = 6) -> SearchStrategy[Lists]:
    """n lists of distinct items, best first, with equal and missing scores (NaN) among them."""
    st = _st()
    score = st.sampled_from([float("nan"), -1.0, 0.0, 0.5, 0.5, 2.0])
    one = st.lists(st.integers(0, n_items - 1), max_size=min(most, n_items), unique=True)

    def made(rows: list[list[int]], scores: list[float]) -> Lists:
        offsets = ragged.offsets_of(np.array([len(row) for row in rows], np.int64))
        flat = np.array([item for row in rows for item in row], np.int32)
        bare = Lists(key, offsets, flat, np.zeros(len(flat), np.float32)).with_field("mark", 7 * flat + 1)
        return bare.scored(np.resize(np.array(scores, np.float32), len(flat)))

    rows = st.lists(one, min_size=n, max_size=n)
    found: SearchStrategy[Lists] = st.builds(made, rows, st.lists(score, min_size=1, max_size=n * most + 1))
    return found


def answers(options: Sequence[str] = ()) -> SearchStrategy[str]:
    """What a language model may say: any text, and broken, repeated or invented rankings of the options."""
    st = _st()
    name = st.sampled_from(["A", "B", "L", "Z", "1", "3", "C7", "-1", "99999999999999999999"])
    title = st.sampled_from(list(options) or ["Alien", "三体"]) | st.text(max_size=15)
    line = st.one_of(
        st.builds("[{}] {}".format, name, title),
        st.builds("{}. {}".format, name, title),
        st.builds("{}，{}；".format, title, title),
        st.text(max_size=30),
        st.sampled_from(["```json", '{"ranking": ["A", "B"', "[]", "<think>", "I'm sorry, but", "无法", "\x00\u202e"]),
    )
    text: SearchStrategy[str] = st.text(max_size=80) | st.lists(line, max_size=15).map("\n".join)
    return text
