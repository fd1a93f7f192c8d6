"""Labelled pairs as an experiment: hand-worked tables, what a ranker may see, failures, cuts."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from tests.core.makers import data_of

from hexarec.classic import ItemKNN, Random
from hexarec.core import CapabilityError, DataError, Exposures, LineageError, Lists, OptionError
from hexarec.eval.experiment import Experiment
from hexarec.eval.floors import LABEL_FLOORS, PRIOR, Gains, ItemMeanGain, UserMeanGain
from hexarec.eval.labels import Labels, unanswered
from hexarec.eval.report import read_report
from hexarec.lm.fake import Scripted
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.pipeline import Pipeline

EVENTS = [(0, 0, 1.0), (0, 1, 2.0), (1, 0, 3.0), (1, 2, 4.0), (2, 3, 5.0)]
DATA = data_of(EVENTS, liked=[True, False, True, True, False])
SEEN: list[Lists] = []


def shown(rows, gains, now=10.0, users=(0, 1, 2)):
    queries = DATA.queries(list(users[: len(rows)]), now=now)
    lists = Lists.of("k", rows)
    flat = np.array([one for each in gains for one in each], np.float32)
    return Exposures(queries, lists.with_field("gain", flat))


# u0: i2 liked, i3 not; u1: i1 and i4 not (one class); u2: i0 liked, i4 not
PAIRS = shown([[2, 3], [1, 4], [0, 4]], [[1, 0], [0, 0], [1, 0]])
RIGHT = ((2, 0.9), (3, 0.2), (1, 0.8), (4, 0.4), (0, 0.6))


@dataclass
class Table:
    """A ranker with a score per item row, wherever it stands; an item without one gets NaN."""

    scores: tuple[tuple[int, float], ...] = RIGHT

    def rank(self, queries, candidates):
        SEEN.append(candidates)
        known = dict(self.scores)
        return candidates.scored(np.array([known.get(item, math.nan) for item in candidates.items.tolist()]))


def values(report, system):
    return {name: one.mean for name, one in next(row for row in report.rows if row.system == system).values.items()}


def test_a_table_worked_by_hand(tmp_path):
    report = Experiment(Labels(DATA, PAIRS), {"table": Table()}).run(tmp_path)
    made = values(report, "table")
    # positives .9 .6 against negatives .2 .8 .4 .4
    assert made["auc"] == pytest.approx((4 + 3) / 8)
    assert made["uauc"] == 1.0 and made["uauc_users"] == 2.0
    want = -sum(map(math.log, (0.9, 0.8, 0.2, 0.6, 0.6, 0.6))) / 6
    assert made["log_loss"] == pytest.approx(want, rel=1e-6)
    assert made["accuracy"] == pytest.approx(5 / 6) and made["parse_failure_rate"] == 0.0
    assert report.title == "data, labels: given pairs, 6 pairs of 3 users"
    assert [row.system for row in report.rows] == [*LABEL_FLOORS, "table"] and report.baseline in LABEL_FLOORS
    assert read_report(tmp_path).rows[-1].values["auc"].mean == made["auc"]
    assert "Pairs without a score are left out" in (tmp_path / "report.md").read_text()


def test_what_has_no_score_is_a_failure_and_no_half():
    report = Experiment(Labels(DATA, PAIRS), {"holes": Table(RIGHT[:2])}, floors=False).run()
    made = values(report, "holes")
    assert made["parse_failure_rate"] == pytest.approx(4 / 6)
    assert made["auc"] == 1.0 and made["uauc_users"] == 1.0
    assert made["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2, rel=1e-6)


def test_a_ranker_sees_no_gain_no_score_and_no_order_of_the_log():
    SEEN.clear()
    rows = [np.random.default_rng(i).permutation(5).tolist() for i in range(3)] * 20
    gains = [[1, 1, 0, 0, 0]] * 60
    queries = DATA.queries([0, 1, 2] * 20, now=10.0)
    asked = Exposures(queries, Lists.of("k", rows).with_field("gain", np.array(gains, np.float32).ravel()))
    made = Labels(DATA, asked)
    Experiment(made, {"table": Table()}, floors=False).run()
    assert all(not one.fields and not one.notes and np.isnan(one.scores).all() for one in SEEN)
    first = np.concatenate([one.items[one.offsets[:-1]] for one in SEEN])
    liked_first = np.mean([item in row[:2] for item, row in zip(first, rows, strict=True)])
    assert 0.15 < liked_first < 0.65  # in the log the liked ones always stand first
    again = made.round().candidates
    assert np.array_equal(again.items, made.round().candidates.items) and made.round().key == made.round().key


def test_unknown_gains_are_not_judged():
    asked = shown([[2, 3], [1, 4]], [[1, 0], [math.nan, 1]])
    made = values(Experiment(Labels(DATA, asked), {"t": Table(RIGHT[:4])}, floors=False).run(), "t")
    assert made["parse_failure_rate"] == 0.0 and made["auc"] == 1.0 and made["uauc_users"] == 1.0


def test_what_a_model_left_out_is_a_failure_though_the_ranker_puts_it_last():
    silent = LLMRank(Scripted(lambda prompt: "nothing"), backend="list", rounds=1, retries=0)
    made = values(Experiment(Labels(DATA, PAIRS), {"silent": silent}, floors=False).run(), "silent")
    assert made["parse_failure_rate"] == 1.0 and math.isnan(made["auc"])
    assert made["missing_rate"] == 1.0


def test_unanswered_reads_every_round():
    lists = replace(
        Lists.of("k", [[2, 3, 1]]),
        notes=({"orders": [[3, 2, 1], [1, 2, 3]], "rounds": [[1.0, -10_000.0, None], [None, None, 2.0]]},),
    )
    assert unanswered(lists).tolist() == [True, False, True]
    assert not unanswered(replace(lists, notes=())).any()


def test_all_users_of_one_class_leave_uauc_open():
    made = values(Experiment(Labels(DATA, shown([[1, 4]], [[0, 0]])), {"t": Table()}, floors=False).run(), "t")
    assert math.isnan(made["uauc"]) and math.isnan(made["auc"]) and made["uauc_users"] == 0.0


def test_pipelines_score_by_their_ranker_and_others_are_refused():
    ranked = Pipeline((Random(),), rank_by=Table())
    assert values(Experiment(Labels(DATA, PAIRS), {"p": ranked}, floors=False).run(), "p")["uauc"] == 1.0
    with pytest.raises(OptionError, match="no ranker"):
        Experiment(Labels(DATA, PAIRS), {"p": Pipeline((Random(),))}, floors=False).run()
    with pytest.raises(OptionError, match="cannot rank"):
        Experiment(Labels(DATA, PAIRS), {"o": object()}, floors=False).run()


@dataclass
class Loses:
    def rank(self, queries, candidates):
        return candidates.top_k(1)


def test_a_ranker_that_loses_items_is_found_out():
    with pytest.raises(DataError, match="Loses returned other items"):
        Experiment(Labels(DATA, PAIRS), {"loses": Loses()}, floors=False).run()


def test_other_metrics_are_refused():
    with pytest.raises(OptionError, match="ndcg@10 does not measure labelled pairs"):
        Experiment(Labels(DATA, PAIRS), {"t": Table()}, metrics=("ndcg@10",)).run()
    with pytest.raises(OptionError, match="does not measure ranked lists"):
        from tests.eval.systems import task

        Experiment(task(max_users=3), {"i": ItemKNN()}, metrics=("auc",)).run()


def test_data_without_exposures_says_what_to_give():
    with pytest.raises(CapabilityError, match="has no labelled pairs") as caught:
        Labels(DATA).round()
    assert "exposures_from" in caught.value.hint


def test_the_newest_exposures_are_asked_and_nothing_later_is_learned_from():
    times = np.array([3.5, 6.0, 7.0])
    queries = DATA.queries([0, 1, 2], now=times)
    data = replace(DATA, exposures=Exposures(queries, PAIRS.shown))
    made = Labels(data, share=0.4).round()
    assert made.queries.now.tolist() == [6.0, 7.0] and made.truth.items.tolist() == [1, 4, 0, 4]
    assert made.train.interactions.time.max() < 6.0
    assert made.train.exposures.queries.now.tolist() == [3.5]
    assert "newest 40% of exposures" in made.title
    endless = replace(data, exposures=Exposures(DATA.queries([0, 1, 2]), PAIRS.shown))
    with pytest.raises(DataError, match="no moments"):
        Labels(endless).round()
    with pytest.raises(OptionError, match="share is 1.5"):
        Labels(data, share=1.5).round()


def test_users_are_sampled_with_all_their_pairs():
    twice = Exposures(
        DATA.queries([0, 1, 2, 0], now=10.0), Lists.of("k", [[2], [1], [0], [3]]).with_field("gain", np.ones(4))
    )
    for seed in range(5):
        made = Labels(DATA, twice, max_users=1, seed=seed).round()
        assert len(set(made.queries.user.tolist())) == 1 and "of 1 users sampled of 3" in made.title
        assert len(made.queries) == (2 if made.queries.user[0] == 0 else 1)


def test_pairs_about_another_catalog_are_refused():
    other = data_of(EVENTS, key="other")
    with pytest.raises(LineageError):
        Labels(other, PAIRS).round()


def test_gains_come_from_exposures_before_the_log():
    assert Gains.of(DATA).gain.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]
    asked = shown([[2, 3], [1, 4]], [[1, 0], [math.nan, 0]])
    made = Gains.of(replace(DATA, exposures=asked))
    assert made.item.tolist() == [2, 3, 4] and made.user.tolist() == [0, 0, 1] and made.gain.tolist() == [1.0, 0.0, 0.0]
    simulated = replace(asked, source="sim:x")
    assert len(Gains.of(replace(DATA, exposures=simulated)).gain) == 5


def test_item_mean_gain_by_hand():
    made = ItemMeanGain().fit(DATA)
    queries, lists = DATA.queries([0], now=10.0), Lists.of("k", [[0, 1, 4]])
    scores = dict(
        zip(*(a.tolist() for a in (made.rank(queries, lists).items, made.rank(queries, lists).scores)), strict=True)
    )
    mean = 3 / 5
    assert scores == pytest.approx({0: (2 + PRIOR * mean) / (2 + PRIOR), 1: PRIOR * mean / (1 + PRIOR), 4: mean})


def test_user_mean_gain_by_hand():
    made = UserMeanGain().fit(DATA)
    lists = Lists.of("k", [[4], [4], [4]])
    mean = 3 / 5
    known = made.rank(DATA.queries([0, 1, 2], now=10.0), lists).scores
    assert known.tolist() == pytest.approx([(1 + 5 * mean) / 7, (2 + 5 * mean) / 7, (5 * mean) / 6])
    nobody = replace(DATA.queries([0, 1, 2], now=10.0), user=np.full(3, -1, np.int32))
    # by the histories they state: one of two, two of two, none of one
    assert made.rank(nobody, lists).scores.tolist() == pytest.approx(known.tolist())
    likes = UserMeanGain().fit(data_of(EVENTS))  # a log that knows no dislikes says nothing of anybody
    assert likes.rank(nobody, lists).scores.tolist() == [1.0, 1.0, 1.0]


def test_the_floors_see_the_taste_of_users_and_items():
    generator = np.random.default_rng(0)
    users, items = 60, 20
    bias, worth = generator.normal(0, 1.5, users), generator.normal(0, 1.5, items)
    events, liked = [], []
    for u in range(users):
        for i in generator.permutation(items)[:16]:
            events.append((u, int(i), float(len(events))))
            liked.append(bool(generator.random() < 1 / (1 + math.exp(-bias[u] - worth[i]))))
    half = len(events) // 2
    train = data_of(events[:half] * 1, users, items, liked=liked[:half])
    rest = data_of(events, users, items, liked=liked)
    asked = Exposures(
        rest.queries([u for u, _, _ in events[half:]], now=0.0),
        Lists.of("k", [[i] for _, i, _ in events[half:]]).with_field("gain", np.array(liked[half:], np.float32)),
    )
    report = Experiment(Labels(train, asked), {"knn": ItemKNN()}).run()
    assert abs(values(report, "random")["auc"] - 0.5) < 0.1
    assert values(report, "item mean gain")["auc"] > 0.65
    assert abs(values(report, "user mean gain")["ece"]) < 0.25


def test_warm_and_cold_pairs_are_told_apart_by_training_events():
    """Events: u0 2, u1 2, u2 1; i0 2, i1 1, i2 1, i3 1, i4 0."""
    names = ("auc[warm_pairs:1]", "uauc_users[warm_pairs:1]", "auc[cold_pairs:1]", "accuracy[cold_pairs:1]")
    made = values(Experiment(Labels(DATA, PAIRS), {"table": Table()}, metrics=names).run(), "table")
    # warm: u0 i2 .9 liked, i3 .2; u1 i1 .8; u2 i0 .6 liked. cold: u1 i4 .4 and u2 i4 .4, both not liked
    assert made["auc[warm_pairs:1]"] == pytest.approx(3 / 4) and made["uauc_users[warm_pairs:1]"] == 1.0
    assert math.isnan(made["auc[cold_pairs:1]"]) and made["accuracy[cold_pairs:1]"] == 1.0
    both = values(
        Experiment(Labels(DATA, PAIRS), {"table": Table()}, metrics=("accuracy[warm_pairs:2]",)).run(), "table"
    )
    assert both["accuracy[warm_pairs:2]"] != both["accuracy[warm_pairs:2]"]  # nobody with two events met i0
    with pytest.raises(OptionError, match="no part of labelled pairs is called 'warm'"):
        Experiment(Labels(DATA, PAIRS), {"table": Table()}, metrics=("auc[warm]",)).run()
