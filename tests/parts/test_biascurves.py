import re
from dataclasses import dataclass

import numpy as np
import pytest

from hexarec.core import Lists, OptionError
from hexarec.data.worlds import world
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap, PositionBiased
from hexarec.methods.llmrank import LLMRank
from hexarec.parts.ask import Ask, Question
from hexarec.parts.biascurves import (
    history_curve,
    order_agreement,
    popularity_curve,
    position_sweep,
    shuffle_agreement,
)
from hexarec.parts.prompts import Prompts
from hexarec.parts.worded import Worded

WORLD = world("cold")
DATA = WORLD.data
QUERIES = WORLD.queries.take(slice(0, 10))


def candidates(queries, m=6):
    """The same unseen items for everybody."""
    return Lists.of(queries.catalog.key, [list(range(48, 48 + m))] * len(queries))


def test_a_model_that_only_looks_at_places_puts_the_right_item_where_it_is_shown():
    queries = QUERIES
    truth = Lists.of(DATA.catalog.key, [[50]] * len(queries))
    curve = position_sweep(LLMRank(PositionBiased(strength=1.0), backend="list").fit(DATA), queries, candidates(queries),
                           truth, range(6), k=2)  # fmt: skip
    assert curve == {0: 1.0, 1: 1.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0}


def test_the_sweep_moves_only_the_right_item_and_leaves_lists_without_it_out():
    shown = []

    class Watching(Overlap):
        def generate(self, prompts, within=None):
            shown.extend(re.findall(r"^\[\w\] (.*)$", p.text, re.MULTILINE) for p in prompts)
            return super().generate(prompts, within)

    queries = QUERIES.take(slice(0, 2))
    given = Lists.of(DATA.catalog.key, [[50, 48, 49, 51], [48, 49, 51, 52]])
    truth = Lists.of(DATA.catalog.key, [[50], [50]])
    position_sweep(LLMRank(Watching(), backend="list", rounds=3).fit(DATA), queries, given, truth, [0, 2, 3])
    rows = [[int(title.split()[-1]) for title in one] for one in shown]
    assert rows == [[50, 48, 49, 51], [48, 49, 50, 51], [48, 49, 51, 50]]


def test_the_popularity_curve_is_the_mean_share_at_each_rank():
    ranked = Lists.of("k", [[0, 1, 2], [2, 1], []])
    assert popularity_curve(ranked, np.array([10, 5, 0]), depth=4) == [0.5, 0.5, 0.0, 0.0]
    assert popularity_curve(Lists.empty("k", 2), np.zeros(3, np.int64), depth=2) == [0.0, 0.0]


def test_the_history_curve_is_the_popularity_of_the_first_item_for_each_length():
    @dataclass
    class Turned:
        """Puts the candidate in front that stands at the place its history says."""

        history: int = 0

        def rank(self, queries, lists):
            first = [[float(place == self.history) for place in range(n)] for n in lists.lengths.tolist()]
            return lists.scored(np.concatenate(first), "turned")

    counts = np.zeros(60, np.int64)
    counts[[48, 49]] = 8, 2
    assert history_curve(Turned(), QUERIES, candidates(QUERIES), counts, [1, 0, 3]) == {1: 0.25, 0: 1.0, 3: 0.0}


def test_orders_of_a_model_that_looks_at_places_alone_do_not_agree_and_those_of_a_fair_one_do():
    queries = QUERIES.take(slice(0, 6))
    given = candidates(queries, 8)
    placed = LLMRank(PositionBiased(strength=1.0), backend="list").fit(DATA)
    made = shuffle_agreement(placed, queries, given)
    assert made.value == pytest.approx(0.0, abs=0.2) and len(made.values) == 6
    assert made.values.tolist() == shuffle_agreement(placed, queries, given).values.tolist()
    assert made.values.tolist() != shuffle_agreement(placed, queries, given, seed=1).values.tolist()

    class Fair(Overlap):
        def worth(self, page):
            return [float(option.split()[-1]) for option in page.options]

    assert shuffle_agreement(LLMRank(Fair(), backend="list").fit(DATA), queries, given, 3).value == 1.0
    with pytest.raises(OptionError):
        shuffle_agreement(placed, queries, given, 1)


@pytest.mark.parametrize("backend", ["choice", "list"])
def test_a_round_of_no_use_has_no_order(backend):
    pieces = {"list": "{options}{n}", "choice": "{options}", "lead": "x"}
    wording = Worded(Prompts("p", 1, en=pieces, zh=pieces), "en", {}, "")
    asked = [Question(wording, ("Story 1", "Tale 2", "Song 3"), ("a",))]

    class Mute(Overlap):
        def label(self, prompts, labels):
            return np.full((len(prompts), len(labels)), np.nan, np.float32)

        def answer(self, prompt, within):
            return Completion("nothing")

    assert np.isnan(order_agreement(Ask(backend, rounds=4, retries=0), Mute(), asked).value)
    alike = order_agreement(Ask("choice", rounds=4), Overlap(), asked)
    assert np.isnan(alike.value), "all valued alike is no order"
