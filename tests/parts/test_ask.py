import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import CapabilityError, OptionError
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap, PositionBiased, Scripted
from hexarec.lm.garbage import Garbage
from hexarec.lm.tiny import Tiny
from hexarec.parts.ask import MISSING, NEEDS, Ask, Question, handles_for, in_given_order, matches, total
from hexarec.parts.ask import Asked as Answered
from hexarec.parts.ground import ParseReport

TITLES = ("Ocean story", "Robot story", "Jazz story", "Desert story", "Castle story")


@dataclass(frozen=True)
class Page:
    """Plain wording around one history."""

    past: str = "0. Robot tales"

    def listwise(self, options, n, *, json=False):
        return f"{self.past}\nRank these {n}:\n{options}"

    def choice(self, options):
        return f"{self.past}\nPick one:\n{options}"

    def pointwise(self, title):
        return f"{self.past}\nLike this?\n[A] {title}\nYes or No."

    def pairwise(self, first, second):
        return f"{self.past}\nWhich?\n[A] {first}\n[B] {second}"

    def lead(self, *, history):
        return (f"{self.past}\n" if history else "") + "Next:"

    @property
    def yes_no(self):
        return "Yes", "No"


def question(name="u", options=TITLES, seed=0, past="0. Robot tales"):
    return Question(Page(past), options, (name,), seed)


def ask(lm, *questions, **how):
    return Ask(**how)(lm, questions or (question(),))


def best(asked):
    return int(np.argmax(asked.scores))


@pytest.mark.parametrize("backend", NEEDS)
def test_every_back_end_finds_what_the_history_names(backend):
    made = ask(Overlap(), question("a"), question("b", past="0. Jazz nights"), backend=backend, rounds=2)
    assert [best(one) for one in made] == [1, 2]
    for one in made:
        assert one.scores.shape == (5,) and np.isfinite(one.scores).all()
        assert one.report.missing == 0 and one.report.matched == one.report.requested > 0


@pytest.mark.parametrize("backend", NEEDS)
def test_every_back_end_serves_no_question_no_option_and_one_option(backend):
    assert ask(Overlap(), backend=backend, rounds=2)[0].scores.shape == (5,)
    assert Ask(backend, 2)(Overlap(), []) == []
    none, one = ask(Overlap(), question(options=()), question(options=("Robot story",)), backend=backend, rounds=2)
    assert none.scores.shape == (0,) and one.scores.shape == (1,) and np.isfinite(one.scores).all()


@pytest.mark.parametrize("backend", NEEDS)
def test_a_question_is_answered_the_same_alone_and_in_a_batch(backend):
    questions = [question(str(n), TITLES[: 2 + n % 4], n, f"0. {TITLES[n % 5]}") for n in range(6)]
    together = ask(Overlap(), *questions, backend=backend, rounds=3)
    for one, own in zip(together, questions, strict=True):
        alone = ask(Overlap(), own, backend=backend, rounds=3)[0]
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-6)
        assert one.orders == alone.orders and one.report == alone.report


@pytest.mark.parametrize("backend", NEEDS)
@pytest.mark.parametrize("kind", [None, "empty", "error", "refusal", "numbers"])
def test_every_back_end_survives_garbage(backend, kind):
    made = ask(Garbage(kind), question("a"), question("b"), backend=backend, rounds=2)
    for one in made:
        assert one.scores.shape == (5,) and not np.isnan(one.scores).any()
        assert one.report.matched + one.report.missing == one.report.requested


def test_one_impossible_label_does_not_decide_a_pairwise_ranking_alone():
    class Banned(Overlap):
        def label(self, prompts, labels):
            rows = super().label(prompts, labels)
            rows[0, 1] = -np.inf
            return rows

    assert np.isfinite(ask(Banned(), backend="pairwise")[0].scores).all()


@pytest.mark.parametrize("backend", ["pointwise", "likelihood", "pmi"])
def test_a_real_network_scores_every_option(backend):
    made = ask(Tiny("ask"), backend=backend)[0]
    assert np.isfinite(made.scores).all() and len(set(made.scores.tolist())) == 5


@given(st.integers(2, 8), st.integers(2, 4), st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True))
def test_orders_are_permutations_drawn_for_each_question_and_round(m, rounds, names):
    how = Ask("list", rounds)
    orders = [how.orders(question(name, tuple(f"t{n}" for n in range(m)))) for name in names]
    assert all(sorted(order) == list(range(m)) for rows in orders for order in rows)
    assert orders == [how.orders(question(name, tuple(f"t{n}" for n in range(m)))) for name in names]


def test_orders_are_pairwise_distinct_over_rounds_and_users():
    how = Ask("list", 5)
    orders = [
        order for n in range(20) for order in how.orders(question(f"user {n}", tuple(f"t{i}" for i in range(20))))
    ]
    assert len(orders) == 100 == len(set(orders))


