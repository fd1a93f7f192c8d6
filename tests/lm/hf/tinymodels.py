"""Small random causal models, saved as Hugging Face directories: 2 layers, width 64, 4 heads over 2 key-value heads.

They know nothing, but their weights are large enough for every token to change every later logit by much more than
rounding, so that an engine that drops, shifts or leaks a token is seen.
"""

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

WIDTH, LAYERS, HEADS, KV_HEADS, VOCABULARY = 64, 2, 4, 2, 512
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = """The user liked these films: Toy Story (1995), The Godfather (1972), Heat (1995), Fargo (1996).
Will the user like the film Star Wars (1977)? Answer Yes or No. Yes No yes no
system user assistant You rank films for a user. Answer with one letter: A B C D E F G H I J
The film is a drama, a comedy, an action film, a thriller about the war and the sea.
用户喜欢这些电影吗？请回答是或否。是 否"""
LABELS = "Yes No yes no 是 否 A B C D E F G H I J"  # one token each, with and without a space before it


def tokenizer():
    """A byte-level BPE of 512 tokens at most: any text is encoded without loss."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=CONTROL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    labels = [LABELS, *LABELS.split()] * 20
    made.train_from_iterator(CORPUS.splitlines() * 2 + labels, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<|endoftext|>", eos_token="<|im_end|>")


def llama(path):
    """A Llama with tied embeddings at `path`; the path."""
    return saved(LlamaForCausalLM, LlamaConfig(**shape(tied=True)), path)


def qwen2(path):
    """A Qwen2, with its biases and a head of its own, at `path`; the path."""
    return saved(Qwen2ForCausalLM, Qwen2Config(**shape(tied=False)), path)


def qwen3(path):
    """A Qwen3, with its norms of queries and keys and a head dimension of its own, at `path`; the path."""
    return saved(Qwen3ForCausalLM, Qwen3Config(**shape(tied=True), head_dim=24), path)


def shape(tied, **more):
    """The sizes of a configuration, and what else it has."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 96,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": None,
        **more,
    }


def saved(cls, config, path):
    """A model of this class with random weights and the tokenizer, at `path`; the path."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        model = cls(config)
        for name, weight in model.named_parameters():
            start = 1.0 if "norm" in name else 0.0
            weight.copy_(start + (0.1 if weight.ndim == 1 else 0.15) * torch.randn_like(weight))
        model.save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path
