import numpy as np
import pytest

from hexarec.core import KINDS, OptionError
from hexarec.data.likes import LikeRule, default_rule

VALUES = np.array([5, 3, np.nan, np.nan, np.nan, 5], np.float32)
KIND = np.array([KINDS.index(k) for k in ("rate", "rate", "click", "view", "dislike", "skip")], np.int8)


@pytest.mark.parametrize(
    ("text", "said", "liked"),
    [
        ("value >= 4", "value >= 4", [1, 0, 1, 0, 0, 0]),
        (">=4", "value >= 4", [1, 0, 1, 0, 0, 0]),
        ("< 4.5", "value < 4.5", [0, 1, 1, 0, 0, 0]),
        ("value == 3", "value = 3", [0, 1, 1, 0, 0, 0]),
        ("every event", "every event", [1, 1, 1, 1, 0, 0]),
        ("kind in click, view", "kind in click, view", [0, 0, 1, 1, 0, 0]),
    ],
)
def test_rules(text, said, liked):
    rule = LikeRule.parse(text)
    assert str(rule) == said and rule.liked(VALUES, KIND).tolist() == [bool(one) for one in liked]
    assert LikeRule.parse(str(rule)) == rule


@pytest.mark.parametrize("text", ["", "value", ">= four", "kind in nothing", "__import__('os')"])
def test_rules_that_cannot_be_read(text):
    with pytest.raises(OptionError):
        LikeRule.parse(text)


@pytest.mark.parametrize(
    ("values", "said", "noted"),
    [
        ([1, 2, 3, 4, 5], "value >= 4", False),
        ([0.5, 3.5, 5], "value >= 4", False),
        ([1, 1, 1], "every event", False),
        ([10, 250, 3], "every event", False),
        ([1, 3, 5, 8, 10], "every event", True),
        ([np.nan], "every event", False),
        ([], "every event", False),
    ],
)
def test_the_default(values, said, noted):
    rule, note = default_rule(np.array(values, np.float32))
    assert str(rule) == said and bool(note) == noted
