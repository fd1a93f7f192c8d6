import pytest
from tests.hanging import LONG

from hexarec.core.errors import CancelledError, DeadlineError, HexarecError, ModelError, OptionError
from hexarec.core.run import Cancel, run
from hexarec.lm.base import Prompt
from hexarec.lm.open import open_encoder, open_lm
from hexarec.lm.wire import Busy, Refused, Wire, split

from .stub import RAW, serving


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def body(model):
    return {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}


def post(server, model, timeout=LONG):
    return Wire(server.url, timeout=timeout).post("/chat/completions", body(model))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_passing_faults_can_be_tried_again(server, status):
    with pytest.raises(Busy, match=str(status)) as caught:
        post(server, str(status))
    assert caught.value.retryable and caught.value.after == 3.0


def test_retry_after_may_be_a_date_or_nonsense(server):
    with pytest.raises(Busy) as caught:
        post(server, "date")
    assert 20 <= caught.value.after <= 31
    with pytest.raises(Busy) as caught:
        post(server, "absurd")
    assert caught.value.after == 60.0


@pytest.mark.parametrize(("status", "hint"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "model name")])
def test_lasting_faults_say_what_mends_them(server, status, hint):
    with pytest.raises(ModelError, match=hint) as caught:
        post(server, str(status))
    assert not caught.value.retryable and not isinstance(caught.value, Refused)


def test_a_bad_request_is_refused(server):
    with pytest.raises(Refused, match="status 400"):
        post(server, "400")


@pytest.mark.parametrize("kind", ["empty", "html", "half", "latin", "list", "errorbody"])
def test_bodies_that_are_no_answer_are_passing_faults(server, kind):
    assert kind in RAW
    with pytest.raises(Busy):
        post(server, kind)


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_broken_connections_are_passing_faults(server, kind):
    with pytest.raises(Busy):
        post(server, kind)


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_the_timeout_is_for_the_whole_answer(kind):
    with serving() as server:
        with pytest.raises(Busy):
            post(server, kind, timeout=0.4)
        assert not server.outlasted


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_the_deadline_is_sooner_than_the_timeout(kind):
    with serving() as server:
        with run(seconds=0.3), pytest.raises(DeadlineError):
            post(server, kind, timeout=10 * LONG)
        assert not server.outlasted


def test_a_cancelled_run_stops_reading(server):
    cancel = Cancel()
    with run(cancel=cancel):
        cancel.set()
        with pytest.raises(CancelledError):
            post(server, "ok")


def test_floods_are_not_read_to_the_end(server):
    with pytest.raises(Busy, match="more than"):
        post(server, "flood")


def test_nobody_listening_is_a_passing_fault():
    with pytest.raises(Busy, match="cannot reach"):
        Wire("http://127.0.0.1:9/v1", timeout=LONG).post("/chat/completions", body("ok"))


def test_the_key_and_address_come_from_named_variables(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-1")
    monkeypatch.setenv("MY_URL", server.url)
    Wire(None, key_name="MY_KEY", url_name="MY_URL").post("/chat/completions", body("ok"))
    assert server.asked[-1][2] == "Bearer secret-1"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Wire(server.url).post("/chat/completions", body("ok"))
    assert server.asked[-1][2] == "Bearer none"


def test_errors_do_not_tell_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    for model in ("401", "429", "400", "html"):
        with pytest.raises(ModelError) as caught:
            post(server, model)
        assert "secret-2" not in str(caught.value)


def test_names_are_split():
    assert split("gpt") == (None, "gpt")
    assert split("http://h:1/v1#org/model") == ("http://h:1/v1", "org/model")
    for bad in ("http://h:1/v1", "http://h:1/v1#"):
        with pytest.raises(OptionError):
            split(bad)
    with pytest.raises(OptionError):
        Wire("ftp://x")


def test_no_password_and_no_query_stands_in_an_error(monkeypatch):
    name = "openai:http://user:pw@127.0.0.1:9/v1?api_key=SECRET#m"
    lm, asked = open_lm(name), [Prompt.user("x")]
    assert lm.spec == "openai:http://***@127.0.0.1:9/v1?***#m" and lm.name == "openai:http://127.0.0.1:9/v1#m"
    said = [str(lm.generate(asked)[0].error)]
    for spec in (name.replace("#m", ""), name.replace("http", "ftp"), name.replace("openai", "opena")):
        with pytest.raises(OptionError) as caught:
            open_lm(spec)
        said.append(str(caught.value))
    for call in (lambda: lm.need("label"), lambda: open_encoder(name).encode(["x"])):
        with pytest.raises(HexarecError) as caught:
            call()
        said.append(str(caught.value))
    monkeypatch.setenv("OPENAI_BASE_URL", "user:pw@host/v1?api_key=SECRET")
    with pytest.raises(OptionError, match="'host/v1' is not an http address") as caught:
        open_lm("openai:m")
    assert not [one for one in [*said, str(caught.value)] if "pw" in one or "SECRET" in one]


def test_user_and_password_still_reach_the_server():
    sent = Wire("http://user:pw@host/v1")._client.base_url
    assert sent.userinfo == b"user:pw"


@pytest.mark.parametrize("opened", [open_lm, open_encoder])
@pytest.mark.parametrize(
    "rest",
    [
        "http://u:hid/den@h:1/v1#m", "http://u:12/den@h:1/v1#m", "http://u:hid?den@h:1/v1#m", "http://u:hid#den@h:1/v1#m",
        "http://u:hid den@h:1/v1#m", "http://u:hidden@h:port/v1?key=hidden#m", "http://u:hidden@[::1/v1#m",
        "http:/u:hidden@h:1/v1#m", "http:u:hidden@h:1/v1#m", "u:hidden@h:1/v1?key=hidden#m", "http://h:1/v1?key=hid den#m",
    ],
)  # fmt: skip
def test_an_address_whose_secrets_cannot_be_told_from_the_rest_is_refused_and_not_shown(rest, opened):
    with pytest.raises(OptionError, match="address of a model") as caught:
        opened(f"openai:{rest}")
    assert "write / as %2F" in str(caught.value.hint)
    assert not any(part in str(caught.value) for part in ("hid", "den", "12"))
