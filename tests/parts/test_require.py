import pytest

from hexarec.core import CapabilityError
from hexarec.lm.fake import Double
from hexarec.parts.require import require


class Labels(Double):
    @property
    def can(self):
        return frozenset({"label"})


def test_what_a_model_lacks_is_named_with_the_option_that_does_without():
    require(Labels(), "label", "gate='rules'")
    with pytest.raises(CapabilityError, match=r"cannot do 'text'[\s\S]*use summary=False, or another model"):
        require(Labels(), "text", "summary=False")
