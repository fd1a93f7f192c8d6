import numpy as np

from hexarec.classic import LightGCN
from hexarec.classic._shared import remember

from .tiny import checkerboard, found, keeps_promises, silent, stranger, survives

SMALL = {"factors": 8, "epochs": 60, "batch": 64}


def test_promises(tmp_path):
    keeps_promises(lambda: LightGCN(**{**SMALL, "epochs": 5}), tmp_path)
    survives(lambda: LightGCN(**{**SMALL, "epochs": 2}))


def test_finds_the_held_out_item():
    data, held = checkerboard()
    assert found(LightGCN(**SMALL).fit(data), data, held, 4) == 1.0


def test_propagation_by_hand_and_its_gradient():
    data = checkerboard(n_users=6, n_items=6, seen=2)[0]
    stage = LightGCN(factors=3, layers=2, epochs=0).fit(data)
    x = remember(data).values
    a = np.zeros((12, 12))
    a[:6, 6:] = x.toarray()
    a += a.T
    half = np.divide(1.0, np.sqrt(a.sum(1)), out=np.zeros(12), where=a.sum(1) > 0)
    a = half[:, None] * a * half
    mean = (np.eye(12) + a + a @ a) / 3
    start = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    users, items = stage._spread(stage._graph(x), (start[:6], start[6:]))
    np.testing.assert_allclose(np.concatenate([users, items]), mean @ start, atol=1e-5)
    assert np.allclose(mean, mean.T)  # so the gradient of the propagation is the propagation


def test_fold_in_is_the_propagation_without_the_users_own_layer():
    data = checkerboard()[0]
    stage = LightGCN(**SMALL).fit(data)
    np.testing.assert_allclose(stage.users(data.queries()), stage.users(silent(data.queries())), atol=1e-5)
    assert not stage.users(stranger(data)).any()
