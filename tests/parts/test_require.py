import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from hexarec.classic import CLASSIC
from hexarec.core import CapabilityError, OptionError
from hexarec.data.worlds import world
from hexarec.lm.fake import Double
from hexarec.methods import METHODS
from hexarec.parts.require import FIELDS, fields_there, require, require_all


class Labels(Double):
    @property
    def can(self):
        return frozenset({"label"})


def test_what_a_model_lacks_is_named_with_the_option_that_does_without():
    require(Labels(), "label", "gate='rules'")
    with pytest.raises(CapabilityError, match=r"cannot do 'text'[\s\S]*use summary=False, or another model"):
        require(Labels(), "text", "summary=False")


def test_all_that_is_lacking_is_named_at_once():
    require_all(Labels(), ["label"], "x", "none")
    with pytest.raises(CapabilityError, match=r"x needs text and weights, which \S+ lacks[\s\S]*take an hf: model"):
        require_all(Labels(), ["label", "text", "weights"], "x", "take an hf: model")


@dataclass
class Reads:
    fields: Sequence[str] = ("brand",)
    profile: Sequence[str] = ()


def test_fields_of_which_none_is_there_are_named_beside_those_that_are():
    data = world("cold").data
    for fine in (Reads(), Reads(["nope", "title"]), Reads([])):
        fields_there(fine, data)
    has = ", ".join(sorted(("title", "text", *data.catalog.attributes)))
    with pytest.raises(OptionError, match=f"Reads: fields names 'nope', which the catalog lacks\n  -> it has {has}"):
        fields_there(Reads(["nope"]), data)
    with pytest.raises(OptionError, match="profile names 'shoes', 'hat', which the user table lacks\n  -> it has"):
        fields_there(Reads(profile=("shoes", "hat")), data)


NAMING = [
    (card, option.name)
    for card in (*METHODS, *CLASSIC)
    for option in dataclasses.fields(card.load())
    if option.name in FIELDS
]


@pytest.mark.parametrize(("card", "option"), NAMING, ids=[f"{card.name}.{option}" for card, option in NAMING])
def test_every_method_refuses_fields_that_nothing_has_at_fit(card, option):
    if card.needs & {"torch", "weights", "hidden"}:
        pytest.importorskip("torch")
    stage = dataclasses.replace(card.make_tiny(), **{option: ("nope",)})
    with pytest.raises(OptionError, match=f"({option}|words).*nope") as caught:
        stage.fit(world("cold").data)
    assert "has " in caught.value.hint


def test_a_first_stage_that_reads_fields_nothing_has_is_refused_as_well():
    encoder = next(card for card in METHODS if card.name == "frozen_encoder").make_tiny()
    with pytest.raises(OptionError, match="fields names 'nope'"):
        dataclasses.replace(encoder, fields=("nope",)).enrich(world("cold").data)
