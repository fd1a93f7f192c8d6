import numpy as np

from hexarec.classic import Markov

from .tiny import data_of, keeps_promises, silent, stranger, survives


def test_promises(tmp_path):
    keeps_promises(Markov, tmp_path)
    keeps_promises(lambda: Markov(last=1, reach=1, discount=1.0), tmp_path)
    survives(Markov)
    survives(lambda: Markov(reach=4))


def test_by_hand():
    data = data_of([[0, 1, 2], [0, 1, 3], [0, 2]], 4)
    stage = Markov(last=2, reach=1, shrink=0.0).fit(data)
    np.testing.assert_allclose(
        stage.follows_.toarray(), [[0, 2 / 3, 1 / 3, 0], [0, 0, 1 / 2, 1 / 2], [0] * 4, [0] * 4], atol=1e-6
    )
    two = Markov(shrink=0.0, reach=2).fit(data).follows_.toarray()
    np.testing.assert_allclose(two[0], [0, 2 / 4, 1.5 / 4, 0.5 / 4], atol=1e-6)
    made = stage.rank(stranger(data, ["i0", "i1"]), stage.retrieve(stranger(data, ["i0", "i1"]), 2))
    assert made.items.tolist() == [2, 3]
    np.testing.assert_allclose(made.scores, [1 / 2 + 0.5 / 3, 1 / 2], atol=1e-5)


def test_the_last_item_decides_and_memory_stands_in():
    cycle = data_of([[(u + s) % 10 for s in range(6)] for u in range(10)], 10)
    stage = Markov(reach=1).fit(cycle)
    queries = cycle.queries()
    want = (np.arange(10) + 6) % 10
    assert stage.retrieve(queries, 1).items.tolist() == want.tolist()
    assert np.array_equal(stage.retrieve(silent(queries), 3).items, stage.retrieve(queries, 3).items)


def test_dislikes_are_no_transitions():
    data = data_of([[0, 1, 2]], 3, liked=[[1, 0, 1]])
    assert Markov(reach=1, shrink=0.0).fit(data).follows_.toarray()[0].tolist() == [0, 0, 1]
