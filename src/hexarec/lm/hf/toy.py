"""`hf:tiny` - a llama of two layers with random weights and a small tokenizer, made on first use, to be tuned in tests.

It knows nothing. It has what a real one has: grouped heads, tied embeddings, a chat format, labels of one token each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hexarec.core.atomic import atomic_folder
from hexarec.lm import models

NAME = "tiny"
VERSION = 1  # of what is made: another version is another folder
VOCABULARY, WIDTH = 512, 64
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# one token each, with and without a space before it
LABELS = "Yes No yes no 是 否 A B C D E F G H I J"


def place() -> Path:
    """The model's folder, written where it is missing."""
    folder = models.folder() / "safetensors" / f"{NAME}-{VERSION}"
    if not (folder / "config.json").is_file():
        with atomic_folder(folder) as part:
            _write(part)
    return folder


def _write(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=2, pad_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            start = 1.0 if "norm" in name else 0.0
            weight.copy_(start + (0.1 if weight.ndim == 1 else 0.15) * torch.randn_like(weight))
        model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def _tokenizer() -> Any:
    """A byte-level BPE whose merges are learned from the labels alone: any text is encoded without loss."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([LABELS, *LABELS.split()] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token=CONTROL[0], eos_token=CONTROL[2])
