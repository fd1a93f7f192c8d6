import numpy as np
import pytest

from hexarec import core
from hexarec.classic import MMR, Popular
from hexarec.core import CapabilityError, Features, Item, Lists, OptionError

from .tiny import checkerboard, data_of, equal, stranger, whole


def ranked_of(data, k=12):
    return data.queries(), Popular().fit(data).retrieve(data.queries(), k)


def with_vectors(data, rows):
    rows = np.asarray(rows, np.float32)
    return data.with_features("v", Features(rows, np.ones(len(rows), bool)))


@pytest.mark.parametrize("by", ["log", "attribute", "feature"])
def test_a_subset_in_any_batch_and_after_loading(by, tmp_path):
    data = checkerboard()[0]
    data = with_vectors(data, np.random.default_rng(0).normal(size=(20, 3)))
    stage = MMR(share=0.4, by=by, name="v" if by == "feature" else "genres").fit(data)
    queries, ranked = ranked_of(data)
    made = stage.control(queries, ranked, 5)
    assert (made.lengths == 5).all()
    for one, given in zip(made, ranked, strict=True):
        assert len(set(one.items.tolist())) == 5 and set(one.items) <= set(given.items)
        assert (np.diff(one.scores) <= 0).all()
    one = np.array([7])
    equal(stage.control(queries.take(one), ranked.take(one), 5), made.take(one))
    core.save(stage, tmp_path / "mmr")
    equal(core.load(tmp_path / "mmr", resolve=None).control(queries, ranked, 5), made)


def test_share_one_keeps_the_order_whatever_the_scores():
    data = checkerboard()[0]
    stage = MMR(share=1.0).fit(data)
    queries, ranked = ranked_of(data)
    assert np.array_equal(stage.control(queries, ranked, 4).items, ranked.top_k(4).items)
    odd = [[3.0, 3.0, 1.0, 2.0], [np.nan] * 4, [1.0, np.nan, 0.5, -np.inf], [np.inf, 1.0, 0.0, np.nan]]
    lists = Lists.of(data.catalog.key, [[4, 2, 9, 7]] * 4, odd)
    made = stage.control(data.queries([0, 1, 2, 3]), lists, 9)
    assert made.items.tolist() == lists.items.tolist()


def test_by_hand():
    # items 0 and 1 point the same way, item 2 another
    data = with_vectors(data_of([[0]], 4), [[1, 0], [2, 0], [0, 1], [0, 0]])
    lists = Lists.of(data.catalog.key, [[0, 1, 2, 3]], [[1.0, 0.9, 0.5, 0.0]])
    made = MMR(share=0.5, by="feature", name="v").fit(data).control(data.queries([0]), lists, 4)
    assert made.items.tolist() == [0, 2, 3, 1] or made.items.tolist() == [0, 2, 1, 3]
    assert made.fields["score.before_mmr"][0] == 1.0
    tags = data_of([[0]], 3, genres=[("a", "b"), ("b", "c"), ("d",)])
    stage = MMR(by="attribute").fit(tags)
    np.testing.assert_allclose(stage.similar(np.array([0]), np.array([[0, 1, 2]])), [[1, 1 / 3, 0]], atol=1e-6)


def test_diversity_alternates_the_checkerboard():
    data = checkerboard()[0]
    scores = [[1.0 - i / 100 for i in range(10)]]
    lists = Lists.of(data.catalog.key, [[0, 2, 4, 6, 8, 1, 3, 5, 7, 9]], scores)
    made = MMR(share=0.3, by="attribute").fit(data).control(stranger(data), lists, 2)
    assert {int(i) % 2 for i in made.items} == {0, 1}


def test_edges():
    data = checkerboard()[0]
    stage = MMR().fit(data)
    queries = data.queries([0, 1])
    assert stage.control(queries, Lists.empty(data.catalog.key, 2), 3).lengths.tolist() == [0, 0]
    assert len(stage.control(data.queries([]), Lists.empty(data.catalog.key, 0), 3)) == 0
    ragged = Lists.of(data.catalog.key, [[], [3]])
    assert stage.control(queries, ragged, 3).lengths.tolist() == [0, 1]
    grown = data.with_items([Item("new", "New")])
    for by in ("log", "attribute"):
        made = MMR(by=by).fit(data).control(grown.queries([0]), whole(grown.queries([0])), 21)
        assert sorted(made.items.tolist()) == list(range(21))
    for bad, error in (({"share": 2.0}, OptionError), ({"by": "x"}, OptionError)):
        with pytest.raises(error):
            MMR(**bad).fit(data)
    for by in ("feature", "attribute"):
        with pytest.raises(CapabilityError):
            MMR(by=by, name="nothing").fit(data)


def test_centred_vectors_differ_where_raw_ones_hardly_do():
    data = with_vectors(data_of([[0]], 4), [[10, 1], [10, -1], [10, 0.9], [10, -0.9]])
    items = np.array([[0, 1, 2, 3]])
    raw = MMR(by="feature", name="v", centre=False).fit(data).similar(np.array([0]), items)
    centred = MMR(by="feature", name="v").fit(data).similar(np.array([0]), items)
    assert raw.min() > 0.97
    np.testing.assert_allclose(centred, [[1, -1, 1, -1]], atol=1e-5)


def test_an_extended_stage_reads_the_attributes_of_new_items():
    data = checkerboard()[0]
    grown = data.with_items([Item("new", "New", attributes={"genres": ("even", "fresh")})])
    stage = MMR(by="attribute").fit(data)
    items = np.array([[0, 1, 20]])
    assert stage.similar(np.array([0]), items).tolist() == [[1, 0, 0]]
    assert stage.extend(grown.catalog).similar(np.array([0]), items).tolist() == [[1, 0, 1]], (
        "values not seen are dropped"
    )
    assert stage.similar(np.array([0]), items).tolist() == [[1, 0, 0]]
    by_log = MMR().fit(data)
    assert by_log.extend(grown.catalog).table_ is by_log.table_
