import numpy as np
import pytest

from hexarec import core
from hexarec.classic import Popular, Random
from hexarec.core import Item, OptionError

from .tiny import checkerboard, data_of, keeps_promises, stranger, survives


@pytest.mark.parametrize("make", [Random, Popular])
def test_promises(make, tmp_path):
    keeps_promises(make, tmp_path)
    survives(make)


def test_popular_counts_likes_and_breaks_ties_by_row():
    data = data_of([[0, 1], [1, 2], [1, 3]], 5, liked=[[1, 1], [1, 0], [1, 1]])
    stage = Popular().fit(data)
    assert stage.counts_.tolist() == [1, 3, 0, 1, 0]
    assert stage.retrieve(stranger(data), 5).items.tolist() == [1, 0, 3, 2, 4]


def test_popular_window():
    day = 86400.0
    data = data_of([[0, 0, 0, 1]], 2)
    log = data.interactions
    data = data.with_log(
        core.Interactions.of({"user": log.user, "item": log.item, "time": np.array([0, 1, 2, 40]) * day}, 1)
    )
    assert Popular(window_days=30).fit(data).counts_.tolist() == [0, 1]
    assert Popular(window_days=38.5).fit(data).counts_.tolist() == [1, 1]
    with pytest.raises(OptionError):
        Popular(window_days=30).fit(data_of([[0, 1]], 2, clock=False))


def test_random_differs_by_user_and_seed_and_is_uniform():
    data = checkerboard(n_users=400)[0]
    lists = Random().fit(data, seed=1).retrieve(data.queries(), 1)
    counts = np.bincount(lists.items, minlength=20)
    assert counts.min() > 5 and counts.max() < 50
    other = Random().fit(data, seed=2).retrieve(data.queries(), 1)
    assert (lists.items != other.items).mean() > 0.7


@pytest.mark.parametrize("make", [Random, Popular])
def test_extend_finds_new_items(make):
    data = checkerboard()[0]
    grown = data.with_items([Item("new", "New")])
    stage = make().fit(data)
    assert 20 not in stage.retrieve(stranger(grown), 30).items
    assert 20 in stage.extend(grown.catalog).retrieve(stranger(grown), 30).items
    assert 20 not in stage.retrieve(stranger(grown), 30).items
