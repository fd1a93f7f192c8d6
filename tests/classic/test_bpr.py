import numpy as np

from hexarec.classic import BPR
from hexarec.classic._pairs import add_rows, drawn

from .tiny import checkerboard, found, keeps_promises, silent, stranger, survives

SMALL = {"factors": 8, "epochs": 60, "batch": 64}


def test_promises(tmp_path):
    keeps_promises(lambda: BPR(**{**SMALL, "epochs": 5}), tmp_path)
    survives(lambda: BPR(**{**SMALL, "epochs": 2}))


def test_finds_the_held_out_item_from_history_and_from_memory():
    data, held = checkerboard()
    stage = BPR(**SMALL).fit(data)
    assert found(stage, data, held, 4) > 0.95
    memory = stage.retrieve(silent(data.queries()), 3).padded(3)
    assert (memory % 2 == np.arange(40)[:, None] % 2).mean() > 0.95


def test_fold_in_points_where_training_did():
    data = checkerboard()[0]
    stage = BPR(**SMALL).fit(data)
    made, learned = stage.users(data.queries()), stage.users(silent(data.queries()))
    cosine = (made * learned).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(learned, axis=1)
    assert np.median(cosine) > 0.8
    assert not stage.users(stranger(data)).any()


def test_add_rows_is_a_scatter_add():
    rows = np.array([3, 1, 3, 0, 1, 3])
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    want = np.zeros((5, 2), np.float32)
    np.add.at(want, rows, values)
    at, sums = add_rows(rows, values)
    assert at.tolist() == [0, 1, 3]
    np.testing.assert_allclose(sums, want[at])
    assert len(add_rows(np.zeros(0, np.int64), np.zeros((0, 2), np.float32))[0]) == 0


def test_drawn_items_are_mostly_new_to_the_user():
    users = np.repeat(np.arange(10), 100)
    known = np.sort(np.concatenate([u * 20 + np.arange(8) for u in range(10)]))
    items = drawn(users, known, 20, np.random.default_rng(0))
    assert items.min() >= 0 and items.max() < 20
    assert np.isin(users * 20 + items, known).mean() < 0.12
