import pytest

from hexarec.core.errors import RetryableModelError
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.fake import Overlap
from hexarec.lm.probe import probe, remembered

from .stub import serving


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_a_probe_finds_and_remembers(models):
    with serving() as server:
        full, rebel, mute = (Endpoint(f"{server.url}#{name}") for name in ("ok", "rebel", "mute"))
        assert probe(full) == {"text", "json", "choice", "label"}
        assert probe(rebel) == {"text", "label"}
        assert probe(mute) == {"text", "json", "choice"}
        asked = len(server.asked)
        assert Endpoint(f"{server.url}#rebel").can == {"text", "label"}
        assert len(server.asked) == asked
    assert remembered("openai:nobody") is None


def test_a_server_that_is_down_is_not_remembered():
    dead = Endpoint("http://127.0.0.1:9/v1#x", timeout=1.0)
    with pytest.raises(RetryableModelError):
        probe(dead)
    assert remembered(dead.name) is None and dead.can == {"text"}


def test_a_damaged_memory_is_forgotten(models):
    models.mkdir()
    (models / "endpoints.json").write_text("{half")
    assert remembered("x") is None
    with serving() as server:
        probe(Endpoint(f"{server.url}#ok"))
        assert remembered(f"openai:{server.url}#ok")


def test_other_engines_say_it_themselves():
    assert probe(Overlap()) == Overlap().can
