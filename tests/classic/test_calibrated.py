import numpy as np
import pytest

from hexarec import core
from hexarec.classic import Calibrated, Popular
from hexarec.classic.calibrated import divergence
from hexarec.core import CapabilityError, Item, Lists, OptionError

from .tiny import checkerboard, data_of, equal, silent, stranger


def test_a_subset_in_any_batch_and_after_loading(tmp_path):
    data = checkerboard()[0]
    stage = Calibrated().fit(data)
    queries = data.queries()
    ranked = Popular().fit(data).retrieve(queries, 12)
    made = stage.control(queries, ranked, 5)
    for one, given in zip(made, ranked, strict=True):
        assert len(set(one.items.tolist())) == 5 and set(one.items) <= set(given.items)
    equal(stage.control(queries.take(np.array([7])), ranked.take(np.array([7])), 5), made.take(np.array([7])))
    core.save(stage, tmp_path / "calibrated")
    equal(core.load(tmp_path / "calibrated", resolve=None).control(queries, ranked, 5), made)


def test_target_by_hand():
    data = data_of([[0, 1], [2], []], 4, genres=[("a", "b"), ("a",), ("c",), ()])
    stage = Calibrated().fit(data)
    assert stage.values_ == ["a", "b", "c"]
    want = [[0.75, 0.25, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(stage.target(data.queries()), want)
    np.testing.assert_allclose(stage.target(silent(data.queries())), want)
    assert not stage.target(stranger(data)).any()


def test_divergence_by_hand():
    p, q = np.array([0.5, 0.5, 0.0], np.float32), np.array([1.0, 0.0, 0.0], np.float32)
    want = 0.5 * np.log(0.5 / 0.995) + 0.5 * np.log(0.5 / 0.005)
    assert divergence(p, q, 0.01) == pytest.approx(want, rel=1e-5)
    assert divergence(p, p, 0.01) == pytest.approx(0.0, abs=1e-6)
    assert divergence(np.zeros(3, np.float32), q, 0.01) == 0.0


def test_seventy_thirty():
    """Steck's example: 7 romance and 3 action seen gives 7 and 3 recommended, though romance scores higher."""
    data = data_of([list(range(7)) + list(range(20, 23))], 40, genres=[("romance",)] * 20 + [("action",)] * 20)
    pool = [*range(7, 20), *range(23, 36)]
    lists = Lists.of(data.catalog.key, [pool], [[1.0 - i / 100 for i in range(len(pool))]])
    made = Calibrated(share=0.99).fit(data).control(data.queries([0]), lists, 10)
    assert (made.items < 20).sum() == 7


def test_nothing_known_or_share_zero_keeps_the_order():
    data = checkerboard()[0]
    queries = data.queries()
    ranked = Popular().fit(data).retrieve(queries, 12)
    assert np.array_equal(Calibrated(share=0.0).fit(data).control(queries, ranked, 4).items, ranked.top_k(4).items)
    lists = Lists.of(data.catalog.key, [[5, 3, 8, 1]])
    assert Calibrated().fit(data).control(stranger(data), lists, 3).items.tolist() == [5, 3, 8]


def test_edges():
    data = checkerboard()[0]
    stage = Calibrated().fit(data)
    assert stage.control(data.queries([0, 1]), Lists.of(data.catalog.key, [[], [3]]), 3).lengths.tolist() == [0, 1]
    grown = data.with_items([Item("new", "New", attributes={"genres": ("even", "fresh")})])
    lists = Lists.of(data.catalog.key, [[20, 0, 1]])
    assert sorted(stage.control(grown.queries([0]), lists, 3).items.tolist()) == [0, 1, 20]
    wider = stage.extend(grown.catalog)
    assert wider.genres_[20].tolist() == [1.0, 0.0] and len(stage.genres_) == 20
    for make, error in (
        (lambda: Calibrated(share=-1), OptionError),
        (lambda: Calibrated(discount=0.0), OptionError),
        (lambda: Calibrated(decay=1.5), OptionError),
        (lambda: Calibrated(attribute="x"), CapabilityError),
    ):
        with pytest.raises(error):
            make().fit(data)
