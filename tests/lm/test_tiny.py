import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core.errors import CapabilityError, DeadlineError, ModelError, OptionError
from hexarec.core.run import run
from hexarec.lm.base import Choice, LanguageModel, Prompt, Turn
from hexarec.lm.tiny import VOCABULARY, Tiny, encode

LM = Tiny("test")
PROMPTS = [Prompt.plain("I liked Alien. Next:"), Prompt.user("电影?", "be brief"), Prompt.plain("")]


def test_a_name_is_a_model():
    assert isinstance(LM, LanguageModel) and LM.spec == "tiny:test" and LM.can == {"text", "label", "score", "hidden"}
    same, other = Tiny("test"), Tiny("other")
    assert np.array_equal(same.label(PROMPTS, ["A", "B"]), LM.label(PROMPTS, ["A", "B"]))
    assert not np.array_equal(other.label(PROMPTS, ["A", "B"]), LM.label(PROMPTS, ["A", "B"]))


def test_the_next_token_has_a_distribution():
    odds = LM._odds(encode("any text"))
    assert odds.shape == (len(encode("any text")), VOCABULARY) and np.allclose(np.exp(odds).sum(axis=1), 1)
    assert np.abs(odds[0] - odds[-1]).max() > 0.1


def test_a_token_depends_on_what_is_before_and_not_on_what_comes():
    one, two = LM._odds(encode("abcdef")), LM._odds(encode("abcxyz"))
    assert np.allclose(one[:3], two[:3], atol=1e-12) and not np.allclose(one[5], two[5])
    assert not np.allclose(LM._odds(encode("ab"))[-1], LM._odds(encode("bab"))[-1])


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=20), st.text(max_size=8), st.text(max_size=8))
def test_scores_chain(start, first, second):
    # bytes that would merge across the seam are another sequence
    if encode(first + second) != encode(first) + encode(second) or encode(start + first) != encode(start) + encode(
        first
    ):
        return
    whole = LM.score([Prompt.plain(start)], [[first + second, first]])[0]
    rest = LM.score([Prompt.plain(start + first)], [[second]])[0]
    assert whole.logprobs[0] == pytest.approx(whole.logprobs[1] + rest.logprobs[0], abs=1e-4)
    assert whole.tokens[0] == whole.tokens[1] + rest.tokens[0] == len(encode(first + second))


def test_one_token_scores_are_labels():
    labels = LM.label(PROMPTS, ["Yes", "No"])
    ends = ["\n" if p.raw == "" or p.raw is None else " " for p in PROMPTS]
    forms = [[(" " if end == " " else "") + word for word in ("Yes", "No")] for end in ends]
    rows = LM.score(PROMPTS, forms)
    assert np.allclose([row.logprobs for row in rows], labels, atol=1e-6)
    assert all(row.tokens.tolist() == [1, 1] for row in rows)
    with pytest.raises(ModelError):
        LM.label(PROMPTS, ["Maybe", "No"])


def test_batches_equal_singles():
    asked = [["a", "longer words", ""], ["x"], []]
    batch = LM.score(PROMPTS, asked)
    for prompt, texts, row in zip(PROMPTS, asked, batch, strict=True):
        assert np.array_equal(LM.score([prompt], [texts])[0].logprobs, row.logprobs)
    assert batch[0].logprobs[2] == 0 and batch[2].logprobs.shape == (0,)
    hidden = LM.hidden(PROMPTS)
    assert hidden.shape == (3, 32) and hidden.dtype == np.float32
    assert np.array_equal(hidden[1], LM.hidden([PROMPTS[1]])[0])


def test_hidden_layers_and_pools():
    last = LM.hidden(PROMPTS, 2, "last")
    assert np.array_equal(last, LM.hidden(PROMPTS, -1, "last")) and not np.allclose(last, LM.hidden(PROMPTS, 1, "last"))
    assert not np.allclose(last[0], LM.hidden(PROMPTS)[0])
    for wrong in ((3, "mean"), (-1, "max")):
        with pytest.raises(OptionError):
            LM.hidden(PROMPTS, *wrong)


def test_greedy_answers_are_the_likeliest_tokens():
    prompt = Prompt.plain("abc", max_tokens=6)
    made = LM.generate([prompt])[0]
    assert made == LM.generate([prompt])[0] and made.tokens_out <= 6 and made.tokens_in == 4
    assert "".join(LM.stream(prompt)).encode()[:1] == made.text.encode()[:1]
    best = int(LM._odds([256, *encode("abc")])[-1].argmax())
    if best < 128:
        assert made.text[0] == chr(best)


def test_samples_follow_the_seed():
    made = [LM.generate([Prompt.plain("abc", seed=s, temperature=1.0, max_tokens=12)])[0].text for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_stop_strings_and_open_turns():
    free = LM.generate([Prompt.plain("abc", temperature=1.0, max_tokens=30)])[0]
    mark = free.text[5]
    cut = LM.generate([Prompt.plain("abc", temperature=1.0, max_tokens=30, stop=(mark,))])[0]
    assert mark not in cut.text and cut.finish == "stop"
    opened = Prompt(turns=(Turn("user", "x"), Turn("assistant", "I say")))
    assert LM.label([opened], ["Yes"]).shape == (1, 1)


def test_limits():
    small = Tiny("test", window=20)
    made = small.generate([Prompt.plain("x" * 50, max_tokens=1), Prompt.plain("x", max_tokens=1)])
    assert made[0].finish == "error" and made[1].good
    with pytest.raises(CapabilityError):
        LM.generate(PROMPTS, Choice(("a",)))
    with run(seconds=-1), pytest.raises(DeadlineError):
        LM.label(PROMPTS, ["A"])
    with run() as work:
        LM.label(PROMPTS, ["A"])
    assert work.ledger.calls == 3 and work.ledger.tokens_out == 3
    assert LM.count(["abc", "Yes", "电"]).tolist() == [3, 1, 3]
