import json

import pytest
import torch
from torch import nn

from hexarec.core import ModelError, OptionError, StateError
from hexarec.lm.hf.weights import load
from hexarec.parts.train.examples import encode
from hexarec.parts.train.forward import states
from hexarec.parts.train.kinds import Bottleneck, Frozen, LoRA, PrefixTuning, PromptTuning, PTuning
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.sft import sft
from hexarec.parts.train.tunable import Tunable

# d 64, 2 layers, kv width 32, so the counts can be worked out by hand
KINDS = {
    LoRA(r=4, dropout=0.0): 2 * (4 * (64 + 64) + 4 * (64 + 32)),
    Bottleneck(inner=8): 2 * (2 * 64 * 8 + 8 + 64),
    PromptTuning(tokens=6): 6 * 64,
    PTuning(tokens=6, hidden=32): 6 * 64 + (64 * 32 + 32) + (32 * 32 + 32) + (32 * 64 + 64),
    PrefixTuning(tokens=6): 6 * 2 * 2 * 32,
}


RATES = {"prefix": 0.3}  # keys and values of a random model are large; what is learned must be too


def name_of(kind):
    return kind.name


def seen(tunable, lines):
    with torch.no_grad(), tunable.on():
        return states(tunable, lines)[0]


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_count_and_share(base, kind):
    own = sum(one.numel() for one in base.model.parameters())
    tunable = Tunable(base, kind)
    assert tunable.trainable == KINDS[kind]
    assert tunable.share == pytest.approx(KINDS[kind] / own)
    assert all(one.dtype == torch.float32 for one in tunable.parameters.values())


