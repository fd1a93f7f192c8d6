"""Small data sets and the promises every baseline keeps."""

from dataclasses import replace

import numpy as np
import pytest

from hexarec import core
from hexarec.core import Catalog, Dataset, Event, IdTable, Interactions, Item, LineageError, Lists, Queries, StateError
from hexarec.core.dataset import Users


def data_of(past, n_items, *, liked=None, clock=True, genres=None, key="tiny"):
    """past[u]: item rows of user u, one a second, oldest first."""
    genres = genres or [("even",) if i % 2 == 0 else ("odd",) for i in range(n_items)]
    items = [Item(f"i{i}", f"Item {i}", attributes={"genres": genres[i]}) for i in range(n_items)]
    catalog = Catalog.of(items, key=key)
    flat = [item for row in past for item in row]
    columns = {
        "user": np.repeat(np.arange(len(past)), [len(row) for row in past]),
        "item": np.array(flat, np.int32),
        "time": np.array([t for row in past for t in range(len(row))], float),
    }
    if liked is not None:
        columns["liked"] = np.array([one for row in liked for one in row], bool)
    log = Interactions.of(columns, len(past), clock=clock)
    return Dataset(catalog, log, Users(IdTable.of(f"u{u}" for u in range(len(past)))))


def checkerboard(n_users=40, n_items=20, seen=6, seed=0):
    """Users like items of their own parity; one liked item per user is held out. Data and the held-out rows."""
    past, held = [], []
    for u in range(n_users):
        order = core.rng(seed, "board", u).permutation(np.arange(u % 2, n_items, 2)).tolist()
        past.append(order[:seen])
        held.append(order[seen])
    return data_of(past, n_items), np.array(held)


def found(stage, data, held, k):
    """Share of users whose held-out item is among the k best."""
    return float((stage.retrieve(data.queries(), k).padded(k) == held[:, None]).any(1).mean())


def stranger(data, history=(), **more):
    """A question of somebody the log has never seen."""
    return Queries.one(
        data.catalog, user="nobody", history=[Event("nobody", i, t) for t, i in enumerate(history)], **more
    )


def silent(queries):
    """The same questions with empty histories; exclusions stay."""
    return queries.with_history(core.History.empty(len(queries)))


def equal(one, other, tolerance=0.0):
    assert np.array_equal(one.offsets, other.offsets) and np.array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=tolerance)


def keeps_promises(make, tmp_path, data=None, k=5):
    """Everything a fitted retriever and ranker must do, on one data set; returns the fitted stage."""
    data = checkerboard()[0] if data is None else data
    with pytest.raises(StateError):
        make().retrieve(data.queries(), k)
    stage = make().fit(data, seed=3)
    queries = data.queries()
    lists = stage.retrieve(queries, k)
    assert lists.lengths.max() <= k and len(lists) == len(queries)
    assert queries.permits(lists.offsets, lists.items).all()
    _same_twice(make, stage, data, lists, k)
    _batch_is_single(stage, queries, lists, k)
    _serves_everybody(stage, data, k)
    _ranks(stage, queries, data)
    core.save(stage, tmp_path / "stage")
    again = core.load(tmp_path / "stage", resolve=None)
    equal(again.retrieve(queries, k), lists, 1e-6)
    with pytest.raises(LineageError):
        stage.retrieve(checkerboard()[0].onto(IdTable.of(["x"], "other")).queries(), k)
    return stage


def _same_twice(make, stage, data, lists, k):
    equal(make().fit(data, seed=3).retrieve(data.queries(), k), lists)
    assert core.state_digest(make().fit(data, seed=3)) == core.state_digest(stage)


def _batch_is_single(stage, queries, lists, k):
    full = stage.rank(queries, whole(queries))
    for i in (0, len(queries) // 2, len(queries) - 1):
        one = queries.take(np.array([i]))
        alone = stage.rank(one, whole(one))[0]
        there = full[i]
        order, other = np.argsort(alone.items), np.argsort(there.items)
        np.testing.assert_allclose(alone.scores[order], there.scores[other], rtol=1e-4, atol=1e-4)
        assert len(stage.retrieve(one, k)[0].items) == len(lists[i].items)


def whole(queries):
    """The whole catalog as candidates of every question."""
    n = len(queries.catalog)
    return Lists.of(queries.catalog.key, [list(range(n))] * len(queries))


def _serves_everybody(stage, data, k):
    for queries in (stranger(data), stranger(data, data.catalog.ids(np.array([0, 2]))), silent(data.queries([1]))):
        made = stage.retrieve(queries, k)
        assert len(made[0].items) == k and np.isfinite(made.scores).all()
    grown = data.with_items([Item("new1", "New"), Item("new2", "New")])
    queries = stranger(grown, ["new1", data.catalog.items.ids[0]])
    assert (stage.retrieve(queries, 3).items < data.n_items).all() or hasattr(stage, "extend")
    nothing = data.queries([])
    assert len(stage.retrieve(nothing, k)) == 0 and len(stage.rank(nothing, Lists.empty(data.catalog.key, 0))) == 0
    gone = replace(data, catalog=data.catalog.remove(["i2"])).queries([0])
    assert 2 not in stage.retrieve(gone, data.n_items).items


def _ranks(stage, queries, data):
    pool = whole(queries)
    ranked = stage.rank(queries, pool)
    assert all(sorted(one.items.tolist()) == list(range(data.n_items)) for one in ranked)
    none = stage.rank(queries, Lists.empty(data.catalog.key, len(queries)))
    assert len(none) == len(queries) and not len(none.items)


def survives(make):
    """Degenerate data: no events, one user with one item, an item nobody liked, only dislikes."""
    for data in (
        data_of([[], []], 3),
        data_of([[0]], 1),
        data_of([[0]], 4),
        data_of([[0, 1], [1, 0]], 3, liked=[[0, 0], [0, 0]]),
        data_of([[0, 0, 0], [0, 1, 0]], 3),
    ):
        stage = make().fit(data)
        made = stage.retrieve(data.queries(), 2)
        assert len(made) == data.n_users and np.isfinite(made.scores).all()
        assert len(stage.retrieve(silent(data.queries()), 2)) == data.n_users
        stage.retrieve(stranger(data, ["i0"]), 2)
