"""Models that the packed row would compute wrongly do not open; those that it computes rightly do."""

import numpy as np
import pytest
import torch
import transformers as hf

from hexarec.core.errors import ModelError
from hexarec.lm.base import Prompt
from hexarec.lm.hf import engine, probe
from hexarec.lm.hf.engine import HF

from .test_engine import HISTORY, TITLES, plain, reference
from .tinymodels import saved, shape

LINEAR = {
    "head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
STATE = {"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16}
ODD = {
    "stablelm": (hf.StableLmForCausalLM, hf.StableLmConfig(**shape(False))),
    "lfm2": (hf.Lfm2ForCausalLM, hf.Lfm2Config(**shape(False, layer_types=["conv", "full_attention"]))),
    "qwen3_next": (
        hf.Qwen3NextForCausalLM,
        hf.Qwen3NextConfig(**shape(False, shared_expert_intermediate_size=32, **LINEAR, **EXPERTS)),
    ),
    "qwen3_5_text": (hf.Qwen3_5ForCausalLM, hf.Qwen3_5TextConfig(**shape(False, **LINEAR))),
    "falcon_h1": (hf.FalconH1ForCausalLM, hf.FalconH1Config(**shape(False, head_dim=16, **STATE))),
    "falcon": (
        hf.FalconForCausalLM,
        hf.FalconConfig(vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=4),
    ),
}
WINDOWED = {
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, {}),
    "mixtral": (hf.MixtralForCausalLM, hf.MixtralConfig, {"num_local_experts": 4}),
    "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config, {}),
    "starcoder2": (hf.Starcoder2ForCausalLM, hf.Starcoder2Config, {}),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, {"use_sliding_window": True, "max_window_layers": 1}),
    "gemma3": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig, {"head_dim": 16}),
}


@pytest.mark.parametrize("path", ["packed", "masked"])
@pytest.mark.parametrize("kind", ["lfm2", "qwen3_next", "qwen3_5_text", "falcon_h1"])
def test_what_mixes_tokens_by_more_than_attention_does_not_open(kind, path, tmp_path):
    folder = saved(*ODD[kind], tmp_path / kind)
    for dtype in ("float32", "bfloat16", "int8"):
        with pytest.raises(ModelError, match=f"a {kind} model cannot be run in one packed row") as caught:
            HF(str(folder), dtype=dtype, path=path)
        assert "openai:" in caught.value.hint


@pytest.mark.parametrize("kind", ["stablelm", "falcon"])
def test_an_attention_that_is_not_asked_does_not_open(kind, tmp_path):
    folder = saved(*ODD[kind], tmp_path / kind)
    with pytest.raises(ModelError, match=f"a {kind} model cannot be run in one packed row"):
        HF(str(folder), dtype="float32")


