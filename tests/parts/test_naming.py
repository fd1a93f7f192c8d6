import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import CapabilityError, OptionError
from hexarec.lm.base import Choice, Completion, Prompt, Trie, Turn
from hexarec.lm.cassette import Cassette
from hexarec.lm.fake import Overlap, Scripted
from hexarec.lm.garbage import KINDS, Garbage
from hexarec.lm.guard import Guarded
from hexarec.parts.naming import CHARACTERS, ENUM, PROMPTS, name_items
from hexarec.parts.slate import Surfaces

TITLES = ["Heat (1995)", "Alien (1979)", "Aliens (1986)", "红楼梦", "Fargo (1996)", "Heat (1995)", "Jaws"]
MANY = [f"Film number {n}" for n in range(60)]
ASKED = Prompt.user("I liked:\n1. Alien and aliens\nWhat next?")


class Limited(Scripted):
    """A scripted double with fewer capabilities, which remembers what it was asked."""

    def __init__(self, function, *can):
        super().__init__(function)
        self._can, self.asked = frozenset(can), []

    @property
    def can(self):
        return self._can

    def generate(self, prompts, within=None):
        self.asked += [(prompt, within) for prompt in prompts]
        return super().generate(prompts, within)


def says(*answers, can=("text",)):
    """A model that gives these answers in turn, the last one for ever."""
    left = list(answers)
    return Limited(lambda prompt: left.pop(0) if len(left) > 1 else left[0], *can)


def named(lm, options=TITLES, k=1, **how):
    return name_items(lm, [ASKED], [options], k=k, **how)[0]


# ---------------------------------------------------------------- constrained
@pytest.mark.parametrize("wrap", [lambda lm: lm, Guarded, Cassette])
def test_a_trie_answers_with_different_titles(wrap):
    made = named(wrap(Overlap()), k=3, banned=[[1]])
    assert made.items[0] == 2, "what shares words with the history comes first"
    assert len(set(made.items)) == 3 and 1 not in made.items and made.by_status == {"constrained": 3}
    assert made.report.raw_invalid_rate == made.report.repair_rate == 0.0


def test_an_enum_is_cut_to_its_limits_and_says_so():
    first = Limited(lambda prompt: "", "text", "choice")
    long = [f"{n} " + "x" * 98 for n in range(1200)]  # some 102 characters each
    name_items(first, [ASKED], [long])
    shown = first.asked[0][1].options
    assert isinstance(first.asked[0][1], Choice)
    assert len(shown) == 250 and list(shown) == long[:250], "more than 250 values have no room for 15,000 characters"
    short = [f"{n}" for n in range(1200)]
    lm = Limited(lambda prompt: "7", "text", "choice")
    made = named(lm, short)
    assert len(lm.asked[0][1].options) == ENUM and made.report.cut == 200
    assert made.items == [7] and made.names[0].status == "choice"
    middle = ["x" * 37 + f"{n:03}" for n in range(400)]  # 40 characters: 375 of them are 15,000
    lm = Limited(lambda prompt: "", "text", "choice")
    assert named(lm, middle).report.cut == 400 - CHARACTERS // 40


def test_a_second_place_is_asked_without_the_first():
    lm = Limited(lambda prompt: "Alien (1979)" if len(lm.asked) == 1 else "Jaws", "text", "choice")
    made = named(lm, k=2, banned=[[3]])
    assert made.items == [1, 6] and "红楼梦" not in lm.asked[0][1].options
    assert "Alien (1979)" not in lm.asked[1][1].options


def test_an_engine_that_ignores_its_constraint_is_read_and_counted():
    made = named(says("I think: aliens", can=("text", "choice")))
    assert made.items == [2] and made.names[0].status == "normalised"
    made = named(says("Nonsense", can=("text", "trie")), k=2)
    assert made.by_status == {"backfilled": 2} and made.report.raw_invalid_rate == 1.0 and "none of" in made.fault


# ---------------------------------------------------------------- numbers
def test_a_short_list_is_asked_for_numbers():
    lm = says("3, 1")
    made = named(lm, k=2, banned=[[0]])
    assert made.items == [3, 1] and made.by_status == {"number": 2}, "numbers count what is shown"
    text = lm.asked[0][0].text
    assert "1. Alien (1979)" in text and "Heat (1995)\n" not in text and len(lm.asked) == 1
    assert made.report == type(made.report)(requested=2)


def test_a_wrong_answer_is_asked_once_more_with_what_was_wrong():
    lm = says("2, 2, 99", "4, 1")
    made = named(lm, k=3)
    assert len(lm.asked) == 2
    again = lm.asked[1][0].text
    assert "99 is not in the list" in again and "2 stands there twice" in again and "3 numbers are wanted" in again
    assert made.items == [1, 3, 0] and made.by_status == {"number": 3}
    assert (made.report.invalid, made.report.repaired, made.report.retried) == (2, 2, 1)
    assert (made.report.duplicates, made.report.outside) == (1, 1)
    lm = says("七", "二十")
    assert named(lm, lang="zh").by_status == {"backfilled": 1} and "没有序号" in lm.asked[1][0].text


