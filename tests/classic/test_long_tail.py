import numpy as np
import pytest

from hexarec import core
from hexarec.classic import LongTail, Popular, Random
from hexarec.core import Item, Lists, OptionError

from .tiny import checkerboard, equal


def ranked_of(data, k=12):
    return data.queries(), Random().fit(data).retrieve(data.queries(), k)


def known(data, lists):
    """Mean likes of the first three items of each list."""
    counts = data.interactions.counts(data.n_items, liked=True)
    return float(counts[lists.top_k(3).items].mean())


def test_without_weights_the_order_stays():
    data = checkerboard()[0]
    queries, ranked = ranked_of(data)
    made = LongTail(popular=0.0, novel=0.0).fit(data).control(queries, ranked, 5)
    assert made.items.tolist() == ranked.top_k(5).items.tolist()


def test_popular_moves_towards_the_known_and_novel_away():
    data = checkerboard()[0]
    queries, ranked = ranked_of(data)
    means = [
        known(data, LongTail(popular=popular, novel=novel).fit(data).control(queries, ranked, 5))
        for popular, novel in ((50.0, 0.0), (0.0, 0.0), (0.0, 50.0))
    ]
    assert means[0] > means[1] > means[2]
    wholly = LongTail(popular=1e6, novel=0.0).fit(data).control(queries, ranked, 5)
    popular = Popular().fit(data).rank(queries, ranked)
    counts = data.interactions.counts(data.n_items, liked=True)
    assert counts[wholly.items].tolist() == counts[popular.top_k(5).items].tolist()


def test_any_batch_after_loading_and_for_new_items(tmp_path):
    data = checkerboard()[0]
    stage = LongTail(popular=0.2, novel=0.6).fit(data)
    queries, ranked = ranked_of(data)
    made = stage.control(queries, ranked, 5)
    one = np.array([7])
    equal(stage.control(queries.take(one), ranked.take(one), 5), made.take(one))
    core.save(stage, tmp_path / "tail")
    equal(core.load(tmp_path / "tail", resolve=None).control(queries, ranked, 5), made)
    catalog = data.catalog.extend([Item("new", "New")])
    assert stage.extend(catalog).counts_[-1] == 0
    grown = core.Queries.of(catalog, queries.users, queries.user[:1], queries.history.take(np.array([0])), now=0.0)
    lists = Lists.of(catalog.key, [[0, 1, len(catalog) - 1]], [[0.9, 0.5, 0.4]])
    first = [one.control(grown, lists, 3).items[0] for one in (stage, stage.extend(catalog))]
    assert first == [first[0]] * 2
    assert LongTail(novel=50.0).fit(data).control(grown, lists, 1).items.tolist() == [len(catalog) - 1]


def test_no_lists_and_bad_weights():
    data = checkerboard()[0]
    queries = data.queries().take(np.zeros(0, int))
    assert len(LongTail().fit(data).control(queries, Lists.empty(data.catalog.key, 0), 5)) == 0
    for bad in ({"popular": -0.1}, {"novel": float("nan")}, {"novel": float("inf")}):
        with pytest.raises(OptionError):
            LongTail(**bad).fit(data)
