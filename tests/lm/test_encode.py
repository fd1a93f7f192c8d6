import numpy as np
import pytest

from hexarec.core.errors import MissingExtraError, ModelError
from hexarec.lm import models
from hexarec.lm.base import Encoder
from hexarec.lm.encode import MiniLM, SentenceTransformers, _batches
from hexarec.lm.open import open_encoder

TEXTS = [
    "The Shawshank Redemption (1994)",
    "",
    "a",
    "Toy Story: when a cowboy doll is threatened by a new spaceman figure.",
    "重庆森林 1994 王家卫",
    "word " * 600,
    "émigré naïve — “quotes” \u200b",
    "\ud800 lone",
    *(f"Movie number {n} about {'love ' * (n % 7)}" for n in range(40)),
]


@pytest.fixture(scope="module")
def minilm():
    if "minilm" not in models.installed():
        pytest.skip("the model minilm is not installed: hexarec models install")
    return MiniLM()


def test_batches_hold_every_row_once_within_size():
    ids = [[0] * n for n in (3, 256, 1, 200, 5, 256, 30) * 9]
    batches = list(_batches(ids))
    assert sorted(row for batch in batches for row in batch) == list(range(len(ids)))
    assert all(max(len(ids[row]) for row in batch) * len(batch) <= 4096 for batch in batches)


def test_a_folder_without_the_model_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="models install"):
        MiniLM(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="does not load"):
        MiniLM(tmp_path)


def test_the_door_to_sentence_transformers_names_its_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match="embed"):
        SentenceTransformers("any")


@pytest.mark.slow
def test_minilm_rows(minilm):
    rows = minilm.encode(TEXTS)
    assert isinstance(minilm, Encoder) and minilm.spec == "minilm" and minilm.dim == 384
    assert rows.shape == (len(TEXTS), 384) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5) and minilm.encode([]).shape == (0, 384)
    for row, text in enumerate(TEXTS):
        assert np.abs(minilm.encode([text])[0] - rows[row]).max() < 1e-5


@pytest.mark.slow
def test_minilm_equals_sentence_transformers(minilm):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelError):
        SentenceTransformers("/no/such/folder")
    other = SentenceTransformers(str(models.path("minilm")))
    texts = [text for text in TEXTS if text and "\ud800" not in text]
    mine, theirs = minilm.encode(texts), other.encode(texts)
    assert (mine * theirs).sum(axis=1).min() > 0.9999
    assert other.dim == 384 and other.encode([]).shape == (0, 384)


@pytest.mark.parametrize("installed", [True, False])
def test_minilm_opens_in_the_quicker_runtime_that_is_there(installed, monkeypatch):
    import sys

    if installed:
        pytest.importorskip("torch")
    else:
        monkeypatch.setitem(sys.modules, "hexarec.lm.hf.minilm", None)
        with pytest.raises(MissingExtraError, match="embed"):
            open_encoder("minilm", dtype="float32")
    if "minilm" not in models.installed():
        pytest.skip("the model minilm is not installed: hexarec models install")
    made = open_encoder("minilm")
    assert made.runtime == ("torch" if installed else "numpy")
    assert (made.name, made.spec, getattr(made, "options", {})) == ("minilm", "minilm", {})
    assert np.abs(made.encode(TEXTS[:6]) - MiniLM().encode(TEXTS[:6])).max() < 1e-5