@pytest.mark.parametrize("text", ["99999999999999999912", "1e9", "-3", "a2", "<think>2</think>", "0"])
def test_what_is_no_number_of_the_list_is_not_taken_for_one(text):
    made = named(says(text), backfill=False)
    assert made.items == [] and made.names[0].status == "rejected" and made.names[0].raw


def test_titles_in_place_of_numbers_are_read():
    made = named(says("Aliens (1986)"))
    assert made.items == [2] and made.names[0].status == "exact"


# ---------------------------------------------------------------- free words
def test_free_words_are_grounded():
    lm = says("1. Film number 7\n2. film NUMBER 8!\n3. Fim number 9\n4. Never Made\n5. Film number 7\n6. Film number 3")
    made = named(lm, MANY, k=5, banned=[[3]])
    assert "Film number 1" not in lm.asked[0][0].text, "a long list is not shown"
    assert made.items == [7, 8, 9, 0, 1]
    assert [name.status for name in made.names] == ["exact", "normalised", "fuzzy", "backfilled", "backfilled"]
    assert made.names[3].raw == "4. Never Made", "what was repaired is kept"
    report = made.report
    assert (report.invalid, report.outside, report.duplicates, report.banned) == (2, 1, 1, 1)
    assert report.raw_invalid_rate == 0.4 and report.repair_rate == 0.4
    bare = named(says("Never Made"), MANY, k=2, backfill=False)
    assert bare.items == [] and bare.report.repaired == 0 and bare.report.raw_invalid_rate == 1.0
    assert [(name.item, name.raw) for name in bare.names] == [(-1, "Never Made"), (-1, "")]


def test_no_answer_is_a_fault():
    made = named(says(Completion("", "error", error="no server")), MANY)
    assert made.fault == "no server" and made.by_status == {"backfilled": 1}


# ---------------------------------------------------------------- whatever comes
CANS = [("text",), ("text", "choice"), ("text", "trie")]
LINES = st.one_of(st.sampled_from([*TITLES, *MANY[:10]]), st.integers(-1, 11).map(str), st.text(max_size=20))
ANSWERS = st.lists(LINES, max_size=9).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(ANSWERS, st.integers(1, 9), st.sets(st.integers(0, 9)), st.sampled_from(CANS), st.booleans())
def test_any_answer_gives_allowed_items_once(text, k, banned, can, few):
    options = TITLES if few else MANY
    made = named(says(text, can=can), options, k=k, banned=[banned])
    allowed = set(range(len(options))) - banned
    assert len(made.items) == len(set(made.items)) == min(k, len(allowed)) == len(made.names)
    assert set(made.items) <= allowed
    assert 0 <= made.report.raw_invalid_rate <= 1 and made.report.invalid >= made.report.repaired >= 0
    bare = named(says(text, can=can), options, k=k, banned=[banned], backfill=False)
    assert len(bare.names) == len(made.names) and set(bare.items) <= allowed
    assert all((name.item < 0) == (name.status == "rejected") for name in bare.names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [TITLES, MANY])
def test_garbage_ends_in_allowed_items(kind, options):
    made = named(Garbage(kind), options, k=3, banned=[[0, 1]])
    assert len(set(made.items)) == 3 and not {0, 1} & set(made.items)
    assert made.report.raw_invalid_rate > 0, "the raw rate is that before any repair"


@given(st.lists(st.text(max_size=12), max_size=12))
def test_surfaces_are_one_line_and_all_different(titles):
    texts = Surfaces.of(titles).texts
    assert len(texts) == len(titles) == len({text.casefold() for text in texts})
    assert all(text and text.splitlines() == [text] for text in texts)


def test_equal_titles_stay_apart():
    assert Surfaces.of(TITLES).texts[5] == "Heat (1995) #2"
    assert named(says("Heat (1995) #2", can=("text", "choice"))).items == [5]


# ---------------------------------------------------------------- the call
def test_batches_equal_their_singletons_and_nothing_is_nothing():
    prompts = [Prompt.user(f"I liked:\n1. {title}") for title in TITLES]
    together = name_items(Overlap(), prompts, [TITLES] * 7, k=2)
    assert together == [name_items(Overlap(), [prompt], [TITLES], k=2)[0] for prompt in prompts]
    assert name_items(Overlap(), [], []) == []
    none = named(Overlap(), k=2, banned=[range(7)])
    assert none.names == () and none.report.raw_invalid_rate == 0.0
    with pytest.raises(OptionError, match="do not fit"):
        name_items(Overlap(), prompts, [TITLES])
    with pytest.raises(OptionError, match="k = 0"):
        name_items(Overlap(), prompts, [TITLES] * 7, k=0)
    with pytest.raises(CapabilityError):
        name_items(says("x", can=("label",)), [ASKED], [TITLES])


