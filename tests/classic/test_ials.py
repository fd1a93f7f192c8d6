import numpy as np
import pytest

from hexarec.classic import IALS
from hexarec.classic._shared import remember
from hexarec.classic.ials import solved

from .tiny import checkerboard, found, keeps_promises, silent, stranger, survives

SMALL = {"factors": 4, "sweeps": 8, "unobserved": 0.3, "regularization": 0.03}


def test_promises(tmp_path):
    keeps_promises(lambda: IALS(**SMALL), tmp_path)
    survives(lambda: IALS(**SMALL))


def test_finds_the_held_out_item():
    data, held = checkerboard()
    assert found(IALS(**SMALL).fit(data), data, held, 4) == 1.0


@pytest.mark.parametrize("scaling", [0.0, 1.0])
def test_equals_a_dense_reference(scaling):
    data = checkerboard(n_users=30, n_items=16)[0]
    x = remember(data).values
    other = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)
    weight, ridge = 0.3, 0.05
    size = (np.diff(x.indptr) + weight * 16) ** scaling
    made = solved(x, other, weight * other.T @ other, (ridge * size).astype(np.float32))
    for user, row in enumerate(x.toarray()):
        chosen = other[row > 0].astype(np.float64)
        left = chosen.T @ chosen + weight * other.T @ other + ridge * size[user] * np.eye(5)
        np.testing.assert_allclose(made[user], np.linalg.solve(left, chosen.sum(0)), atol=1e-4)


def test_rows_of_any_length_and_weight():
    from scipy.sparse import random_array

    x = random_array((200, 50), density=0.2, rng=np.random.default_rng(1), dtype=np.float32, format="csr")
    x = (x * (np.arange(200) != 7)[:, None]).tocsr()
    x.eliminate_zeros()
    other = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    made = solved(x, other, 0.1 * other.T @ other, np.full(200, 0.5, np.float32))
    dense = x.toarray()
    want = [
        np.linalg.solve((other.T * row) @ other + 0.1 * other.T @ other + 0.5 * np.eye(4), other.T @ row)
        for row in dense
    ]
    np.testing.assert_allclose(made, want, atol=1e-4)
    assert not made[7].any()


def test_fold_in_equals_what_fit_learned():
    data = checkerboard()[0]
    stage = IALS(**SMALL).fit(data)
    queries = data.queries()
    np.testing.assert_allclose(stage.users(queries), stage.users(silent(queries)), atol=1e-4)
    assert not stage.users(stranger(data)).any()
    np.testing.assert_allclose(
        stage.rank(queries, stage.retrieve(queries, 3)).scores[0],
        (stage.users(queries) @ stage.items().T)[0].max(where=~queries.forbidden(20)[0], initial=-9),
        atol=1e-5,
    )


def test_the_loss_falls_with_every_sweep():
    data = checkerboard()[0]
    x = remember(data).values.toarray()
    losses = []
    for sweeps in (1, 2, 4, 8):
        stage = IALS(factors=4, sweeps=sweeps).fit(data)
        users, items = stage.users_.values, stage.items_
        product = users @ items.T
        size = x.sum(1) + stage.unobserved * 20, x.sum(0) + stage.unobserved * 40
        ridge = sum((s * (side**2).sum(1)).sum() for s, side in zip(size, (users, items), strict=True))
        losses.append(
            (x * (1 - product) ** 2).sum() + stage.unobserved * (product**2).sum() + stage.regularization * ridge
        )
    assert losses == sorted(losses, reverse=True)
