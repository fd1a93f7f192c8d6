import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import MissingExtraError
from hexarec.testing import strategies
from hexarec.testing._asking import well_formed


@given(strategies.datasets(), strategies.queries())
def test_drawn_data_fits_together(data, queries):
    assert data.n_users == data.interactions.n_users == 4 and 1 <= data.n_items <= 8
    assert (data.interactions.item < data.n_items).all() and (queries.history.time < 12).all()


@given(
    strategies.queries().flatmap(
        lambda q: st.tuples(st.just(q), strategies.lists(len(q), len(q.catalog), q.catalog.key))
    )
)
def test_drawn_lists_are_answers_best_first(drawn):
    queries, lists = drawn
    well_formed(lists, queries)
    for one in lists:
        known = one.scores[~np.isnan(one.scores)]
        assert (np.diff(known) <= 0).all() and np.isnan(one.scores[len(known) :]).all()


@given(strategies.answers(["Alien"]))
def test_drawn_answers_are_text(answer):
    assert isinstance(answer, str)


@pytest.mark.parametrize(
    "make", [strategies.catalogs, strategies.answers, strategies.queries, lambda: strategies.lists(1, 2)]
)
def test_without_hypothesis_the_error_names_the_extra(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingExtraError, match=r"hypothesis.*\n.*hexarec\[dev\]"):
        make()
