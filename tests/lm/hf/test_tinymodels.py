import torch

from hexarec.lm.base import Prompt
from hexarec.lm.hf.tokens import Tokens
from hexarec.lm.hf.weights import load


def logits(base, ids):
    return base.model(input_ids=torch.tensor([ids])).logits[0]


def test_every_token_changes_what_follows_and_nothing_before(any_dir):
    base = load(str(any_dir), dtype="float32", device="cpu")
    ids = list(range(40, 60))
    other = [*ids[:5], 200, *ids[6:]]
    with torch.no_grad():
        first, second = logits(base, ids), logits(base, other)
    moved = (first - second).abs().amax(1)
    assert moved[:5].max() == 0.0
    assert moved[5:].min() > 0.05


def test_the_chat_format_and_the_labels(any_dir):
    base = load(str(any_dir), dtype="float32", device="cpu")
    tokens = Tokens(base.tokenizer)
    ids = tokens.prompt(Prompt.user("Will the user like <|im_end|> Heat (1995)?"))
    text = base.tokenizer.decode(ids)
    assert text == "<|im_start|>user\nWill the user like <|im_end|> Heat (1995)?<|im_end|>\n<|im_start|>assistant\n"
    assert ids.count(tokens.end) == 1
    assert all(tokens.one(label) is not None for label in ("Yes", " Yes", "No", " No", "A", " A"))
    assert len(tokens.text("Nevertheless")) > 1


def test_the_same_weights_every_time(llama_dir, tmp_path):
    from .tinymodels import llama

    again = load(str(llama(tmp_path / "again")), dtype="float32", device="cpu")
    assert again.fingerprint == load(str(llama_dir), dtype="float32", device="cpu").fingerprint