def test_the_question_is_added_to_the_last_user_turn():
    prompt = Prompt(turns=(Turn("system", "s"), Turn("user", "u"), Turn("assistant", "Sure:")))
    lm = says("1")
    name_items(lm, [prompt, Prompt.plain("raw: "), Prompt(turns=(Turn("system", "s"),))], [TITLES] * 3, lang="zh")
    turned, raw, bare = (asked for asked, _ in lm.asked)
    assert turned.turns[1].text.startswith("u\n\n只能") and turned.turns[2].text == "Sure:"
    assert raw.raw.startswith("raw:\n只能") and bare.turns[-1].role == "user"
    constrained = Limited(lambda prompt: "Jaws", "text", "trie")
    name_items(constrained, [Prompt.plain("raw: ")], [TITLES])
    assert constrained.asked[0][0].raw == "raw: " and isinstance(constrained.asked[0][1], Trie)


def test_the_wording_has_both_languages():
    for name, text in PROMPTS.en.items():
        assert not re.search(r"[\u4e00-\u9fff]", text) and re.search(r"[\u4e00-\u9fff]", PROMPTS.zh[name])


def test_a_useless_answer_stays_out_of_a_cache():
    lm = Cassette(says("Never Made"))
    for _ in range(2):
        named(lm, MANY)
    assert lm.misses == 2
    lm = Cassette(says("Film number 7"))
    for _ in range(2):
        named(lm, MANY)
    assert (lm.misses, lm.hits) == (1, 1)


# ---------------------------------------------------------------- torch
@pytest.fixture(scope="module")
def torch_lm(tmp_path_factory):
    pytest.importorskip("transformers", reason="the torch engine is an extra")
    from tests.lm.hf.tinymodels import llama

    from hexarec.lm.hf.engine import HF

    return HF(str(llama(tmp_path_factory.mktemp("models") / "llama")), dtype="float32", window=256)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_torch_names_the_most_probable_titles(torch_lm, k):
    made = named(torch_lm, k=k, banned=[[2]])
    asked = Prompt.user(f"{ASKED.text}\n\n{PROMPTS.en['one']}")
    scores = torch_lm.score([asked], [list(Surfaces.of(TITLES).texts)], closed=True)[0].logprobs
    best = [int(place) for place in np.argsort(-scores, kind="stable") if place != 2][:k]
    assert made.items == best and made.by_status == {"constrained": min(k, 6)}
    assert [name.logprob for name in made.names] == pytest.approx(scores[best].tolist(), abs=1e-3)


@pytest.mark.parametrize("wrap", [Guarded, Cassette])
def test_a_wrapped_torch_searches_as_the_engine_does(torch_lm, wrap):
    made, wanted = named(wrap(torch_lm), k=3, banned=[[2]]), named(torch_lm, k=3, banned=[[2]])
    assert made.items == wanted.items
    assert [name.logprob for name in made.names] == pytest.approx([name.logprob for name in wanted.names], abs=1e-3)


def test_a_prompt_beyond_the_window_fails_alone(torch_lm):
    long = Prompt.user("word " * 400)
    made = name_items(torch_lm, [long, ASKED], [TITLES, TITLES], k=2)
    assert "has room for" in made[0].fault and made[0].by_status == {"backfilled": 2}
    assert made[1] == named(torch_lm, k=2)


def test_a_title_behind_a_raw_prompt_that_ends_in_a_mark_has_a_space(torch_lm):
    for text, before in (("The next film:", " "), ("The next film:\n", "")):
        prompt = Prompt.plain(text)
        made = name_items(torch_lm, [prompt], [TITLES], k=1)[0]
        scores = torch_lm.score([prompt], [[before + title for title in Surfaces.of(TITLES).texts]], closed=True)[
            0
        ].logprobs
        assert made.items == [int(scores.argmax())] and abs(made.names[0].logprob - scores.max()) < 1e-3


def test_of_an_answer_that_keeps_to_no_constraint_only_the_first_piece_is_read(monkeypatch):
    looked, grounder = [], type(Surfaces.of(TITLES).titles)
    find = grounder.find
    monkeypatch.setattr(grounder, "find", lambda self, *rest: looked.append(rest) or find(self, *rest))
    made = named(says("\n".join(["Nothing"] * 5_000), can=("text", "choice")), k=2)
    assert len(looked) == 1 and made.report.invalid == 2
