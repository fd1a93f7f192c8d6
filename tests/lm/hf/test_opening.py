"""`hf:` by name: what opens, what is refused, and that no foreign file ends in a trace."""

import json
import shutil
import sys

import pytest

from hexarec.core.errors import MissingExtraError, ModelError, OptionError
from hexarec.lm.base import CAPABILITIES, LanguageModel, Prompt
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_lm


@pytest.fixture
def copied(llama_dir, tmp_path, monkeypatch):
    """A directory of its own, to be damaged."""
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return shutil.copytree(llama_dir, tmp_path / "model")


def refused(source, **options):
    """What opening a source is refused with; anything but a ModelError fails the test."""
    with pytest.raises(ModelError) as caught:
        open_lm(f"hf:{source}", dtype="float32", **options)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_a_directory_opens_and_keeps_its_options(llama_dir):
    lm = open_lm(f"hf:{llama_dir}", dtype="float32", window=99)
    assert isinstance(lm, LanguageModel) and lm.can == set(CAPABILITIES)
    assert lm.spec == f"hf:{llama_dir}" and lm.options == {"dtype": "float32", "window": 99}
    again = open_lm(lm.spec, **lm.options)
    assert again.window == lm.window == 99 and again.base.dtype == "float32"
    asked = Prompt.user("Which film?", max_tokens=5)
    assert again.generate([asked]) == lm.generate([asked])


def test_limits_wrap_it(llama_dir):
    lm = open_lm(f"hf:{llama_dir}", dtype="float32", retries=0)
    assert isinstance(lm, Guarded) and lm.can == set(CAPABILITIES)
    assert lm.options == {"dtype": "float32", "retries": 0}


@pytest.mark.parametrize(
    "options", [{"widow": 9}, {"rows": 1}, {"dtype": "float17"}, {"path": "dense"}, {"adapters": 0}]
)
def test_wrong_options_are_named(llama_dir, options):
    with pytest.raises(OptionError, match=str(next(iter(options))) if "dtype" not in options else "float17"):
        open_lm(f"hf:{llama_dir}", **options)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_torch_the_extra_is_named(llama_dir, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        open_lm(f"hf:{llama_dir}")
    assert package in caught.value.message and "hexarec[train]" in caught.value.hint


@pytest.mark.parametrize(("name", "meant"), [("smolm2", "did you mean hf:smollm2"), ("gpt2", "as owner/name")])
def test_a_name_that_no_hub_has_is_refused_before_one_is_asked(name, meant, monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(OptionError, match=f"no model called 'hf:{name}'\n  -> .*{meant}"):
        open_lm(f"hf:{name}")


def test_what_is_missing_is_named(copied, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # else it waits for a network that is forbidden
    assert "no model directory" in refused(copied / "no")
    assert "no model file" in refused(copied / "no.gguf")
    assert "models install" in refused("smollm2")
    assert "no-such-owner/no-such-model" in refused("no-such-owner/no-such-model")


def test_pickled_weights_are_refused(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert "no safetensors" in refused(copied)


@pytest.mark.parametrize("keep", [0, 8, 5000])
def test_broken_weights_are_refused(copied, keep):
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[:keep])
    assert "does not load" in refused(copied)


def settings(folder, **changed):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))


def test_weights_without_a_place_are_refused(copied, qwen2_dir, tmp_path):
    settings(copied, num_hidden_layers=1)
    assert "has no place for 9 weights, such as model.layers.1." in refused(copied)
    biased = shutil.copytree(qwen2_dir, tmp_path / "biased")
    settings(biased, model_type="llama", architectures=["LlamaForCausalLM"])  # which knows no biases by default
    assert "bias" in refused(biased)


def test_weights_that_are_missing_are_refused(copied):
    settings(copied, num_hidden_layers=3)
    assert "lacks 9 weights, such as model.layers.2." in refused(copied)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "\x00\xff"])
def test_broken_settings_are_refused(copied, name, text):
    (copied / name).write_text(text)
    assert str(copied) in refused(copied)


@pytest.mark.parametrize("kind", ["t5", "vit", "nonsense"])
def test_what_is_no_causal_model_is_refused(copied, kind):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "model_type": kind, "architectures": [kind]}))
    assert "does not load" in refused(copied)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\x00" * 1000, b"no gguf at all" * 100])
def test_a_broken_gguf_is_refused(copied, content):
    pytest.importorskip("gguf")
    (copied / "bad.gguf").write_bytes(content)
    assert "bad.gguf does not load" in refused(copied / "bad.gguf")
    assert not list((copied.parent / "models").glob("safetensors/*")), "nothing half made stays behind"


def test_a_base_is_the_same_under_another_version_of_its_library(copied):
    first = open_lm(f"hf:{copied}", dtype="float32").base.fingerprint
    config = json.loads((copied / "config.json").read_text())
    later = {**config, "transformers_version": "9.9.9", "use_cache": True, "attention_dropout": 0.0}
    (copied / "config.json").write_text(json.dumps(later))
    words = json.loads((copied / "tokenizer.json").read_text())
    (copied / "tokenizer.json").write_text(json.dumps({**words, "padding": None}, indent=3))
    assert open_lm(f"hf:{copied}", dtype="float32").base.fingerprint == first
    (copied / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.25}))
    assert open_lm(f"hf:{copied}", dtype="float32").base.fingerprint["config"] != first["config"]


def test_a_tokenizer_that_cuts_otherwise_is_another(copied):
    first = open_lm(f"hf:{copied}", dtype="float32").base.fingerprint
    words = json.loads((copied / "tokenizer.json").read_text())
    (copied / "tokenizer.json").write_text(json.dumps({**words, "normalizer": {"type": "Lowercase"}}))
    assert open_lm(f"hf:{copied}", dtype="float32").base.fingerprint["tokenizer"] != first["tokenizer"]
