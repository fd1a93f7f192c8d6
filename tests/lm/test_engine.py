import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core.errors import CapabilityError, ModelError, OptionError
from hexarec.lm.base import Choice, JsonSchema, Prompt, Trie
from hexarec.lm.engine import Engine, check_schema, fits, label_tokens, rough_count, unit_rows


class Mute(Engine):
    name = "mute:"

    @property
    def can(self):
        return frozenset({"text", "json"})


@pytest.mark.parametrize("call", ["label", "score", "hidden", "weights"])
def test_what_an_engine_lacks_it_refuses_by_name(call):
    arguments = {"label": ([], []), "score": ([], []), "hidden": ([],), "weights": ()}[call]
    with pytest.raises(CapabilityError, match=call):
        getattr(Mute(), call)(*arguments)


def test_admit_checks_constraint_and_cargo():
    Mute().admit([Prompt.user("x")])
    for within in (Choice(("a",)), Trie(("a",))):
        with pytest.raises(CapabilityError):
            Mute().admit([Prompt.user("x")], within)
    with pytest.raises(OptionError, match="nonsense"):
        Mute().admit([Prompt.user("x")], JsonSchema({"type": "nonsense"}))
    with pytest.raises(CapabilityError, match="vectors"):
        Mute().admit([Prompt(raw="x", vectors=np.zeros((1, 1), np.float32))])


def test_labels_take_the_space_that_the_text_before_calls_for():
    known = {"Yes": 1, " Yes": 2, "No": 3, " No": 4, " Odd": 5}
    one = known.get
    assert label_tokens(["Yes", "No"], "\n", one, "m") == [1, 3]
    assert label_tokens(["Yes", "No"], ":", one, "m") == [2, 4]
    assert label_tokens(["Odd"], "\n", one, "m") == [5]
    with pytest.raises(ModelError, match="same token"):
        label_tokens(["Yes", " Yes"], "\n", one, "m")
    with pytest.raises(ModelError, match="not one token"):
        label_tokens(["Perhaps"], "\n", one, "m")


@given(st.text(max_size=60), st.text(max_size=60))
def test_rough_counts_grow_with_the_text(one, two):
    a, b, both = rough_count([one, two, one + " " + two])
    assert both == a + b


def test_rough_counts_count_chinese_by_character():
    assert rough_count(["电影好看", "good film", "", "abc电影"]).tolist() == [4, 2, 0, 3]


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "l": {"type": "array", "items": {"enum": ["A", "B"]}, "maxItems": 2}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"n": 1}, True),
        ({"n": 1, "l": ["A"]}, True),
        ({"n": True}, False),
        ({"n": 1.5}, False),
        ({}, False),
        ([], False),
        ({"n": 1, "l": ["C"]}, False),
        ({"n": 1, "l": ["A", "B", "A"]}, False),
    ],
)
def test_fits(value, good):
    assert fits(value, SCHEMA) is good


def test_bad_schemas_are_refused():
    check_schema(SCHEMA)
    with pytest.raises(OptionError):
        check_schema({"type": "string", "pattern": "(["})
    with pytest.raises(OptionError):
        check_schema({"properties": {"a": {"type": "text"}}})


def test_unit_rows_leave_zeros():
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0]]) and rows.dtype == np.float32
