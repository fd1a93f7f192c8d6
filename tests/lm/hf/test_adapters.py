import json
import shutil

import pytest
import torch

pytest.importorskip("peft", reason="tuning is an extra")

from hexarec.core import ModelError  # noqa: E402
from hexarec.lm.hf.adapters import Adapters  # noqa: E402
from hexarec.lm.hf.linear import packable, prepare  # noqa: E402
from hexarec.lm.hf.weights import load  # noqa: E402
from hexarec.parts.train.examples import encode  # noqa: E402
from hexarec.parts.train.forward import states  # noqa: E402
from hexarec.parts.train.kinds import Bottleneck, Frozen, LoRA, PrefixTuning, PromptTuning, PTuning  # noqa: E402
from hexarec.parts.train.tunable import Tunable  # noqa: E402

KINDS = [
    LoRA(r=4),
    Bottleneck(8, ("mlp", "attention")),
    PromptTuning(5),
    PTuning(5, 32),
    PrefixTuning(5),
    PrefixTuning(5, hidden=16),
]
IDS = torch.tensor([[1, 70, 80, 90, 300, 310, 2]])


def name_of(kind):
    return kind.name


def fresh(path):
    return load(str(path), dtype="float32", device="cpu")


def stirred(base, kind, path, seed=2):
    """An artefact of a tunable whose weights are not those it began with; its logits after what it puts in front."""
    tunable = Tunable(base, kind, seed=1)
    draw = torch.Generator().manual_seed(seed)
    for one in tunable.parameters.values():
        one.data.add_(torch.randn(one.shape, generator=draw), alpha=0.1)
    tunable.save(path)
    with torch.no_grad(), tunable.on():
        made = logits(base.model, tunable.lead(), tunable.past())
    tunable.detach()
    return made


def logits(model, vectors=None, past=None):
    """Of `IDS` behind soft tokens or a prefix, by transformers alone."""
    from transformers import DynamicCache

    inputs = model.get_input_embeddings()(IDS)
    if vectors is not None:
        inputs = torch.cat([vectors[None].to(inputs), inputs], 1)
    cache = None if past is None else DynamicCache([(key[None], value[None]) for key, value in past])
    made = model(inputs_embeds=inputs, past_key_values=cache).logits[0]
    return made[-IDS.shape[1] :]


def through(model, adapters, adapter):
    with torch.no_grad(), adapters.using(adapter):
        return logits(model, adapter.vectors, adapter.past)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_reloaded_adapter_gives_the_same_logits(any_dir, kind, tmp_path):
    base = fresh(any_dir)
    plain = logits(base.model).detach()
    wanted = stirred(base, kind, tmp_path / "a")
    served = fresh(any_dir)
    adapters = Adapters(served.model, served.fingerprint)
    adapter = adapters.load(tmp_path / "a")
    found = through(served.model, adapters, adapter)
    assert (found - wanted).abs().max() < 1e-5
    assert (found - plain).abs().max() > 0.01
    assert adapter.kind == kind.name and adapter.inside == (kind.name in ("lora", "bottleneck"))
    assert adapter.length == (0 if adapter.inside else 5)


@pytest.mark.parametrize("kind", KINDS[:2], ids=name_of)
def test_the_base_is_bit_identical_without_an_adapter(llama_dir, kind, tmp_path):
    stirred(fresh(llama_dir), kind, tmp_path / "a")
    base = fresh(llama_dir)
    before = logits(base.model).detach()
    adapters = Adapters(base.model, base.fingerprint)
    adapter = adapters.load(tmp_path / "a")
    assert torch.equal(logits(base.model), before)
    through(base.model, adapters, adapter)
    with adapters.using(None):
        assert torch.equal(logits(base.model), before)
    with pytest.raises(ZeroDivisionError), adapters.using(adapter):
        raise ZeroDivisionError
    assert torch.equal(logits(base.model), before)
    assert not any(one.requires_grad for one in base.model.parameters())


def test_several_adapters_over_one_base(llama_dir, tmp_path):
    kinds = {"one": LoRA(r=4), "two": LoRA(r=2, targets=("q_proj", "down_proj")), "three": Bottleneck(4)}
    wanted = {name: stirred(fresh(llama_dir), kind, tmp_path / name) for name, kind in kinds.items()}
    base = fresh(llama_dir)
    adapters = Adapters(base.model, base.fingerprint)
    for name in ("one", "two", "three", "two", "one"):
        found = through(base.model, adapters, adapters.load(tmp_path / name))
        assert (found - wanted[name]).abs().max() < 1e-5
    owned = [one.data_ptr() for name, one in base.model.named_parameters() if "lora" not in name]
    assert len(owned) == len(list(fresh(llama_dir).model.parameters()))  # no copy of the base


