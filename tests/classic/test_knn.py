import numpy as np
import pytest

from hexarec.classic import ItemKNN, UserKNN
from hexarec.classic._gram import gram, gram_rows
from hexarec.classic._shared import remember
from hexarec.core import OptionError

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
