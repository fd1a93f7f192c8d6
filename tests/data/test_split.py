from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hexarec.core import DataError, Exposures, Lists, OptionError
from hexarec.data.split import (
    cold_items,
    cold_users,
    core_mask,
    global_time,
    k_core,
    leave_last,
    rules,
    system_cold,
)

from .makers import log_of

row = st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 30), st.integers(1, 5))
logs = st.lists(row, min_size=1, max_size=60)


def pairs(cases):
    """(query position, item) of a truth."""
    return [(q, int(i)) for q in range(len(cases)) for i in cases.truth[q].items]


def fair(cases):
    """Truth is never empty, never met before and never excluded; history is never later than now."""
    assert (cases.truth.lengths > 0).all() and (cases.truth.fields["gain"] == 1).all()
    for q, query in enumerate(cases.queries):
        assert not set(cases.truth[q].items.tolist()) & (set(query.items) | query.exclude)
        assert len(set(cases.truth[q].items.tolist())) == len(cases.truth[q].items)
        assert all(t <= query.now for t in query.times)


@settings(max_examples=80, deadline=None)
@given(rows=logs, valid=st.sampled_from([0.0, 0.1, 0.3]), test=st.sampled_from([0.1, 0.4]))
def test_global_time_is_one_moment_for_everybody(rows, valid, test):
    data = log_of(rows, 5, 7, like=4)
    try:
        made = global_time(data, valid, test)
    except DataError as error:
        assert "before the cut" in str(error)
        return
    times = np.sort(data.interactions.time)
    second = times[min(round(len(times) * (1 - test)), len(times) - 1)]
    first = times[min(round(len(times) * (1 - (valid + test))), len(times) - 1)] if valid else second
    assert (made.train.interactions.time < first).all()
    assert len(made.train.interactions) == (data.interactions.time < first).sum()  # nothing lost
    assert (made.valid is None) == (valid == 0)
    for cases, start, stop in [(made.test, second, np.inf)] + ([(made.valid, first, second)] if valid else []):
        fair(cases)
        for q, query in enumerate(cases.queries):
            user = int(query.user[1:])
            mine = [r for r in rows if r[0] == user]
            known = {r[1] for r in mine if r[2] < start}
            assert set(query.items) == known and query.now == start
            assert set(cases.truth[q].items) == {r[1] for r in mine if start <= r[2] < stop and r[3] >= 4} - known
    assert made.notes["test users"] + made.notes["test users without truth"] == len(
        {r[0] for r in rows if r[2] >= second}
    )


@settings(max_examples=80, deadline=None)
@given(rows=logs, valid=st.booleans(), clock=st.booleans())
def test_leave_last_takes_the_last_event_of_each(rows, valid, clock):
    data = log_of(rows, 5, 7, clock=clock, like=3)
    made = leave_last(data, valid)
    log, cut = data.interactions, made.train.interactions
    able = np.flatnonzero(np.diff(log.offsets) >= 2 + valid)
    assert len(cut) == len(log) - len(able) * (1 + valid)
    for cases, back in [(made.test, 1)] + ([(made.valid, 2)] if valid else []):
        fair(cases)
        part = "test" if back == 1 else "valid"
        assert made.notes[f"{part} users"] + made.notes[f"{part} users without truth"] == len(able)
        for q, query in enumerate(cases.queries):
            low, high = log.offsets[int(query.user[1:]) :][:2]
            assert query.items == tuple(
                log.item[low : high - back].tolist()
            )  # the test history holds the validation event
            assert cases.truth[q].items.tolist() == [log.item[high - back]] and query.now == log.time[high - back]
    for user in range(5):
        low, high = log.offsets[user : user + 2]
        taken = (1 + valid) if user in able else 0
        start, stop = cut.offsets[user : user + 2]
        assert cut.item[start:stop].tolist() == log.item[low : high - taken].tolist()


def test_of_events_at_one_time_the_later_in_the_file_is_the_last():
    data = log_of([(0, 3, 9), (0, 1, 5), (0, 2, 9), (0, 0, 9)], 1, 4)
    made = leave_last(data)
    assert made.test.truth.items.tolist() == [0] and made.valid.truth.items.tolist() == [2]
    assert made.test.queries[0].items == (1, 3, 2) and "the later in the file" in made.rule


@settings(max_examples=50, deadline=None)
@given(rows=logs, share=st.sampled_from([0.2, 0.5]), seed=st.integers(0, 3))
def test_cold_items_vanish_from_train(rows, share, seed):
    assume(len({r[1] for r in rows}) >= 3)
    data = log_of(rows, 5, 7, like=3)
    made = cold_items(data, share, seed)
    warm = set(made.train.interactions.item.tolist())
    valid, test = set(made.valid.truth.items.tolist()), set(made.test.truth.items.tolist())
    assert not warm & (valid | test) and not valid & test
    assert len(made.train.interactions) == sum(r[1] in warm for r in rows)
    assert made.train.n_items == 7  # their words stay
    for cases in (made.valid, made.test):
        fair(cases)
    again = cold_items(data, share, seed)
    assert again.test.truth.items.tolist() == made.test.truth.items.tolist()


