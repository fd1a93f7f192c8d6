import pytest

from hexarec.core import CapabilityError
from hexarec.lm.fake import Double
from hexarec.parts.require import require, require_all


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
