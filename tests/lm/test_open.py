import subprocess
import sys

import pytest

from hexarec.core.errors import ModelError, OptionError
from hexarec.data.worlds import world
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.lm.fake import NAMES
from hexarec.lm.open import ENCODER_NAMES, LM_NAMES, open_encoder, open_lm, shared_lm


@pytest.mark.parametrize(
    "name", [*(f"fake:{n}" for n in NAMES), "tiny:a", "openai:http://127.0.0.1:9/v1#org/m", "openai:gpt"]
)
def test_a_spec_opens_again(name):
    lm = open_lm(name)
    assert isinstance(lm, LanguageModel) and lm.spec == name
    assert open_lm(lm.spec).spec == name


def test_options_reach_the_engine():
    assert open_lm("tiny:a", window=99).window == 99
    assert open_lm("fake:position", strength=0.25).strength == 0.25


@pytest.mark.parametrize("name", ["", "smollm2", "gguf:", "guff:smollm2", "fake:over", "fake:", "llama:x"])
def test_unknown_names_get_the_list(name):
    with pytest.raises(OptionError, match="gguf:smollm2"):
        open_lm(name)


def test_near_names_are_suggested():
    with pytest.raises(OptionError, match="did you mean 'fake:overlap'"):
        open_lm("fake:overlop")
    with pytest.raises(OptionError, match="did you mean 'minilm'"):
        open_encoder("minilmm")


def test_missing_models_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    for opener, name in ((open_lm, "gguf:smollm2"), (open_encoder, "minilm"), (open_encoder, "gguf:smollm2")):
        with pytest.raises(ModelError, match="models install"):
            opener(name)
    with pytest.raises(ModelError, match="no model file"):
        open_lm(f"gguf:{tmp_path}/none.gguf")
    with pytest.raises(OptionError, match="gguf file"):
        open_lm("gguf:tinyllama")


def test_encoders_open():
    encoder = open_encoder("tfidf", dim=7)
    assert isinstance(encoder, Encoder) and encoder.spec == "tfidf" and encoder.dim == 7
    assert open_encoder("openai:http://127.0.0.1:9/v1#e", dim=3).spec == "openai:http://127.0.0.1:9/v1#e"
    with pytest.raises(OptionError, match="st:name-or-path"):
        open_encoder("st:")
    assert "minilm" in ENCODER_NAMES and "tiny:any-name" in LM_NAMES


def test_opening_a_double_loads_no_engine():
    code = (
        "import sys, hexarec.lm.open as o; o.open_lm('fake:overlap'); o.open_lm('tiny:x'); o.open_encoder('tfidf');"
        "print([m for m in ('torch','xllamacpp','openai','tokenizers','transformers') if m in sys.modules])"
    )
    import os
    from pathlib import Path

    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("opens", [open_lm, open_encoder])
@pytest.mark.parametrize("protocol", ["ftp", "file", "HTTPX"])
def test_an_endpoint_of_another_protocol_is_refused(opens, protocol):
    with pytest.raises(OptionError, match=f"over http or https, not {protocol}") as caught:
        opens(f"openai:{protocol}://host/v1#model")
    assert "openai:http://host:port/v1#model" in caught.value.hint


def test_weights_are_loaded_once_for_all_who_share_them():
    shared = [shared_lm("hf:tiny", dtype="float32") for _ in range(2)]
    assert shared[0] is shared[1] and shared_lm("hf:tiny", dtype="float32", prefix_mb=1.0) is not shared[0]
    limited = shared_lm("hf:tiny", dtype="float32", price_in=2.0)
    assert limited.lm is shared[0] and limited.options == {"dtype": "float32", "price_in": 2.0}
    assert open_lm("hf:tiny", dtype="float32") is not shared[0]


def test_pipelines_of_one_file_and_saved_ones_share_their_weights(tmp_path):
    from hexarec.pipeline import make
    from hexarec.pipeline.save import load, save

    told = {"retrieve": {"use": "popular"}, "rank": {"use": "llmrank", "lm": "hf:tiny", "backend": "likelihood"}}
    data = world("order").data
    first, second = make(told), make(told)
    assert first.rank_by.lm is second.rank_by.lm
    save(first.fit(data), tmp_path / "kept")
    assert load(tmp_path / "kept", data).rank_.lm is first.rank_by.lm
