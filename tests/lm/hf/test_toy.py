import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hexarec.lm.base import Prompt  # noqa: E402
from hexarec.lm.hf import toy  # noqa: E402
from hexarec.lm.open import open_lm  # noqa: E402


def test_it_is_made_once_and_opens_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    folder = toy.place()
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    lm = open_lm("hf:tiny", dtype="float32")
    assert toy.place() == folder and (folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert [p.name for p in folder.parent.iterdir()] == [folder.name], "nothing is left aside"
    row = lm.label([Prompt.user("Is it?")], ["Yes", "No"])[0]
    assert (row < 0).all() and row[0] != row[1]


def test_two_makings_are_the_same_model(tmp_path, monkeypatch):
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / name))
        made.append(open_lm("hf:tiny", dtype="float32").base.fingerprint)
    assert made[0] == made[1]
