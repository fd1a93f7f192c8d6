import logging

import pytest

from hexarec.core import ModelError, OptionError
from hexarec.lm.address import unsound, whole, withheld, withheld_in, without_secrets
from hexarec.lm.base import Prompt
from hexarec.lm.later import Later
from hexarec.lm.open import open_encoder, open_lm
from hexarec.lm.wire import Wire

from .stub import serving

ADDRESS = "http://user:pw@host:1/v1?api_key=SECRET"
KEPT = "http://***@host:1/v1?***"


def test_what_is_kept_says_what_was_left_out():
    assert withheld(f"openai:{ADDRESS}#org/m") == f"openai:{KEPT}#org/m" == withheld(f"openai:{KEPT}#org/m")
    assert without_secrets(KEPT) == without_secrets(ADDRESS) == "http://host:1/v1"
    for fine in ("openai:http://host:1/v1#m", "gguf:smollm2", "openai:m"):
        assert withheld(fine) == fine
    config = {"use": {"lm": f"openai:{ADDRESS}#m", "k": 3}, "rank": [{"lm": "@lm", "text": ADDRESS}]}
    assert withheld_in(config) == {"use": {"lm": f"openai:{KEPT}#m", "k": 3}, "rank": [{"lm": "@lm", "text": ADDRESS}]}


def test_an_address_is_made_whole_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("MY_URL", f"{ADDRESS}/")
    assert whole(KEPT, "MY_URL") == ADDRESS and whole("http://h/v1", "MY_URL") == "http://h/v1"
    for other in ("", "http://other/v1", "http://host:1/v1", KEPT, "http://user:pw@other/v1?api_key=SECRET"):
        monkeypatch.setenv("MY_URL", other)
        with pytest.raises(ModelError, match="of http://host:1/v1 is not kept in what is saved") as caught:
            whole(KEPT, "MY_URL")
        assert "MY_URL to the whole address, as http://user:password@host:1/v1?key=..." in caught.value.hint
        assert "pw" not in str(caught.value) and "SECRET" not in str(caught.value)


@pytest.mark.parametrize("opened", [open_lm, open_encoder, lambda name: Later(name, can=frozenset({"text"}))])
def test_no_model_holds_a_secret_in_what_names_it(opened):
    model = opened(f"openai:{ADDRESS}#m")
    assert model.spec == f"openai:{KEPT}#m" and model.name == "openai:http://host:1/v1#m"


def test_a_withheld_model_reaches_its_server_with_the_password_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", ADDRESS)
    assert open_lm(f"openai:{KEPT}#m").wire._client.base_url.userinfo == b"user:pw"
    late = Later(f"openai:{ADDRESS}#m", can=frozenset({"text"})).open()
    assert late.wire._client.base_url.userinfo == b"user:pw"


@pytest.mark.parametrize("stream", [False, True])
def test_the_query_of_an_address_goes_with_every_request_behind_its_path(stream):
    with serving() as server:
        lm = open_lm(f"openai:{server.url}?api_key=a%2Bb&version=#ok", stream=stream)
        assert lm.generate([Prompt.user("x")])[0].finish != "error"
        open_encoder(f"openai:{server.url}/?api_key=a%2Bb#e", dim=3).encode(["x"])
    assert [path for path, *_ in server.asked] == [
        "/v1/chat/completions?api_key=a%2Bb&version=",
        "/v1/embeddings?api_key=a%2Bb",
    ]


def test_the_libraries_under_a_client_log_no_password(caplog):
    with serving() as server, caplog.at_level(logging.DEBUG):
        address = server.url.replace("http://", "http://user:hidden@") + "?key=hidden"
        assert open_lm(f"openai:{address}#ok").generate([Prompt.user("x")])[0].finish != "error"
        assert Wire(address).url == server.url
    assert any(server.url in one.getMessage() for one in caplog.records)
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    "address", ["http://u:hid/den@h/v1", "http://u:hid den@h/v1", "http://u:hid#den@h/v1", "http:/u:hidden@h"]
)
def test_a_model_that_is_opened_later_does_not_keep_an_address_whose_secrets_cannot_be_told(address):
    with pytest.raises(OptionError, match="address of a model") as caught:
        Later(f"openai:{address}#m", can=frozenset({"text"}))
    assert "hid" not in str(caught.value) and "den" not in str(caught.value)


@pytest.mark.parametrize("text", ["@", "@?x", "u:p@ ?", "", "http://h@", "?@?", "a@b@c d"])
def test_what_is_said_of_an_address_that_is_none_quotes_its_end_at_most(text):
    assert str(unsound(text)).startswith("the address of a model ")