def test_back_ends_that_show_one_option_at_a_time_ask_once_and_in_order():
    for backend in ("pointwise", "likelihood", "pmi"):
        assert Ask(backend, 5).orders(question()) == [(0, 1, 2, 3, 4)]
    assert Ask("list", 2, shuffle=False).orders(question()) == [(0, 1, 2, 3, 4)] * 2


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("borda", [9.0, 3.0]), ("mean", [3.0, 1.0]), ("median", [4.0, 1.0])]
)
def test_rounds_are_merged_as_asked(aggregate, expected):
    assert Ask("list", aggregate=aggregate).merge(np.array([[4.0, 1.0], [1.0, 1.0], [4.0, 1.0]])).tolist() == expected


def test_a_full_answer_gives_borda_points_and_what_is_left_out_stays_behind_all_rounds():
    lm = Scripted(lambda prompt: "[B]\n[A]")
    made = ask(lm, backend="list", rounds=2, shuffle=False)[0]
    assert made.scores.tolist() == [8.0, 10.0, 2 * MISSING, 2 * MISSING, 2 * MISSING]
    assert made.by_round[0].tolist() == [4.0, 5.0, MISSING, MISSING, MISSING] and made.raw == ("[B]\n[A]",) * 2


@pytest.mark.parametrize("backend", ["list", "choice"])
@pytest.mark.parametrize("aggregate", ["borda", "mean", "median"])
def test_in_a_list_what_was_left_out_falls_in_the_order_given_behind_all_others(backend, aggregate):
    how = Ask(backend, 3, aggregate)
    lost = MISSING if backend == "list" else np.nan
    rounds = np.array([[lost, 5.0, lost, 4.0, lost], [lost, 4.0, lost, 5.0, 3.0], [lost, 5.0, lost, 4.0, lost]])
    merged = how.merge(np.where(np.isnan(rounds), MISSING, rounds))
    listed = how.for_list(Answered(merged, (), rounds, ParseReport(5))).astype(np.float32)
    assert np.argsort(-listed, kind="stable").tolist() == [1, 3, *([0, 2, 4] if aggregate == "median" else [4, 0, 2])]
    assert len(set(listed.tolist())) == 5 and listed[[1, 3]].tolist() == merged[[1, 3]].astype(np.float32).tolist()


def test_of_many_that_were_left_out_no_two_share_a_score():
    fallen = in_given_order(np.full(20_000, 3 * MISSING), np.ones(20_000, bool)).astype(np.float32)
    assert (np.diff(fallen) < 0).all()


class Asked(Overlap):
    """Gives no ranking the first times, and remembers what it was asked."""

    def __init__(self, silent):
        super().__init__()
        self.silent, self.prompts, self.calls = silent, [], 0

    def generate(self, prompts, within=None):
        self.calls += 1
        self.prompts.append(list(prompts))
        if self.calls <= self.silent:
            return [Completion("Let me think about that for a while.") for _ in prompts]
        return super().generate(prompts, within)


def test_only_an_answer_without_any_option_is_asked_again_with_another_draw():
    lm = Asked(silent=1)
    made = ask(lm, backend="list", retries=2)[0]
    first, second = (one[0] for one in lm.prompts)
    assert lm.calls == 2 and best(made) == 1 and made.report.retried == 1
    assert first.text == second.text and first.seed != second.seed and second.sample.temperature > 0


def test_a_model_that_stays_silent_is_asked_as_often_as_allowed_and_everything_is_missing():
    lm = Asked(silent=99)
    made = ask(lm, backend="list", retries=2)[0]
    assert (
        lm.calls == 3
        and made.report.missing == 5
        and (made.scores == MISSING).all()
        and made.report.invalid_format == 1
    )


def test_whether_it_is_asked_again_does_not_depend_on_which_option_is_right():
    """The released code asks again when the true title is missing: here any named option is an answer."""
    for named in "ABCDE":
        calls = []
        lm = Scripted(lambda prompt, named=named, calls=calls: calls.append(1) or f"[{named}]")
        made = ask(lm, backend="list", retries=3, shuffle=False)[0]
        assert len(calls) == 1 and made.report.retried == 0 and best(made) == "ABCDE".index(named)


def test_a_partial_answer_is_not_asked_again():
    calls = []
    ask(Scripted(lambda prompt: calls.append(1) or "[C]"), backend="list", retries=5)
    assert len(calls) == 1


def test_a_constrained_ranking_asks_for_exactly_the_handles():
    schemas = []

    class Watching(Overlap):
        def generate(self, prompts, within=None):
            schemas.append(within.schema["properties"]["ranking"])
            return super().generate(prompts, within)

    made = ask(Watching(), question("a"), question("b", TITLES[:2]), backend="constrained")
    assert [(s["items"]["enum"], s["minItems"], s["maxItems"]) for s in schemas] == [
        (list("ABCDE"), 5, 5),
        (["A", "B"], 2, 2),
    ]
    assert json.loads(made[0].raw[0])["ranking"] and best(made[0]) == 1


