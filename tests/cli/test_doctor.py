import http.server
import threading

import pytest
from tests.cli.calls import answer, call

from hexarec.cli import doctor
from hexarec.lm import models


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path / "none" / "yet"))
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def looked(*words):
    return {one["name"]: one for one in answer("doctor", *words)}


def test_every_line_has_a_level_and_what_is_missing_its_mend():
    found = looked()
    assert {"python", "platform", "cores", "memory", "disk", "packages", "torch", "endpoint"} <= set(found)
    assert {"[local]", "[embed]", "[train]"} <= set(found) and "[dev]" not in found
    assert all(one["level"] == "ok" or one["mend"] for one in found.values())
    assert found["packages"]["level"] == "ok"
    for name in models.REGISTRY:
        assert found[f"model {name}"]["level"] == "warn"
        assert found[f"model {name}"]["mend"] == f"hexarec models install {name}"
    text = call("doctor").stdout
    assert "hexarec models install smollm2" in text and "Python" not in text.splitlines()[0]


def test_torch_is_told_what_it_serves(monkeypatch):
    from importlib import metadata, util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "torch" else real(name))
    found = looked()["torch"]
    assert found["level"] == "ok" and "hf:" in found["said"] and "[train]" in found["mend"]
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "transformers" else object())
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    found = doctor.torch()
    assert found.level == "warn" and "transformers" in found.said and "[train]" in found.mend


def test_a_damaged_model_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "model.safetensors").write_bytes(b"broken")
    assert "damaged" in looked()["model minilm"]["said"]


def test_something_required_that_is_missing_is_bad(monkeypatch):
    monkeypatch.setattr(doctor, "_required", lambda: {"": ["numpy", "no-such-package"], "local": ["no-such-either"]})
    made = call("doctor", "--json", code=1).stdout
    assert "missing: no-such-package" in made and 'pip install \\"hexarec[local]\\"' in made


def test_an_endpoint_that_is_down_is_a_warning_and_keys_stay_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert looked()["endpoint"]["level"] == "ok"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:pass@127.0.0.1:9/v1")
    made = call("doctor", "--timeout", "0.5").stdout
    assert "does not answer" in made and "sk-secret" not in made and "pass@" not in made


def test_an_endpoint_that_answers_is_ok(monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1/")
    found = looked()["endpoint"]
    server.shutdown()
    server.server_close()
    assert found["level"] == "ok" and "status 200" in found["said"]