@pytest.mark.parametrize("kind", [LoRA(), Bottleneck(after=("mlp", "attention"))], ids=name_of)
def test_a_new_adapter_changes_nothing(base, examples, kind):
    lines = encode(examples, Tunable(base, Frozen()).tokens).lines
    before = seen(Tunable(base, Frozen()), lines)
    assert torch.equal(seen(Tunable(base, kind), lines), before)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_seed_decides_the_beginning(base, kind):
    one, same, other = (Tunable(base, kind, seed=seed).state() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_it_learns_and_gives_the_base_back(base, examples, kind):
    plain = Tunable(base, Frozen())
    data = encode(examples, plain.tokens)
    weights = {name: one.clone() for name, one in base.model.named_parameters()}
    before = seen(plain, data.lines)
    tunable = Tunable(base, kind, seed=1)
    curve = sft(tunable, data, plan=Plan(epochs=8, rate=RATES.get(kind.name, 0.02)))
    assert curve.losses[-1] < 0.8 * curve.losses[0]
    assert (seen(tunable, data.lines) - before).abs().max() > 0.01
    assert torch.equal(seen(plain, data.lines), before)  # switched off outside of `on`
    tunable.detach()
    assert torch.equal(seen(plain, data.lines), before)
    assert list(weights) == [name for name, _ in base.model.named_parameters()]
    assert all(torch.equal(weights[name], one) for name, one in base.model.named_parameters())


def test_bfloat16_base_with_float32_adapter(llama_dir, examples):
    base = load(str(llama_dir), dtype="bfloat16", device="cpu")
    for kind in KINDS:
        tunable = Tunable(base, kind, seed=1)
        assert all(one.dtype == torch.float32 for one in tunable.parameters.values())
        data = encode(examples, tunable.tokens)
        curve = sft(tunable, data, plan=Plan(epochs=6, rate=RATES.get(kind.name, 0.02)))
        assert curve.losses[-1] < 0.8 * curve.losses[0]
        assert seen(tunable, data.lines).dtype == torch.bfloat16
        tunable.detach()


@pytest.mark.parametrize(
    "kind", [PromptTuning(4, "Toy Story (1995)"), PrefixTuning(4, "Toy Story (1995)")], ids=name_of
)
def test_begun_from_a_text_it_is_that_text(base, examples, kind):
    tunable = Tunable(base, kind)
    ids = (tunable.tokens.text(kind.text) * 4)[:4]
    line = encode(examples[:1], tunable.tokens).lines[0]
    with torch.no_grad():
        said = base.model(input_ids=torch.tensor([[*ids, *line.ids]])).logits[0, -3:-1]
        ours = base.model.lm_head(seen(tunable, [line]))
    assert torch.allclose(ours, said, atol=1e-4)


@pytest.mark.parametrize("kind", [k for k in KINDS if not isinstance(k, PTuning)], ids=name_of)
def test_tuning_goes_on_from_an_artefact(base, examples, kind, tmp_path):
    tunable = Tunable(base, kind, seed=1)
    data = encode(examples, tunable.tokens)
    sft(tunable, data, plan=Plan(epochs=3, rate=0.02))
    tunable.save(tmp_path / "a")
    after = seen(tunable, data.lines)
    tunable.detach()
    again = Tunable(base, kind, start=tmp_path / "a", seed=9)
    assert torch.allclose(seen(again, data.lines), after, atol=1e-6)


def test_what_cannot_be_gone_on_from(base, tmp_path, llama_dir, qwen2_dir):
    Tunable(base, LoRA(r=4)).save(tmp_path / "lora")
    Tunable(base, PTuning(tokens=3)).save(tmp_path / "p")
    with pytest.raises(OptionError, match="is a lora, not a prompt"):
        Tunable(base, PromptTuning(), start=tmp_path / "lora")
    with pytest.raises(OptionError, match="other sizes"):
        Tunable(base, LoRA(r=2), start=tmp_path / "lora")
    with pytest.raises(OptionError, match="network is not kept"):
        Tunable(base, PTuning(tokens=3), start=tmp_path / "p")
    with pytest.raises(ModelError, match="another base: config, weights differ"):
        Tunable(load(str(qwen2_dir), dtype="float32", device="cpu"), LoRA(r=4), start=tmp_path / "lora")


def test_extra_modules_are_tuned_and_saved(base, examples, tmp_path):
    tunable = Tunable(base, Frozen(), extra={"head": nn.Linear(64, 1)})
    assert tunable.trainable == 65 and list(tunable.parameters) == ["extra.head.weight", "extra.head.bias"]
    with torch.no_grad():
        tunable.extra["head"].weight.fill_(0.5)
    tunable.save(tmp_path / "a")
    again = Tunable(base, Frozen(), extra={"head": nn.Linear(64, 1)}, start=tmp_path / "a")
    assert torch.equal(again.extra["head"].weight, tunable.extra["head"].weight)


def test_the_manifest(base, tmp_path):
    tunable = Tunable(base, LoRA(r=4), seed=5)
    tunable.save(tmp_path / "a", prompts="abc", split="def", metric="auc", value=0.75)
    told = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert told["kind"] == "lora" and told["options"]["r"] == 4 and told["base"] == base.fingerprint
    assert told["seed"] == 5 and told["trainable"] == tunable.trainable and told["share"] == tunable.share
    assert (told["prompts"], told["split"], told["metric"], told["value"]) == ("abc", "def", "auc", 0.75)
    assert {"torch", "transformers", "peft", "hexarec"} <= set(told["versions"])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["adapter.safetensors", "manifest.json"]


def test_saving_refuses(base, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    tunable = Tunable(base, LoRA(r=4))
    with pytest.raises(StateError, match="would destroy"):
        tunable.save(tmp_path / "mine")
    with pytest.raises(ModelError, match="nothing to save"):
        Tunable(base, Frozen()).save(tmp_path / "none")
    next(iter(tunable.parameters.values())).data[0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        tunable.save(tmp_path / "broken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize(
    "kind", [LoRA(r=0), LoRA(targets=("nowhere",)), Bottleneck(inner=0), Bottleneck(after=("head",)), PromptTuning(0)]
)
def test_impossible_options(base, kind):
    with pytest.raises(OptionError):
        Tunable(base, kind)


@pytest.mark.parametrize("targets", [("lm_head",), ("q_proj", "lm_head"), ("embed_tokens",)])
def test_what_would_not_be_served_is_not_tuned(any_base, targets):
    before = [type(one) for one in any_base.model.modules()]
    with pytest.raises(OptionError, match=f"{targets[-1]} is no layer of the decoder"):
        Tunable(any_base, LoRA(targets=targets))
    assert [type(one) for one in any_base.model.modules()] == before
