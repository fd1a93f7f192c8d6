from dataclasses import replace

import numpy as np
import pytest
from tests.eval.systems import task

from hexarec.core import DataError, LineageError, Lists, OptionError
from hexarec.data.worlds import world
from hexarec.eval.tasks import Given, Ranking, sampled, validity_of


def test_the_title_says_all_that_changes_the_numbers():
    assert task().round().title == "world:order (simulated), last split, test, full catalog, 80 users"
    made = task(candidates=5, max_users=30).round()
    assert "SAMPLED candidates: the truth and 5 random unseen items" in made.title
    assert "30 users sampled of 80" in made.title and len(made.queries) == len(made.truth) == 30


def test_sampled_candidates_hold_the_truth_and_nothing_seen():
    made = task(candidates=5).round()
    for i, query in enumerate(made.queries):
        drawn = made.candidates[i].items.tolist()
        assert len(set(drawn)) == len(drawn) == 6
        assert set(made.truth[i].items.tolist()) <= set(drawn) and not set(drawn) & query.exclude


def test_no_place_among_the_candidates_tells_the_truth():
    cases = world("order")
    places = []
    for seed in range(20):
        lists = sampled(cases, 4, seed)
        places += [lists[i].items.tolist().index(cases.truth[i].items[0]) for i in range(len(lists))]
    share = np.bincount(places, minlength=5) / len(places)
    # 1,600 draws over 5 places: the standard error of a share is 0.01
    assert np.abs(share - 0.2).max() < 0.05


def test_the_same_task_draws_the_same_and_another_seed_another():
    one, same, other = (task(candidates=5, max_users=20, seed=s).round() for s in (0, 0, 1))
    assert one.key == same.key != other.key
    assert one.title == other.title
    assert np.array_equal(one.candidates.items, same.candidates.items)


def test_validation_trains_on_less_than_the_test():
    data = world("order").data
    valid, test = (Ranking(data, "last", part).round() for part in ("valid", "test"))
    assert len(valid.train.interactions) < len(test.train.interactions)
    assert "valid" in valid.title


@pytest.mark.parametrize("split", ["global", "last", "cold-items", "cold-users", "system-cold"])
def test_every_split_gives_questions_with_a_truth(split):
    made = Ranking(world("drift").data, split).round()
    assert len(made.queries) and (made.truth.lengths > 0).all()


def test_wrong_names_are_refused():
    with pytest.raises(OptionError, match="unknown split 'never'") as caught:
        Ranking(world("order").data, "never").round()
    assert "global" in caught.value.hint
    with pytest.raises(OptionError, match="no validation part"):
        Ranking(world("order").data, "system-cold", "valid").round()


def test_given_cases_of_another_catalog_are_refused():
    one, other = world("order"), world("cold")
    made = Given(one.data, one.queries, one.truth, None, "mine").round()
    assert made.title == "mine" and made.candidates is None
    with pytest.raises(LineageError):
        Given(one.data, other.queries, other.truth, None, "mixed").round()


def test_a_cut_without_questions_is_an_error_not_a_table_of_nothing():
    from tests.data.makers import log_of

    data = log_of([(0, 0, 1, 5), (0, 1, 2, 5), (0, 0, 9, 1), (1, 1, 1, 5), (1, 0, 9, 1)], 2, 2, like=4)
    for split in ("last", "global"):
        with pytest.raises(DataError, match=f"tiny: in the {split} split nobody of the test likes anything new"):
            Ranking(data, split).round()


def test_validity_tells_what_was_left_after_repair_where_every_note_says_so():
    parse = {"requested": 4, "out_of_set": 2}
    notes = ({"parse": parse, "repaired": {"requested": 4, "out_of_set": 1}}, {"parse": parse, "repaired": parse}, {})
    lists = replace(Lists.empty("k", 3), notes=notes)
    rates = validity_of(lists)
    assert rates["candidate_error_rate"].value == 0.5
    assert rates["candidate_error_rate[repaired]"].value == 0.375
    some = replace(lists, notes=(notes[0], {"parse": parse}, {}))
    assert "candidate_error_rate[repaired]" not in validity_of(some) and validity_of(replace(lists, notes=())) == {}
