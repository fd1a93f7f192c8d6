from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import Catalog, DataError, Dataset, Exposures, IdTable, Interactions, Item, Lists, run
from hexarec.data.worlds import world
from hexarec.lm.base import Prompt
from hexarec.lm.fake import Overlap
from hexarec.parts.pointwise import cases_of, liked_and_not, shots, split_cases, yes_probabilities

DATA = world("trap").data


def rated(data=DATA):
    """The log with every third event not liked."""
    log = data.interactions
    return data.with_log(replace(log, liked=np.arange(len(log)) % 3 != 0))


def test_a_case_is_an_event_with_what_came_strictly_before_it():
    data = rated()
    cases = cases_of(data)
    log = data.interactions
    assert (np.diff(cases.queries.now) >= 0).all()
    for i in range(0, len(cases), 17):
        query = cases.queries[i]
        assert query.items and max(query.times) < query.now
        row = np.flatnonzero(
            (log.user == cases.queries.user[i]) & (log.time == query.now) & (log.item == cases.item[i])
        )
        assert len(row) == 1 and log.liked[row[0]] == cases.liked[i]


def test_a_log_of_likes_alone_is_refused_and_negatives_are_drawn_when_asked_for():
    with pytest.raises(DataError, match="only liked") as caught:
        cases_of(DATA)
    assert "drawn" in caught.value.hint
    cases = cases_of(DATA, negatives="drawn")
    assert cases.liked.mean() == 0.5
    for i in np.flatnonzero(~cases.liked)[::19]:
        user = int(cases.queries.user[i])
        met = DATA.interactions.item[slice(*DATA.interactions.offsets[user : user + 2])]
        assert cases.item[i] not in met
    again = cases_of(DATA, negatives="drawn")
    assert np.array_equal(again.item, cases.item)


def test_exposures_are_the_cases_where_there_are_any():
    queries = DATA.queries(np.array([3, 1]), now=np.array([9e9, 8e9]))
    shown = Lists.of(DATA.catalog.key, [[5, 6], [7]]).with_field("gain", np.array([1, 0, np.nan], np.float32))
    made = cases_of(replace(DATA, exposures=Exposures(queries, shown)))
    assert made.item.tolist() == [5, 6] and made.liked.tolist() == [True, False]
    simulated = replace(DATA, exposures=Exposures(queries, shown, source="sim:x"))
    assert len(cases_of(simulated, negatives="drawn")) > 2, "what did not happen is not learned from"


def test_validation_comes_after_all_that_is_learned_from():
    train, valid = split_cases(rated(), 0.2)
    assert len(valid) and train.queries.now.max() < valid.queries.now.min()
    assert len(train) + len(valid) <= len(cases_of(rated()))


def test_without_a_clock_the_last_events_validate():
    data = rated()
    log = data.interactions
    order = np.arange(len(log)) - log.offsets[:-1][log.user]
    plain = data.with_log(replace(log, time=order.astype(np.float64), clock=False))
    train, valid = split_cases(plain, 0.2)
    last = np.diff(log.offsets)[valid.queries.user] - 1
    assert len(valid) and (valid.queries.now == last).all()
    told = set(zip(train.queries.user.tolist(), train.item.tolist(), strict=True))
    assert not told & set(zip(valid.queries.user.tolist(), valid.item.tolist(), strict=True))


@pytest.mark.parametrize("balanced", [False, True])
def test_few_cases_are_nested_by_seed_and_kept_in_time(balanced):
    cases = cases_of(rated())
    small, large = (shots(cases, k, balanced=balanced, seed=5) for k in (16, 64))
    names = [set(zip(c.queries.user.tolist(), c.queries.now.tolist(), strict=True)) for c in (small, large)]
    assert len(small) == 16 and len(large) == 64 and names[0] <= names[1]
    assert (np.diff(large.queries.now) >= 0).all()
    assert abs(int(large.liked.sum()) - 32) <= 1 or not balanced
    other = shots(cases, 16, balanced=balanced, seed=6)
    assert names[0] != set(zip(other.queries.user.tolist(), other.queries.now.tolist(), strict=True))


def test_balanced_takes_what_there_is_when_a_label_is_rare():
    cases = cases_of(rated())
    rare = cases.take(np.concatenate([np.flatnonzero(cases.liked)[:20], np.flatnonzero(~cases.liked)[:2]]))
    assert shots(rare, 10, balanced=True).liked.tolist().count(False) == 2


def test_liked_and_not_are_those_of_the_newest_events():
    queries = rated().queries(np.array([0]))
    liked, other = liked_and_not(queries, 0, 5)
    assert len(liked) + len(other) == 5
    newest = queries.history.item[queries.history.offsets[0] : queries.history.offsets[1]][-5:]
    assert sorted([*liked, *other]) == sorted(newest.tolist())


class Fixed(Overlap):
    """Log-probabilities by the prompt's number; NaN for one of them."""

    def label(self, prompts, labels):
        return np.array([[np.log(0.6), np.log(0.2)] if "a" in p.text else [np.nan, -1.0] for p in prompts], np.float32)


def test_a_probability_is_of_yes_among_yes_and_no_and_none_is_said():
    told = []
    with run(complain=told.append):
        made = yes_probabilities(Fixed(), [Prompt.user("a"), Prompt.user("b")], [("Yes", "No")] * 2)
    assert made[0] == pytest.approx(0.75) and np.isnan(made[1])
    assert told == ["1 of 2 answers give no probability of Yes and No"]


def test_interactions_are_left_as_they_were():
    before = DATA.interactions.item.copy()
    cases_of(DATA, negatives="drawn")
    assert isinstance(DATA.interactions, Interactions) and np.array_equal(before, DATA.interactions.item)


def test_what_is_said_to_mend_it_is_not_what_was_done():
    """A catalog of one item has nothing to draw: to take drawn ones is no help then, nor where exposures are the cases."""
    one = Catalog.of([Item("only", "Only")], key="one")
    log = Interactions.of({"user": [0, 0], "item": [0, 0], "time": [0.0, 1.0]}, 1)
    data = Dataset(one, log, replace(DATA.users, ids=IdTable.of(["u"])))
    shown = Exposures(data.queries([0]), Lists.of("one", [[0]]).with_field("gain", np.ones(1, np.float32)))
    for given, negatives, named in ((data, "log", "negatives='drawn'"), (data, "drawn", "have not met"),
                                    (replace(data, exposures=shown), "log", "gain above 0")):  # fmt: skip
        with pytest.raises(DataError, match="labelled cases|liked cases") as caught:
            cases_of(given, negatives=negatives)
        assert named in caught.value.hint and ("drawn'" in caught.value.hint) == (named == "negatives='drawn'")