@pytest.mark.parametrize("kind", [*WINDOWED, "gpt2", "qwen3_moe"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_it_computes_rightly_opens(kind, dtype, tmp_path):
    if kind == "gpt2":
        made = hf.GPT2LMHeadModel, hf.GPT2Config(vocab_size=512, n_embd=64, n_layer=2, n_head=4, eos_token_id=2)
    elif kind == "qwen3_moe":
        made = hf.Qwen3MoeForCausalLM, hf.Qwen3MoeConfig(**shape(False, head_dim=24, **EXPERTS))
    else:
        cls, config, more = WINDOWED[kind]
        made = cls, config(**shape(False, **more, sliding_window=64))
    lm = HF(str(saved(*made, tmp_path / kind)), dtype=dtype)
    if dtype == "float32":
        prompts = [Prompt.plain(HISTORY[:60]), Prompt.plain("x")]
        model = plain(tmp_path / kind)
        for prompt, row in zip(prompts, lm.score(prompts, [TITLES, TITLES]), strict=True):
            assert np.allclose(row.logprobs, [reference(model, lm, prompt, text) for text in TITLES], atol=1e-3)


@pytest.mark.parametrize("kind", WINDOWED)
def test_a_sliding_window_bounds_the_engine(kind, tmp_path, monkeypatch):
    cls, config, more = WINDOWED[kind]
    folder = str(saved(cls, config(**shape(False, **more, sliding_window=16)), tmp_path / kind))
    lm = HF(folder, dtype="float32")
    assert lm.window == 16
    assert np.isnan(lm.score([Prompt.plain(HISTORY)], [TITLES])[0].logprobs).all()
    # and were it overlooked, the probe would see it
    monkeypatch.setattr(engine, "_windows", lambda config: [])
    with pytest.raises(ModelError, match="differ"):
        HF(folder, dtype="float32")


@pytest.mark.parametrize(
    ("made", "window"),
    [
        ((hf.MistralConfig, {"sliding_window": None}), 2048),
        ((hf.MistralConfig, {"sliding_window": 4096}), 2048),
        ((hf.Qwen2Config, {"use_sliding_window": False, "sliding_window": 16}), 2048),
        ((hf.Gemma3TextConfig, {"sliding_window": 16, "layer_types": ["full_attention"] * 2}), 2048),
        ((hf.LlamaConfig, {"layer_types": ["full_attention"] * 2, "sliding_window": 16}), 2048),
        ((hf.Llama4TextConfig, {"attention_chunk_size": 32, "no_rope_layers": [1, 1]}), 32),
    ],
)
def test_a_window_that_no_layer_uses_bounds_nothing(made, window):
    config, more = made
    assert engine._reach(config(**shape(False, **more))) == window


SCALED = {
    "longrope": {"factor": 32.0, "original_max_position_embeddings": 64, "short_factor": [1.0] * 8},
    "dynamic": {"factor": 4.0},
}


@pytest.mark.parametrize("kind", SCALED)
def test_requests_do_not_change_each_others_rotation(kind, tmp_path):
    more = {"rope_type": kind, **SCALED[kind]} | ({"long_factor": [4.0] * 8} if kind == "longrope" else {})
    trained = 2048 if kind == "longrope" else 64
    config = hf.LlamaConfig(**{**shape(False, rope_scaling=more), "max_position_embeddings": trained})
    lm = HF(str(saved(hf.LlamaForCausalLM, config, tmp_path / kind)), dtype="float32", prefix_mb=0)
    assert lm.window == 64
    short, long = Prompt.plain("The film"), Prompt.plain(HISTORY)
    alone = lm.score([short], [TITLES])[0].logprobs
    both = lm.score([short, long], [TITLES, TITLES])
    assert np.allclose(both[0].logprobs, alone, atol=1e-4)
    assert np.isnan(both[1].logprobs).all(), "where the rotation would change nothing is answered"
    model = plain(tmp_path / kind)
    assert np.allclose(alone, [reference(model, lm, short, text) for text in TITLES], atol=1e-3)


def test_rotations_of_each_kind_of_layer_bound_it():
    scaled = {"rope_type": "longrope", "rope_theta": 1e4, **SCALED["longrope"], "long_factor": [4.0] * 8}
    config = hf.Gemma3TextConfig(**shape(False, head_dim=16))
    config.rope_parameters = {"sliding_attention": {"rope_type": "default"}, "full_attention": scaled}
    assert engine._reach(config) == 64


def test_the_layers_that_are_run_hold_every_kind(tmp_path):
    kinds = ["conv", "conv", "conv", "full_attention", "conv", "full_attention"]
    config = hf.Lfm2Config(**{**shape(False, layer_types=kinds), "num_hidden_layers": 6})
    model = hf.Lfm2ForCausalLM(config).eval()
    seen = []
    for number, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    states = probe.Probe(model, 2048).alone()
    assert max(seen) == 3 and states.shape == (34 + 5 + 24, 64)
    seen.clear()
    plainly = hf.LlamaForCausalLM(hf.LlamaConfig(**{**shape(False), "num_hidden_layers": 6})).eval()
    for number, layer in enumerate(plainly.model.layers):
        layer.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    probe.Probe(plainly, 2048).alone()
    assert max(seen) == 1


@pytest.mark.parametrize("window", [2, 3, 7, 16, 40, 2048])
def test_no_sequence_exceeds_the_window(llama_dir, window):
    model = plain(llama_dir)
    asked = probe.Probe(model, window)
    for prompt, own in zip(asked.prompts, asked.branches, strict=True):
        assert prompt and all(branch and len(prompt) + len(branch) <= window for branch in own)


def test_distance_is_a_share_of_the_spread():
    rows = torch.arange(20.0)[:, None].repeat(1, 3)
    assert probe.distance(rows, rows) == 0.0
    assert probe.distance(100 * rows, 100 * rows + 1) == pytest.approx(probe.distance(rows, rows + 0.01), rel=1e-3)
    assert not probe.distance(rows, torch.full_like(rows, float("nan"))) <= 1e9


def test_int8_is_refused_where_no_weight_can_be_rounded(llama_dir, tmp_path, monkeypatch):
    made = hf.GPT2LMHeadModel, hf.GPT2Config(vocab_size=512, n_embd=64, n_layer=2, n_head=4, eos_token_id=2)
    with pytest.raises(ModelError, match="gpt2 on cpu cannot have int8 weights"):
        HF(str(saved(*made, tmp_path / "gpt2")), dtype="int8")
    monkeypatch.setattr("hexarec.lm.hf.forward.packable", lambda: False)
    with pytest.raises(ModelError, match="llama on cpu cannot have int8 weights"):
        HF(str(llama_dir), dtype="int8")
    assert HF(str(llama_dir), dtype="float32").base.dtype == "float32"
