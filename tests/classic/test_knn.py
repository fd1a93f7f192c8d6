import tracemalloc

import numpy as np
import pytest

from hexarec.classic import ItemKNN, UserKNN
from hexarec.classic._gram import gram, gram_rows
from hexarec.classic._shared import remember
from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, OptionError, Users

from .tiny import checkerboard, data_of, found, keeps_promises, silent, stranger, survives


@pytest.mark.parametrize("make", [ItemKNN, lambda: ItemKNN(last=2), UserKNN, lambda: ItemKNN(similarity="jaccard")])
def test_promises(make, tmp_path):
    keeps_promises(make, tmp_path)
    survives(make)


@pytest.mark.parametrize("stage", [ItemKNN(), ItemKNN(last=3), UserKNN(), UserKNN(similarity="jaccard")])
def test_finds_the_held_out_item(stage):
    data, held = checkerboard()
    assert found(stage.fit(data), data, held, 4) == 1.0


def test_item_knn_by_hand():
    # columns: item 0 liked by users 0 1 2, item 1 by 0 1, item 2 by 2
    data = data_of([[0, 1], [0, 1], [0, 2]], 3)
    plain = ItemKNN(shrink=0.0).fit(data).similar_.toarray()
    want = np.array([[0, 2 / np.sqrt(6), 1 / np.sqrt(3)], [2 / np.sqrt(6), 0, 0], [1 / np.sqrt(3), 0, 0]])
    np.testing.assert_allclose(plain, want, atol=1e-6)
    shrunk = ItemKNN(shrink=1.0, similarity="jaccard", neighbours=1).fit(data).similar_.toarray()
    np.testing.assert_allclose(shrunk, [[0, 2 / 4, 0], [2 / 4, 0, 0], [1 / 4, 0, 0]], atol=1e-6)
    with pytest.raises(OptionError):
        ItemKNN(similarity="dice").fit(data)


def test_last_reads_only_the_newest_events():
    data = data_of([[0, 1], [0, 1], [2, 3], [2, 3]], 5)
    question = stranger(data, ["i0", "i2"])
    assert ItemKNN(last=1).fit(data).retrieve(question, 1).items.tolist() == [3]
    assert ItemKNN().fit(data).retrieve(question, 2).items.tolist() == [1, 3]


def test_user_knn_by_hand():
    data = data_of([[0, 1, 2], [0, 3], [4]], 5)
    made = UserKNN(shrink=0.0).fit(data).retrieve(stranger(data, ["i0", "i1"]), 2)
    assert made.items.tolist() == [2, 3]
    np.testing.assert_allclose(made.scores, [2 / np.sqrt(6), 1 / 2], atol=1e-6)


@pytest.mark.parametrize("make", [ItemKNN, UserKNN, lambda: ItemKNN(last=3)])
def test_a_known_user_without_history_is_served_from_memory(make):
    data = checkerboard()[0]
    stage = make().fit(data)
    queries = data.queries()
    one, other = stage.retrieve(queries, 4), stage.retrieve(silent(queries), 4)
    assert np.array_equal(one.items, other.items)


def test_gram_paths_agree():
    matrix = remember(checkerboard(n_users=300, n_items=40, seen=9)[0]).values
    want = (matrix.T @ matrix).toarray()
    assert np.array_equal(gram(matrix), want)
    assert np.array_equal(np.concatenate([rows for _, rows in gram_rows(matrix, 7)]), want)
    wide = remember(data_of([[0, 500], [500, 900]], 1000)).values
    assert np.array_equal(gram(wide), (wide.T @ wide).toarray())


def crowd(n_users=50_000, n_items=2_000, each=10):
    """A sparse log of many users who all like the same few popular items among others."""
    draw = np.random.default_rng(0)
    items = np.concatenate([draw.integers(0, n_items, (n_users, each - 1)), draw.integers(0, 5, (n_users, 1))], 1)
    columns = {
        "user": np.repeat(np.arange(n_users), each),
        "item": items.ravel(),
        "time": np.tile(np.arange(each), n_users).astype(float),
    }
    users = Users(IdTable.of(f"u{row}" for row in range(n_users)))
    catalog = Catalog.of([Item(f"i{row}", f"Title {row}") for row in range(n_items)], key="crowd")
    return Dataset(catalog, Interactions.of(columns, n_users), users)


def test_userknn_answers_fifty_thousand_users_in_bounded_memory():
    data = crowd()
    queries = data.queries(np.arange(300))
    peaks = {}
    for memory in (4, 64):
        stage = UserKNN(memory_mb=memory).fit(data)
        tracemalloc.start()
        lists = stage.retrieve(queries, 10)
        peaks[memory] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        assert (lists.lengths == 10).all()
    # 300 x 50,000 similarities would be 57 MB in each of several tables; 300 x 2,000 votes and their masks are 15 MB
    assert peaks[4] < 40 and peaks[4] < peaks[64] < 120


def test_userknn_does_not_depend_on_its_blocks():
    data = crowd(400, 50)
    queries = data.queries()
    small, large = (UserKNN(memory_mb=m).fit(data) for m in (1, 512))
    assert 1 << 20 < 48 * 400 * len(queries)  # the small one needs several blocks
    one, other = small.retrieve(queries, 20), large.retrieve(queries, 20)
    assert np.array_equal(one.items, other.items) and np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("similarity", ["cosine", "jaccard"])
def test_userknn_against_the_definition(similarity):
    data = crowd(60, 30, 6)
    made = UserKNN(neighbours=7, shrink=2.0, similarity=similarity).fit(data)
    queries = data.queries(np.arange(60))
    liked = [set(queries[i].items) for i in range(60)]
    for i in (0, 7, 59):
        both = np.array([len(liked[i] & other) for other in liked], np.float64)
        sizes = np.array([len(other) for other in liked], np.float64)
        under = np.sqrt(len(liked[i]) * sizes) if similarity == "cosine" else len(liked[i]) + sizes - both
        near = both / (under + 2.0)
        near[i] = 0.0
        voters = np.argsort(-near.astype(np.float32), kind="stable")[:7]
        votes = np.zeros(30)
        for user in voters:
            votes[list(liked[user])] += near[user]
        np.testing.assert_allclose(made._scores(queries.take(np.array([i])))[0], votes, rtol=1e-5)


def test_userknn_refuses_no_memory():
    with pytest.raises(OptionError, match="memory_mb is 0"):
        UserKNN(memory_mb=0).fit(crowd(5, 20))
