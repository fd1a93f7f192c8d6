import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core.errors import CapabilityError, ModelError, OptionError
from hexarec.lm.base import Choice, Completion, JsonSchema, Prompt, Trie
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.engine import VERBS, Engine, check_schema, fits, label_forms, label_tokens, rough_count, unit_rows
from hexarec.lm.fake import Counting, Overlap, Scripted
from hexarec.lm.garbage import Garbage
from hexarec.lm.gguf import GGUF
from hexarec.lm.tiny import Tiny


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


def gguf():
    """The back end without its library: what it refuses, it refuses before it asks."""
    made = GGUF.__new__(GGUF)
    made.name = made.spec = "gguf:none"
    return made


BACK_ENDS = [
    lambda: Endpoint("http://127.0.0.1:9/v1#none", can=frozenset({"text", "label"})),
    gguf,
    Tiny,
    Overlap,
    Counting,
    Garbage,
]
CARGO = [{"adapter": "runs/taste"}, {"vectors": np.ones((1, 4), np.float32)}]


@pytest.mark.parametrize("cargo", CARGO)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("make", BACK_ENDS)
def test_no_back_end_ignores_an_adapter_or_vectors(make, verb, cargo):
    engine, loaded = make(), Prompt(raw="x", **cargo)
    more = {"label": (["Yes", "No"],), "score": ([["Yes"], ["No"]],)}.get(verb, ())
    with pytest.raises(CapabilityError):
        made = getattr(engine, verb)(loaded if verb == "stream" else [Prompt.plain("x"), loaded], *more)
        list(made)


SCHEMA = JsonSchema({"type": "array", "items": {"type": "integer"}, "minItems": 2})


@pytest.mark.parametrize(
    "text, within, good",
    [
        ("[1, 2]", SCHEMA, True),
        ("[1, 2", SCHEMA, False),
        ("[1]", SCHEMA, False),
        ("", SCHEMA, False),
        ("[" * 100_000, SCHEMA, False),
        ("Alien", Choice(("Alien", "Aliens")), True),
        ("Alie", Choice(("Alien", "Aliens")), False),
        ("Fa", Trie(("Fargo",)), False),
        ("any words", None, True),
    ],
)
def test_a_cut_answer_is_good_only_where_it_keeps_to_its_constraint(text, within, good):
    for finish in ("length", "stop"):
        made = Scripted(lambda _, finish=finish: Completion(text, finish)).generate([Prompt.plain("x")], within)[0]
        assert (made.text, made.finish) == (text, finish) and made.good == (good or finish == "stop")
        assert bool(made.error) != made.good


WORDS = {"Yes": 1, " Yes": 2, "No": 3, " No": 4, " Odd": 5, ":": 6, "\n": 7, " ": 8, "是": 9, " 是": 10, "：": 11}


def greedy(text):
    """A tokenizer that takes the longest known piece, else the character."""
    ids = []
    while text:
        piece = next((text[:n] for n in range(len(text), 0, -1) if text[:n] in WORDS), text[0])
        ids.append(WORDS.get(piece) or 1000 + ord(piece))
        text = text[len(piece) :]
    return ids


@pytest.mark.parametrize(
    "ending, labels, wanted",
    [
        ("\n", ["Yes", "No"], [1, 3]),
        ("", ["Yes", "No"], [1, 3]),
        (":", ["Yes", "No"], [2, 4]),
        (" ", ["Yes", "No"], [1, 3]),  # " Yes" is a token, but the prompt keeps its space
        ("(", ["Yes"], [1]),
        ("\n", ["Odd"], [5]),
        ("：", ["是"], [9]),  # Chinese goes on without a space
        (":", ["是"], [10]),
    ],
)
def test_labels_take_the_space_that_the_text_before_calls_for(ending, labels, wanted):
    assert label_tokens(labels, ending, greedy, "m") == wanted


def test_a_label_is_what_the_answer_adds_to_the_text_before():
    def sentencepiece(text):
        """A tokenizer that puts a space before any text: " Yes" alone, "Yes" only behind a new line."""
        known = {"▁": 0, "▁Yes": 3869, "Yes": 8241, "▁No": 1939, "No": 3782, "\n": 13, ":": 29901, "▁:": 584}
        rest, ids = "▁" + text.replace(" ", "▁"), []
        while rest:
            piece = next(rest[:n] for n in range(len(rest), 0, -1) if rest[:n] in known)
            ids.append(known[piece])
            rest = rest[len(piece) :]
        return ids

    assert sentencepiece("Yes") == [3869], "alone it would be the other word"
    assert label_tokens(["Yes", "No"], "\n", sentencepiece, "m") == [8241, 3782]
    assert label_tokens(["Yes", "No"], ":", sentencepiece, "m") == [3869, 1939]


def test_labels_that_cannot_be():
    with pytest.raises(ModelError, match="same token"):
        label_tokens(["Yes", " Yes"], "\n", greedy, "m")
    with pytest.raises(ModelError, match="not one token"):
        label_tokens(["Perhaps"], "\n", greedy, "m")
    with pytest.raises(ModelError, match="empty"):
        label_tokens([" "], "\n", greedy, "m")
    assert label_forms(["Yes", "Yo"], ":", greedy, "m") == [(" Yes", [2]), (" Yo", [8, 1089, 1111])]


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