def test_choice_undoes_a_liking_for_places_with_enough_rounds():
    truth = {title: float(n == 3) for n, title in enumerate(TITLES)}
    lm = PositionBiased(strength=0.6, truth=truth)
    questions = [question(f"user {n}") for n in range(30)]
    right = [
        np.mean([best(one) == 3 for one in ask(lm, *questions, backend="choice", rounds=rounds)]) for rounds in (1, 9)
    ]
    assert right[0] < 0.8 < 0.95 < right[1]


def test_choice_takes_at_most_26_options():
    with pytest.raises(OptionError, match="at most 26 options, not 27\n  -> narrow the candidates with Window"):
        ask(Overlap(), question(options=tuple(f"t{n}" for n in range(27))), backend="choice")
    assert ask(Overlap(), question(options=tuple(f"t{n}" for n in range(26))), backend="choice")[0].scores.shape == (
        26,
    )
    assert ask(Overlap(), question(options=tuple(f"t{n}" for n in range(40))), backend="list")[0].report.matched == 40


def test_handles_are_letters_while_they_last_then_numbers():
    assert handles_for(3) == ("A", "B", "C") and handles_for(26)[-1] == "Z" and handles_for(27)[::26] == ("1", "27")
    assert handles_for(0) == ()


def test_equal_values_share_their_points():
    class Even(Overlap):
        def label(self, prompts, labels):
            return np.zeros((len(prompts), len(labels)), np.float32)

    assert ask(Even(), backend="choice")[0].scores.tolist() == [3.0] * 5


@given(st.integers(0, 9), st.none() | st.integers(1, 9), st.integers(0, 2))
def test_pairs_to_compare_are_distinct_and_everybody_meets_enough_others(m, opponents, round_):
    made = matches(m, opponents, question(), round_)
    met = {i: {j for pair in made if i in pair for j in pair} - {i} for i in range(m)}
    assert len({frozenset(pair) for pair in made}) == len(made) and all(i != j for i, j in made)
    wanted = m - 1 if opponents is None else min(opponents, m - 1)
    assert all(len(others) >= wanted for others in met.values())
    assert opponents is None or len(made) <= m * (m - 1) // 2


def test_pairwise_cancels_a_liking_for_the_first_place():
    lm = PositionBiased(strength=1.0)
    assert ask(lm, backend="pairwise", opponents=None)[0].scores.tolist() == pytest.approx([0.0] * 5)


def test_pmi_scores_each_title_without_history_once_for_the_whole_batch():
    asked = []

    class Counting(Overlap):
        def score(self, prompts, choices):
            asked.append([(prompt.text, list(texts)) for prompt, texts in zip(prompts, choices, strict=True)])
            return super().score(prompts, choices)

    ask(Counting(), question("a"), question("b", past="0. Jazz nights"), backend="pmi")
    assert len(asked) == 2 and asked[1] == [("Next:", [f" {title}" for title in TITLES])]


def test_pmi_takes_away_what_a_title_has_by_itself():
    class Prior(Overlap):
        def score(self, prompts, choices):
            rows = super().score(prompts, choices)
            for row, texts in zip(rows, choices, strict=True):
                row.logprobs[:] += [50.0 * ("Castle" in text) for text in texts]
            return rows

    assert best(ask(Prior(), backend="likelihood")[0]) == 4 and best(ask(Prior(), backend="pmi")[0]) == 1


@pytest.mark.parametrize("backend", NEEDS)
def test_a_model_that_lacks_the_capability_is_refused_with_what_it_can(backend):
    class Lacking(Overlap):
        @property
        def can(self):
            return frozenset(NEEDS.values()) - {NEEDS[backend]}

    able = [name for name, need in NEEDS.items() if need != NEEDS[backend]]
    with pytest.raises(CapabilityError, match=re.escape(f"with this model use {', '.join(able)}")):
        ask(Lacking(), backend=backend)
    served = Lacking()
    served.name = "openai:http://host/v1#m"
    with pytest.raises(CapabilityError, match="hexarec models test openai:http://host/v1#m finds out"):
        ask(served, backend=backend)


@pytest.mark.parametrize("options", [{"backend": "no"}, {"rounds": 0}, {"retries": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        Ask(**options)


def test_reports_add_up():
    made = total(
        [ParseReport(3, 2, {"handle": 2}, missing=1), ParseReport(2, 1, {"handle": 1, "exact": 0}, out_of_set=4)]
    )
    assert made == ParseReport(5, 3, {"handle": 3, "exact": 0}, out_of_set=4, missing=1) and total([]) == ParseReport(0)
