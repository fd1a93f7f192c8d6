import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core.errors import CapabilityError
from hexarec.core.run import run
from hexarec.lm.base import (
    CAPABILITIES,
    Choice,
    Completion,
    JsonSchema,
    LanguageModel,
    Prompt,
    Sample,
    Trie,
    Turn,
    constraint_key,
    count_call,
    failed,
    lacks,
)
from hexarec.lm.fake import Overlap

texts = st.text(st.characters(codec=None), max_size=40)


@given(texts, texts, st.integers(0, 2**64))
def test_digest_is_of_all_fields_and_takes_any_text(text, system, seed):
    prompt = Prompt.user(text, system, seed=seed, max_tokens=5)
    assert prompt == Prompt.user(text, system, seed=seed, max_tokens=5)
    assert len(prompt.digest()) == 64
    others = (
        Prompt.user(text + "x", system, seed=seed, max_tokens=5),
        Prompt.user(text, system, seed=seed + 1, max_tokens=5),
        Prompt.user(text, system, seed=seed, max_tokens=6),
        Prompt.user(text, system, seed=seed, max_tokens=5, stop=("x",)),
        Prompt.plain(text, seed=seed, max_tokens=5),
        Prompt(turns=prompt.turns, seed=seed, sample=prompt.sample, adapter="a"),
        Prompt(turns=prompt.turns, seed=seed, sample=prompt.sample, vectors=np.zeros((1, 2), np.float32)),
    )
    assert len({prompt, *others}) == 1 + len(others)


def test_digest_knows_where_one_turn_ends():
    one = Prompt(turns=(Turn("user", "ab"), Turn("user", "c")))
    assert one != Prompt(turns=(Turn("user", "a"), Turn("user", "bc")))


def test_vectors_of_another_shape_are_another_prompt():
    a = Prompt(raw="x", vectors=np.zeros((2, 3), np.float32))
    b = Prompt(raw="x", vectors=np.zeros((3, 2), np.float32))
    assert a != b and a == Prompt(raw="x", vectors=np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("fields", [{}, {"turns": (Turn("user", "a"),), "raw": "a"}])
def test_a_prompt_is_turns_or_raw(fields):
    with pytest.raises(ValueError):
        Prompt(**fields)


def test_ending_is_what_stands_before_the_answer():
    assert Prompt.user("x").ending == "\n"
    assert Prompt.plain("Answer:").ending == ":"
    assert Prompt(turns=(Turn("user", "x"), Turn("assistant", "I say"))).ending == "y"
    assert Prompt(turns=(Turn("user", "x"), Turn("assistant", ""))).ending == "\n"


def test_constraints_have_equal_keys_when_equal():
    assert constraint_key(Choice(("a", "b"))) == constraint_key(Choice(("a", "b")))
    keys = [None, Choice(("a", "b")), Choice(("b", "a")), Trie(("a", "b")), JsonSchema({"a": 1}), JsonSchema({"a": 2})]
    assert len({constraint_key(key) for key in keys}) == len(keys)
    assert constraint_key(JsonSchema({"a": 1, "b": 2})) == constraint_key(JsonSchema({"b": 2, "a": 1}))
    with pytest.raises(ValueError):
        Choice(())


def test_completions_know_whether_they_are_good():
    assert Completion("x").good and Completion("x", "length").good
    assert not failed("no").good and not Completion("", "refused").good


def test_lacks_names_those_that_have_it():
    for capability in CAPABILITIES:
        error = lacks("some:model", capability)
        assert isinstance(error, CapabilityError) and capability in str(error) and ":" in error.hint


def test_calls_are_counted_once_in_every_enclosing_run():
    with run() as outer, run() as inner:
        count_call(tokens_in=5, tokens_cached=2, tokens_out=3, seconds=0.5)
    assert inner.ledger.snapshot() == outer.ledger.snapshot()
    assert inner.ledger.snapshot() == {
        "calls": 1, "tokens_in": 5, "tokens_cached": 2, "tokens_out": 3, "forwards": 3, "cost": 0.0, "seconds": 0.5,
    }  # fmt: skip


def test_doubles_keep_the_protocol():
    assert isinstance(Overlap(), LanguageModel)
    assert Sample() == Sample()
