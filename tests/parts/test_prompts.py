import string
from dataclasses import replace

import pytest

from hexarec.core import OptionError
from hexarec.parts.prompts import Prompts

MADE = Prompts("t", 1, en={"ask": "Rank {n}: {options}"}, zh={"ask": "排序 {options}，共 {n} 个"})


def test_a_piece_is_filled_in_its_language():
    assert MADE.text("en", "ask", n=2, options="A B") == "Rank 2: A B"
    assert MADE.text("zh", "ask", n=2, options="A") == MADE.text("zh-CN", "ask", n=2, options="A") == "排序 A，共 2 个"
    assert MADE.text("fr", "ask", n=2, options="x") == "Rank 2: x"


def test_words_in_a_slot_are_not_wording():
    assert MADE.text("en", "ask", n=1, options="{n} {0} %s {evil}") == "Rank 1: {n} {0} %s {evil}"


def test_a_piece_that_lacks_a_language_or_a_slot_is_refused():
    with pytest.raises(OptionError, match="'more' lacks a language"):
        Prompts("t", 1, en={"ask": "x", "more": "y"}, zh={"ask": "x"})
    with pytest.raises(OptionError, match="other slots in zh"):
        Prompts("t", 1, en={"ask": "{a}"}, zh={"ask": "{b}"})


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"version": 2},
        {"en": {"ask": "Rank {n} {options}"}},
        {"zh": {"ask": "排 {options}，共 {n} 个"}},
    ],
)
def test_the_hash_follows_every_word(change):
    assert replace(MADE, **change).hash != MADE.hash == replace(MADE).hash and len(MADE.hash) == 16


def all_prompts():
    from hexarec.classic import because
    from hexarec.methods import llmrank
    from hexarec.parts import profile

    return [module.PROMPTS for module in (llmrank, because, profile)]


@pytest.mark.parametrize("prompts", all_prompts(), ids=lambda prompts: prompts.id)
def test_shipped_wording_has_both_languages_and_no_stray_slot(prompts):
    assert prompts.en.keys() == prompts.zh.keys()
    for piece in (*prompts.en.values(), *prompts.zh.values()):
        assert piece.strip()
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(piece))
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in piece) for piece in prompts.zh.values())
