"""A tokenizer that marks the beginning of a text, as SentencePiece does: pieces are cut as the whole text is."""

import pytest

pytest.importorskip("transformers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from hexarec.lm.base import Prompt  # noqa: E402
from hexarec.lm.hf.tokens import Tokens  # noqa: E402

from .tinymodels import CORPUS  # noqa: E402


@pytest.fixture(scope="module")
def marked():
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=special, show_progress=False)
    made.train_from_iterator([CORPUS] * 4 + ["Yes No Heat Fargo The film "] * 50, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize(
    ("before", "after"), [("The film:", " Heat"), ("The film:\n", "Heat"), ('The film: "', "Heat")]
)
def test_a_continuation_has_the_tokens_of_the_whole_text(marked, before, after):
    tokens = Tokens(marked)
    assert tokens.prompt(Prompt.plain(before)) + list(tokens.text(after)) == marked(before + after).input_ids
    assert list(tokens.many([after])[0]) == list(tokens.text(after))


def test_a_chat_template_is_cut_as_the_tokenizer_cuts_it(marked):
    marked.chat_template = (
        "<s>{% for m in messages %}[{{m.role}}] {{m.content}}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    prompt = Prompt.user("The film Heat", "You rank")
    turns = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
    text = marked.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert Tokens(marked).prompt(prompt) == marked(text, add_special_tokens=False).input_ids


def test_long_texts_are_not_kept():
    from hexarec.lm.hf import toy

    tokens = Tokens(toy._tokenizer())
    before = tokens._short.cache_info().currsize
    tokens.text("short")
    tokens.text("long " * 100)
    assert tokens._short.cache_info().currsize == before + 1
