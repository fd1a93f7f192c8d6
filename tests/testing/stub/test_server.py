import socket
import time

import numpy as np
import pytest

from hexarec.core import OptionError, run
from hexarec.lm.base import JsonSchema, Prompt
from hexarec.lm.endpoint import Endpoint, EndpointEncoder
from hexarec.lm.probe import probe
from hexarec.testing.stub import FAULTS, Latency, Stub, injected, named

ALL = frozenset({"text", "json", "choice", "label"})
TEXT = "I liked:\n1. The sea and the ship\nWhich is next?\n[A] A desert\n[B] The last ship"


def lm(stub, **options):
    return Endpoint(f"{stub.url}#stub", can=ALL, **options)


@pytest.fixture(scope="module")
def stub():
    with Stub() as running:
        yield running


@pytest.mark.parametrize("make", [Prompt.user, Prompt.plain])
def test_it_answers_what_the_double_answers_and_always_the_same(stub, make):
    made = lm(stub).generate([make(TEXT)] * 2)
    assert made[0] == made[1] and made[0].text.startswith("[B] The last ship") and made[0].tokens_out > 0
    odds = lm(stub).label([make(TEXT)], ("A", "B"))
    assert odds[0, 1] > odds[0, 0] and np.array_equal(odds, lm(stub).label([make(TEXT)], ("A", "B")))


def test_streams_json_and_models(stub):
    whole = lm(stub).generate([Prompt.user(TEXT)])[0].text
    pieces = list(lm(stub).stream(Prompt.user(TEXT)))
    assert len(pieces) == 2 and "".join(pieces) == whole
    assert lm(stub, stream=True).generate([Prompt.user(TEXT)])[0].text == whole
    schema = JsonSchema({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]})
    assert lm(stub).generate([Prompt.user(TEXT)], schema)[0].good
    import httpx

    assert httpx.get(stub.url + "/models").json()["data"][0]["id"] == "stub"
    assert httpx.post(stub.url + "/nothing", json={}).status_code == 404
    assert httpx.post(stub.url + "/completions", content=b"{").status_code == 400


def test_a_probe_finds_all_it_can(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    assert probe(Endpoint(f"{stub.url}#stub")) == ALL


def test_embeddings_of_like_texts_are_near(stub):
    encoder = EndpointEncoder(f"{stub.url}#stub")
    a, b, c = encoder.encode(["a ship in a storm", "storm, a ship", "bread and butter"])
    assert a @ b > 0.9 > 0.5 > a @ c
    with Stub(["body.wrong_order"]) as turned:
        other = EndpointEncoder(f"{turned.url}#stub").encode(["a ship in a storm", "bread and butter"])
    assert np.allclose(other, [a, c], atol=1e-6)


def test_latency_is_fixed_and_per_token():
    with Stub(latency=Latency(0.05, 0.002, 0.005)) as slow:
        started = time.monotonic()
        made = lm(slow).generate([Prompt.user(TEXT)])[0]
        assert time.monotonic() - started >= 0.05 + 0.002 * made.tokens_in + 0.005 * made.tokens_out


def test_faults_come_after_good_answers_at_their_rate_and_in_turn():
    with Stub(["status.500", "status.429"], after=2) as stub:
        made = [one.error[-30:] for one in lm(stub, workers=1).generate([Prompt.user(TEXT)] * 5)]
    assert made[:2] == ["", ""] and "Internal" in made[2] and "Rate" in made[3] and "Internal" in made[4]
    with Stub(["status.500"], rate=0.3) as stub:
        bad = sum(not one.good for one in lm(stub).generate([Prompt.user(TEXT)] * 60))
    assert 6 <= bad <= 32


def test_a_stub_serves_many_at_once(stub):
    with run(seconds=20):
        made = lm(stub, workers=50).generate([Prompt.user(f"{TEXT} {n}") for n in range(200)])
    assert all(one.good for one in made)


def test_what_cannot_be_served_is_refused():
    with pytest.raises(OptionError, match="did you mean 'status.50"):
        named("status.50")
    with pytest.raises(OptionError, match="injected"):
        Stub(["machine.no_threads"])
    with pytest.raises(OptionError, match="fault of the server"):
        injected("status.500", None)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OptionError, match="cannot listen"):
        with Stub(port=taken.getsockname()[1]):
            pass


def test_every_fault_says_what_it_is():
    for fault in FAULTS.values():
        assert fault.says and fault.act.__doc__ and fault.name.startswith(fault.group + ".")
