from dataclasses import replace

import pytest

from hexarec.classic import CLASSIC
from hexarec.classic.floor import Popular
from hexarec.core import Card, stages_of
from hexarec.core.cards import DATA_NEEDS, MODEL_NEEDS
from hexarec.methods import METHODS

POPULAR = Card("popular", "hexarec.classic.floor:Popular", "none", "What is liked most", ("retrieve", "rank"))


def test_a_card_loads_its_class_and_makes_a_tiny_one():
    assert POPULAR.load() is Popular and isinstance(POPULAR.make_tiny(), Popular)
    assert replace(POPULAR, tiny=lambda: Popular(window_days=3.0)).make_tiny().window_days == 3.0


def test_a_card_of_a_class_that_is_gone_fails_when_it_is_loaded_not_before():
    card = replace(POPULAR, where="hexarec.classic.floor:Gone")
    with pytest.raises(AttributeError, match="Gone"):
        card.load()


@pytest.mark.parametrize("card", [*METHODS, *CLASSIC], ids=lambda card: card.name)
def test_every_row_names_stages_and_needs_that_exist(card):
    assert set(card.stages) <= set(stages_of(card.load())) and card.stages
    assert card.needs <= DATA_NEEDS | MODEL_NEEDS
    assert card.paradigms <= {1, 2, 3, 4, 5, 6} and bool(card.paradigms) == (card in METHODS)
    assert card.fidelity in ("paper", "reduced", "inferred")


@pytest.mark.parametrize("card", METHODS, ids=lambda card: card.name)
def test_every_method_says_source_idea_difference_cost_and_need(card):
    import importlib

    words = importlib.import_module(card.where.partition(":")[0]).__doc__
    assert all(f"\n{part}:" in words for part in ("Source", "Idea", "Differs", "Cost", "Needs"))


def test_names_are_distinct_over_both_tables():
    names = [card.name for card in (*METHODS, *CLASSIC)]
    assert len(set(names)) == len(names)