@settings(max_examples=50, deadline=None)
@given(rows=logs, known=st.integers(0, 3))
def test_cold_users_vanish_whole(rows, known):
    data = log_of(rows, 5, 7, like=2)
    if (np.diff(data.interactions.offsets) > known).sum() < 3:
        with pytest.raises(DataError, match="users have more than"):
            cold_users(data, known)
        return
    made = cold_users(data, known)
    trained = set(made.train.interactions.user.tolist())
    asked = set(made.test.queries.user.tolist()) | set(made.valid.queries.user.tolist())
    assert not trained & asked and not set(made.test.queries.user.tolist()) & set(made.valid.queries.user.tolist())
    for cases in (made.valid, made.test):
        fair(cases)
        assert (cases.queries.history.lengths == known).all()


def test_system_cold_has_nothing_to_train_on():
    data = log_of([(0, 0, 1), (0, 1, 2), (1, 2, 1), (1, 0, 3)], 2, 3)
    made = system_cold(data)
    assert len(made.train.interactions) == 0 and made.valid is None and made.test.truth.items.tolist() == [1, 0]


@settings(max_examples=60, deadline=None)
@given(rows=logs, k=st.integers(1, 4))
def test_k_core_is_the_largest_such_log(rows, k):
    data = log_of(rows, 5, 7)
    keep = core_mask(data.interactions, 7, k)
    log = data.interactions.where(keep)
    for counts in (np.bincount(log.user), np.bincount(log.item)):
        assert ((counts == 0) | (counts >= k)).all()
    assert core_mask(log, 7, k).all()
    if keep.any():
        made = k_core(data, k)
        assert len(made.interactions) == keep.sum() and made.n_items == 7 and made.catalog.key == data.catalog.key
    else:
        with pytest.raises(DataError, match="core"):
            k_core(data, k)


def with_exposures(data, moments):
    queries = data.queries(np.arange(len(moments)) % data.n_users, now=np.array(moments, float))
    lists = Lists.of(data.catalog.key, [[0]] * len(moments))
    return replace(data, exposures=Exposures(queries, lists.with_field("gain", np.ones(len(moments), np.float32))))


def test_exposures_carry_labels_so_they_are_cut_too():
    rows = [(u, (u + t) % 5, t, 5) for u in range(3) for t in range(10)]
    data = with_exposures(log_of(rows, 3, 5, like=4), [1, 5, 9, 2])
    assert global_time(data).train.exposures.queries.now.tolist() == [1, 5, 2]
    assert leave_last(data).train.exposures.queries.now.tolist() == [1, 5, 2]
    assert system_cold(data).train.exposures is None
    kept = cold_users(data, 2, share=0.7).train
    assert len(kept.exposures) == 1 or set(kept.exposures.queries.user) <= set(kept.interactions.user)
    cold = cold_items(data, 0.5)
    assert cold.train.exposures is None or 0 in cold.train.interactions.item


@pytest.mark.parametrize("made", list(rules().values()))
def test_an_empty_log_is_one_clear_error(made):
    with pytest.raises(DataError):
        made(log_of([], 2, 2))


def test_options_that_make_no_sense():
    data = log_of([(0, 0, 1), (0, 1, 2), (1, 2, 3)], 2, 3)
    for valid, test in ((0.5, 0.5), (-0.1, 0.1), (0.1, 0.0)):
        with pytest.raises(OptionError):
            global_time(data, valid, test)
    with pytest.raises(OptionError):
        cold_items(data, 1.0)
    with pytest.raises(OptionError):
        cold_users(data, -1)
    with pytest.raises(OptionError):
        k_core(data, 0)
    with pytest.raises(DataError, match="no clock"):
        global_time(log_of([(0, 0, 1)], 1, 1, clock=False))
    with pytest.raises(DataError, match="one instant"):
        global_time(log_of([(0, 0, 7), (1, 1, 7)], 2, 2))
    with pytest.raises(DataError, match="too few"):
        cold_items(log_of([(0, 0, 7)], 1, 1))


def test_the_rule_of_global_time_names_moments_as_people_read_them():
    data = log_of([(0, n, 1_700_000_000 + n, 5) for n in range(10)], 1, 10, like=4)
    assert global_time(data, 0.2, 0.2).rule == (
        "global time: train before 2023-11-14 22:13:26, validation until 2023-11-14 22:13:28, test after that (UTC)"
    )
    assert global_time(data, 0.0, 0.2).rule.endswith("train before 2023-11-14 22:13:28, test from then on (UTC)")
    far = log_of([(0, n, 1e15 + n, 5) for n in range(10)], 1, 10, like=4)
    assert "train before 1e+15 s" in global_time(far, 0.0, 0.2).rule