@pytest.mark.skipif(not packable(), reason="this build of torch lays no weights out")
def test_lora_wraps_prepacked_layers(llama_dir, tmp_path):
    wanted = stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    base = fresh(llama_dir)
    prepare(base.model.get_decoder(), "packed")
    adapters = Adapters(base.model, base.fingerprint)
    with torch.no_grad():
        before = logits(base.model)
        found = through(base.model, adapters, adapters.load(tmp_path / "a"))
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(logits(base.model), before)


def peft_forward(model, config, fill):
    from peft import get_peft_model

    made = get_peft_model(model, config)
    fill(made)
    with torch.no_grad():
        return made(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits[0, -IDS.shape[1] :]


def test_positions_are_those_of_peft(llama_dir, tmp_path):
    from peft import PrefixTuningConfig, PromptTuningConfig

    for kind, config in (
        (PromptTuning(5), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)),
        (PrefixTuning(5), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)),
    ):
        ours = stirred(fresh(llama_dir), kind, tmp_path / kind.name)
        base = fresh(llama_dir)
        adapter = Adapters(base.model, base.fingerprint).load(tmp_path / kind.name)

        def fill(made, adapter=adapter):
            if adapter.vectors is not None:
                rows = adapter.vectors
            else:
                rows = torch.stack([torch.stack(pair) for pair in adapter.past]).permute(3, 0, 1, 2, 4).flatten(1)
            made.prompt_encoder["default"].embedding.weight.data.copy_(rows)

        assert (peft_forward(fresh(llama_dir).model, config, fill) - ours).abs().max() < 1e-5


def test_loading_reads_once_until_the_files_change(llama_dir, tmp_path):
    base = fresh(llama_dir)
    stirred(base, LoRA(r=4), tmp_path / "a")
    adapters = Adapters(base.model, base.fingerprint)
    first = adapters.load(tmp_path / "a")
    assert adapters.load(tmp_path / "a") is first
    wanted = stirred(fresh(llama_dir), LoRA(r=4, alpha=32.0), tmp_path / "a")
    second = adapters.load(tmp_path / "a")
    assert second.digest != first.digest
    assert (through(base.model, adapters, second) - wanted).abs().max() < 1e-5


def test_saved_lora_has_updates_that_are_not_zero(llama_dir, tmp_path):
    from safetensors.torch import load_file

    stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    held = load_file(tmp_path / "a" / "adapter.safetensors")
    ups = [one for name, one in held.items() if name.endswith(".B")]
    assert len(ups) == 4 and all(one.abs().max() > 0 for one in ups)


def test_another_base_is_refused_and_the_difference_named(llama_dir, qwen2_dir, tmp_path):
    stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    base = fresh(qwen2_dir)
    with pytest.raises(ModelError, match="another base: config, weights differ"):
        Adapters(base.model, base.fingerprint).load(tmp_path / "a")
    told = {**fresh(llama_dir).fingerprint, "tokenizer": "other"}
    with pytest.raises(ModelError, match="another base: tokenizer differ"):
        Adapters(fresh(llama_dir).model, told).load(tmp_path / "a")


def test_another_chat_template_is_refused_and_an_older_artefact_is_not(llama_dir, tmp_path):
    other = shutil.copytree(llama_dir, tmp_path / "other")
    (other / "chat_template.jinja").write_text("{% for turn in messages %}### {{ turn.content }}{% endfor %}")
    stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    base = fresh(other)
    with pytest.raises(ModelError, match="another base: template differ"):
        Adapters(base.model, base.fingerprint).load(tmp_path / "a")
    rewrite(lambda told: told["base"].pop("template"))(tmp_path / "a")
    assert Adapters(base.model, base.fingerprint).load(tmp_path / "a").kind == "lora"
    rewrite(lambda told: told["base"].pop("tokenizer"))(tmp_path / "a")
    with pytest.raises(ModelError, match="another base: tokenizer differ"):
        Adapters(base.model, base.fingerprint).load(tmp_path / "a")


