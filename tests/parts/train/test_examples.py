import numpy as np
import pytest

from hexarec.core import DataError, ModelError
from hexarec.lm.base import SLOT, Prompt, Turn
from hexarec.lm.engine import label_forms, label_tokens
from hexarec.lm.hf.tokens import Tokens
from hexarec.parts.train.examples import Example, Form, answer_ids, encode


@pytest.fixture
def tokens(base):
    return Tokens(base.tokenizer)


def test_the_prompt_is_the_one_that_inference_asks(tokens, examples):
    data = encode(examples, tokens)
    for line, example in zip(data.lines, examples, strict=True):
        asked = tokens.prompt(example.prompt)
        assert line.ids[: len(asked)].tolist() == asked
        assert line.ids[len(asked) :].tolist() == [tokens.one(example.answer), tokens.end]


def test_no_prompt_token_has_a_loss_and_every_answer_token_has(tokens, examples):
    for line, example in zip(encode(examples, tokens).lines, examples, strict=True):
        assert not line.loss[:-2].any() and line.loss[-2:].all()
        assert len(line.ids) - 2 == len(tokens.prompt(example.prompt))


def test_loss_on_all_leaves_out_the_first_token_and_slots(tokens):
    prompt = Prompt.plain(f"liked {SLOT} and {SLOT}?", seed=0)
    line = encode([Example(prompt, "Yes")], tokens, Form(loss_on="all")).lines[0]
    assert not line.loss[0] and not line.loss[line.slots].any()
    assert line.loss.sum() == len(line.ids) - 1 - 2


def test_a_one_token_answer_takes_the_form_of_the_label(tokens):
    after_space, after_colon = Prompt.user("Heat?"), Prompt.plain("Heat? Answer:")
    for prompt, form in ((after_space, "Yes"), (after_colon, " Yes")):
        assert answer_ids(prompt, "Yes", tokens) == label_tokens(["Yes"], prompt.ending, tokens.text, "x")
        assert answer_ids(prompt, "Yes", tokens) == [tokens.one(form)]


@pytest.mark.parametrize("text", [" Toy Story (1995)", "Toy Story (1995)", "Heat"])
def test_a_longer_answer_stands_as_it_is(tokens, text):
    assert answer_ids(Prompt.user("Next?"), text, tokens) == list(tokens.text(text))
    assert len(tokens.text(text)) > 1  # of Heat only the form with a space is one token


def test_a_label_of_several_tokens_is_the_one_that_inference_scores(tokens):
    form, prompt = Form(labels=("Toy Story", "No")), Prompt.plain("Next:")
    line = encode([Example(prompt, "Toy Story")], tokens, form).lines[0]
    wanted = label_forms(form.labels, ":", tokens.text, "x")[0][1]
    assert line.ids[line.loss].tolist() == [*wanted, tokens.end] and len(wanted) > 1
    assert not len(line.labels)


def test_given_labels_are_resolved_as_inference_does(tokens):
    form = Form(labels=("Heat", "No"))
    line = encode([Example(Prompt.user("Next?"), "Heat")], tokens, form).lines[0]
    assert (
        line.labels.tolist()
        == label_tokens(form.labels, "\n", tokens.text, "x")
        == [tokens.one(" Heat"), tokens.one("No")]
    )
    assert line.ids[-2] == tokens.one(" Heat")


def test_an_open_assistant_turn_goes_on(tokens):
    prompt = Prompt(turns=(Turn("user", "Heat?"), Turn("assistant", "I say:")))
    line = encode([Example(prompt, "No")], tokens).lines[0]
    assert line.ids[-2:].tolist() == [tokens.one(" No"), tokens.end]


def test_too_long_is_dropped_and_counted_never_cut(tokens, examples):
    lengths = [len(line.ids) for line in encode(examples, tokens).lines]
    window = sorted(lengths)[4]
    data = encode(examples, tokens, Form(window=window))
    assert data.dropped == sum(n > window for n in lengths) > 0
    assert [line.source for line in data.lines] == [n for n, length in enumerate(lengths) if length <= window]
    assert [len(line.ids) for line in data.lines] == [n for n in lengths if n <= window]
    with pytest.raises(DataError, match="tokens, the window"):
        encode(examples, tokens, Form(window=window, over="refuse"))


def test_slots_are_found_where_their_token_stands_elsewhere_too(tokens):
    tokens.slot = tokens.end  # as in a tokenizer without an unknown or a padding token
    vectors = np.ones((2, 64), np.float32)
    prompt = Prompt(turns=(Turn("user", f"liked {SLOT} and {SLOT}?"),), vectors=vectors)
    line = encode([Example(prompt, "Yes")], tokens).lines[0]
    assert len(line.slots) == 2 and (line.ids[line.slots] == tokens.end).all()
    assert (line.ids == tokens.end).sum() == 4


def test_what_is_refused(tokens):
    prompt = Prompt.user("Heat?")
    with pytest.raises(DataError, match="empty answer"):
        encode([Example(prompt, " ")], tokens)
    with pytest.raises(DataError, match="none of the labels"):
        encode([Example(prompt, "Perhaps")], tokens, Form(labels=("Yes", "No")))
    with pytest.raises(ModelError, match="the same token"):
        encode([Example(prompt, "No")], tokens, Form(labels=("No", "No")))
    two = Prompt(turns=(Turn("user", SLOT),), vectors=np.ones((2, 64), np.float32))
    with pytest.raises(DataError, match="1 slots for 2 vectors"):
        encode([Example(two, "Yes")], tokens)


def test_the_key_tells_data_and_form_apart(tokens, examples):
    key = encode(examples, tokens).key
    assert key == encode(list(examples), tokens).key
    assert key != encode(examples[:-1], tokens).key
    assert key != encode(examples, tokens, Form(end=False)).key
    assert key != encode([Example(one.prompt, "No") for one in examples], tokens).key
