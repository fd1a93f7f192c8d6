from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hexarec.core import DataError, Exposures, LineageError, Lists, OptionError, after, holdout, truth_of
from hexarec.testing.strategies import datasets

from .makers import cut, data_of

SHARES = st.sampled_from([0.1, 0.3, 0.5, 0.9])


@given(datasets(), SHARES)
def test_a_cut_in_time_never_leaks(data, share):
    assume(len(data.interactions))
    made = holdout(data, share)
    cuts = set(made.queries.now.tolist())
    assert len(cuts) <= 1
    moment = next(iter(cuts), None)
    if moment is not None:
        assert (made.train.interactions.time < moment).all() and (made.queries.history.time < moment).all()
    for query, truth in zip(made.queries, cut(made.truth.offsets, made.truth.items), strict=True):
        assert not set(truth) & (set(query.items) | query.exclude) and len(set(truth)) == len(truth)


@given(datasets(), SHARES)
def test_the_truth_is_what_was_liked_from_the_cut_on_and_not_met_before(data, share):
    assume(len(data.interactions))
    made = holdout(data, share)
    log = data.interactions
    for query, truth in zip(made.queries, cut(made.truth.offsets, made.truth.items), strict=True):
        user = int(query.user[1:])
        mine = slice(*log.offsets[user : user + 2])
        later = [i for i, t, liked in zip(log.item[mine], log.time[mine], log.liked[mine], strict=True)
                 if t >= query.now and liked]  # fmt: skip
        assert sorted(truth) == sorted(set(later) - set(query.items))
    if len(made.queries):
        assert len(made.train.interactions) == int((log.time < made.queries.now[0]).sum())


@given(datasets(), SHARES)
def test_poison_after_the_cut_changes_nothing_before_it(data, share):
    assume(len(data.interactions))
    made = holdout(data, share)
    assume(len(made.queries))
    moment = float(made.queries.now[0])
    log = data.interactions
    item = np.where(log.time >= moment, 0, log.item).astype(np.int32)
    again = after(data.with_log(replace(log, item=item)), moment)
    assert again.train.key == made.train.key
    assert np.array_equal(again.queries.history.item, made.queries.history.item)


def test_exposures_of_the_future_are_not_in_train():
    data = data_of([(0, 0, 1), (0, 1, 5), (1, 2, 2), (1, 3, 6)])
    shown = Lists.of("k", [[4], [4]]).with_field("gain", np.ones(2, np.float32))
    data = replace(data, exposures=Exposures(data.queries([0, 1], now=np.array([1.0, 9.0])), shown))
    train = after(data, 4.0).train
    assert train.exposures.queries.now.max() < 4.0


def test_without_a_clock_the_last_event_of_each_long_enough_sequence_is_cut():
    data = data_of(
        [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 3, 0), (1, 4, 1), (2, 1, 0), (2, 2, 1), (2, 0, 2)], clock=False
    )
    made = holdout(data, 0.1)
    assert [query.user for query in made.queries] == ["u0", "u2"] and cut(made.truth.offsets, made.truth.items) == [
        [2],
        [0],
    ]
    assert cut(made.train.interactions.offsets, made.train.interactions.item) == [[0, 1], [3, 4], [1, 2]]
    assert [query.items for query in made.queries] == [(0, 1), (1, 2)]


def test_without_a_clock_every_long_enough_user_is_asked_whatever_the_share():
    data = data_of([(u, i, i) for u in range(20) for i in range(4)], n_users=20, clock=False)
    assert len(holdout(data, 0.1).queries) == len(holdout(data, 0.9).queries) == 20


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 2.0])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(OptionError, match="not between 0 and 1"):
        holdout(data_of([(0, 0, 1)]), share)


def test_there_is_nothing_to_hold_out_of_an_empty_log():
    with pytest.raises(DataError, match="empty"):
        holdout(data_of([]))


def test_truth_holds_each_item_once_and_nothing_excluded():
    queries = data_of([(0, 1, 1)]).queries([0, 1])
    made = truth_of(queries, np.array([0, 4, 5]), np.array([2, 2, 1, 3, 4]), np.array([0, 1]))
    assert cut(made.offsets, made.items) == [[2, 3], [4]] and made.fields["gain"].tolist() == [1.0, 1.0, 1.0]


def test_exposures_must_fit_their_questions():
    queries = data_of([]).queries([0, 1])
    shown = Lists.of("k", [[0], [1]]).with_field("gain", np.array([1.0, 0.0], np.float32))
    assert len(Exposures(queries, shown)) == 2 and Exposures(queries, shown).source == "log"
    with pytest.raises(DataError, match="need the field 'gain'"):
        Exposures(queries, Lists.of("k", [[0], [1]]))
    with pytest.raises(DataError, match="1 lists for 2 queries"):
        Exposures(queries, shown.take(np.array([0])))
    with pytest.raises(LineageError):
        Exposures(queries, replace(shown, key="other"))