def damage_weights(path):
    data = bytearray((path / "adapter.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "adapter.safetensors").write_bytes(bytes(data))


def rewrite(change):
    def damage(path):
        told = json.loads((path / "manifest.json").read_text())
        change(told)
        (path / "manifest.json").write_text(json.dumps(told))

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_weights, "SHA-256 differs"),
        (lambda path: (path / "manifest.json").write_text("{"), "is damaged"),
        (lambda path: (path / "manifest.json").write_text("[]"), "is damaged"),
        (lambda path: (path / "manifest.json").unlink(), "holds no tuned weights"),
        (lambda path: (path / "adapter.safetensors").unlink(), "holds no tuned weights"),
        (rewrite(lambda told: told.update(kind="magic")), "kind 'magic'"),
        (rewrite(lambda told: told.update(format=99)), "format 99"),
        (rewrite(lambda told: told["options"].update(r=3)), "does not fit its own manifest"),
        (rewrite(lambda told: told["options"].update(targets=["k_proj"])), "does not fit its own manifest"),
        (
            rewrite(lambda told: told["options"].update(targets=["q_proj", "lm_head"])),
            "lm_head is no layer of the decoder",
        ),
        (rewrite(lambda told: told.update(kind="prefix")), "does not fit its own manifest"),
        (rewrite(lambda told: told.pop("base")), "is damaged"),
    ],
)
def test_damage_is_a_typed_error(llama_dir, tmp_path, damage, said):
    stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    damage(tmp_path / "a")
    base = fresh(llama_dir)
    before = logits(base.model).detach()
    with pytest.raises(ModelError, match=said):
        Adapters(base.model, base.fingerprint).load(tmp_path / "a")
    assert torch.equal(logits(base.model), before)


def test_nothing_there(llama_dir, tmp_path):
    base = fresh(llama_dir)
    with pytest.raises(ModelError, match="holds no tuned weights"):
        Adapters(base.model, base.fingerprint).load(tmp_path / "nowhere")


def test_extra_tensors_come_along(llama_dir, tmp_path):
    base = fresh(llama_dir)
    tunable = Tunable(base, Frozen(), extra={"head": torch.nn.Linear(64, 2)})
    tunable.save(tmp_path / "a")
    adapter = Adapters(base.model, base.fingerprint).load(tmp_path / "a")
    assert torch.equal(adapter.extra["head.weight"], tunable.extra["head"].weight)
    assert adapter.kind == "frozen" and not adapter.inside and adapter.length == 0


def test_the_engine_of_tuning_and_that_of_serving_agree(llama_dir, examples_of, tmp_path):
    base = fresh(llama_dir)
    tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=1)
    lines = encode(examples_of, tunable.tokens).lines
    for one in tunable.parameters.values():
        one.data.add_(0.05)
    with torch.no_grad(), tunable.on():
        found, _ = states(tunable, lines)
        tuned = base.model.lm_head(found)
    tunable.save(tmp_path / "a")
    served = fresh(llama_dir)
    adapters = Adapters(served.model, served.fingerprint)
    with torch.no_grad(), adapters.using(adapters.load(tmp_path / "a")):
        made = torch.cat([served.model(input_ids=torch.from_numpy(one.ids)[None]).logits[0, -3:-1] for one in lines])
    assert (made - tuned).abs().max() < 1e-4


@pytest.fixture
def examples_of():
    from hexarec.lm.base import Prompt
    from hexarec.parts.train.examples import Example

    return [Example(Prompt.user(f"Will the user like film {n}?"), "Yes" if n % 2 else "No") for n in range(4)]


@pytest.mark.parametrize("kind", KINDS[:2], ids=name_of)
def test_the_adapter_that_was_not_asked_for_longest_is_released(llama_dir, kind, tmp_path):
    base = fresh(llama_dir)
    bare = logits(base.model).detach()
    modules = {name for name, _ in base.model.named_modules()}
    wanted = {name: stirred(fresh(llama_dir), kind, tmp_path / name, seed) for seed, name in enumerate("abc")}
    adapters = Adapters(base.model, base.fingerprint, most=2)
    first = {name: adapters.load(tmp_path / name) for name in "ab"}
    assert adapters.known(tmp_path / "a") is first["a"]
    adapters.load(tmp_path / "c")
    assert [adapters.known(tmp_path / name) is not None for name in "abc"] == [True, False, True]
    # a request that waited meanwhile is still answered by what it asked for
    for name, adapter in first.items():
        assert (through(base.model, adapters, adapter) - wanted[name]).abs().max() < 1e-5
        assert not any(one.requires_grad for one in base.model.parameters())
    for one in [*first.values(), adapters.load(tmp_path / "c")]:
        adapters.release(one.digest)
    assert {name for name, _ in base.model.named_modules()} == modules, "nothing is left in the base"
    assert torch.equal(logits(base.model), bare)


def test_an_adapter_replaced_while_a_request_waits_is_refused(llama_dir, tmp_path):
    base = fresh(llama_dir)
    stirred(fresh(llama_dir), LoRA(r=4), tmp_path / "a")
    adapters = Adapters(base.model, base.fingerprint)
    asked = adapters.load(tmp_path / "a")
    adapters.release(asked.digest)
    stirred(fresh(llama_dir), LoRA(r=4, alpha=32.0), tmp_path / "a")
    with pytest.raises(ModelError, match="replaced"):
        through(base.model, adapters, asked)
