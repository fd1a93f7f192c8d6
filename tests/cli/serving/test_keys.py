"""Keys and users by the command line; what a running server makes of them."""

import json
import time

import pytest
from tests.cli.calls import answer, call, fails
from tests.serve.conftest import backend_over
from tests.serve.running import listening

from hexarec.serve.client import ApiError, Client
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store


def made(home, *words):
    return call("keys", "create", "web", *words, "--home", home).stdout.strip()


def listed(home):
    return answer("keys", "list", "--home", home)


def test_a_key_is_made_and_its_secret_is_kept_nowhere(home):
    secret = made(home, "--scope", "recommend,events", "--rate", "50", "--days", "30", "--tokens", "1000")
    (row,) = listed(home)
    assert (row["name"], row["scopes"], row["state"]) == ("web", "events, recommend", "valid")
    assert secret.startswith(f"hx_{row['id']}.")
    held = b"".join(one.read_bytes() for one in home.rglob("*") if one.is_file())
    assert secret.split(".")[1].encode() not in held
    assert row["id"] in call("keys", "list", "--home", home).stdout


def test_keys_that_cannot_be_are_refused(home):
    assert "no scope 'write-all'" in fails("keys", "create", "x", "--scope", "write-all", "--home", home)
    assert "no key 'nothing'" in fails("keys", "revoke", "nothing", "--home", home)
    assert "no key 'nothing'" in fails("keys", "rotate", "nothing", "--home", home)
    assert "is no name" in fails("keys", "list", "--tenant", "No Name", "--home", home)
    assert listed(home) == []


def test_a_running_server_hears_of_rotated_and_revoked_keys(home, data):
    backend = backend_over(home)
    with listening(backend) as url:
        old = made(home, "--scope", "recommend")
        id = listed(home)[0]["id"]
        time.sleep(1.1)
        with Client(url, old, retries=0) as client:
            assert client.recommend(data.users.ids.ids[0])["items"]
            new = call("keys", "rotate", id, "--overlap", "0", "--home", home).stdout.strip()
            with Client(url, new, retries=0) as other:
                assert other.recommend(data.users.ids.ids[0])["items"]
                time.sleep(1.1)
                with pytest.raises(ApiError) as refused:
                    client.recommend("u")
                assert refused.value.status == 401
                fresh = next(row["id"] for row in listed(home) if row["id"] != id)
                assert f"revoked {fresh}" in call("keys", "revoke", fresh, "--home", home).stdout
                time.sleep(1.1)
                with pytest.raises(ApiError):
                    other.recommend("u")
    assert [row["state"] for row in listed(home)] != ["valid", "valid"]
    assert "has ended" in fails("keys", "rotate", id, "--home", home)


def test_a_user_is_exported_and_forgotten_while_a_server_runs(home, data):
    user = data.users.ids.ids[5]
    backend = backend_over(home)
    with listening(backend) as url, Client(url) as client:
        client.recommend(user)
        rows = [json.loads(line) for line in call("users", "export", user, "--home", home).stdout.splitlines()]
        assert {"events"} <= {row["table"] for row in rows} and all(user in str(row) for row in rows)
        counts = answer("users", "forget", user, "--home", home)
        assert counts["events"] > 0 and counts["saved pipelines"] == 1
        assert call("users", "export", user, "--home", home).stdout == ""
        before = backend.service.tenant("default").recommender()
        end = time.monotonic() + 10
        while (
            before.current.path == "" or not (backend.service.tenant("default").folder / before.current.path).exists()
        ):
            assert time.monotonic() < end, "the server has not taken up the pipeline without the user"
            time.sleep(0.05)
        assert client.recommend(user)["items"], "and they are served as anybody"
    store = open_store(Settings(home=home).url)
    rows = store.of("default").audit_rows()
    assert [row.what for row in rows] == ["export user", "erase user", "export user"]
    assert user not in str(rows)
    store.close()


def test_a_command_in_the_wrong_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("users", "forget", "u1"), ("keys", "list"), ("ab", "read", "x")):
        assert "there is no server home" in fails(*words)
    assert "no file" in fails("keys", "list", "-c", "nothere.toml")
    assert not (tmp_path / "hexarec-home").exists()
