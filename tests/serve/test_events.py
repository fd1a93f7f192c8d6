"""Events over HTTP: once, whole, told apart, and never lost silently."""

import json
import time

import pytest
from tests.serve.conftest import key_for

from hexarec.serve.store.errors import BusyError, FullError, StoppedError


def send(api, **event):
    return api.post("/v1/events", json={"item_id": "i001", "user_id": "u", **event})


def lines(api, *events):
    return api.post("/v1/events:batch", content="\n".join(map(json.dumps, events)).encode()).json()


def test_an_event_counts_once_and_other_content_is_a_conflict(api, backend):
    assert send(api, event_id="e1", time=5.0).json() == {"accepted": 1, "duplicates": 0, "erased": 0, "conflicts": []}
    assert send(api, event_id="e1", time=5.0).json()["duplicates"] == 1
    answer = send(api, event_id="e1", time=5.0, item_id="i002")
    assert answer.status_code == 409 and answer.json()["error"]["type"] == "conflict"
    assert len(backend.service.tenant().shelf.histories(["u"])["u"]) == 1


def test_without_a_time_a_repeated_event_is_the_same(api):
    assert send(api, event_id="e1").json()["accepted"] == 1
    time.sleep(0.01)
    assert send(api, event_id="e1").json()["duplicates"] == 1


def test_a_few_at_once(api):
    events = [{"event_id": f"e{i}", "item_id": "i001", "user_id": "u", "time": 1.0} for i in (1, 2, 2)]
    assert api.post("/v1/events", json={"events": events}).json()["accepted"] == 2


def test_lines_are_judged_one_by_one(api):
    good = {"event_id": "e1", "item_id": "i001", "user_id": "u", "time": 1.0}
    told = api.post("/v1/events:batch", content=b"\n".join([
        json.dumps(good).encode(), b"not json", b"", json.dumps({**good, "event_id": "e2", "type": "bought"}).encode(),
        json.dumps({**good, "item_id": "i002"}).encode(), json.dumps({**good, "event_id": "e3", "user_id": None}).encode(),
        json.dumps({**good, "event_id": "e4", "time": time.time() + 9_000}).encode(), json.dumps(good).encode(),
    ])).json()  # fmt: skip
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (1, 1, 6)
    assert [(one["line"], one["field"]) for one in told["errors"]] == [
        (2, None), (3, None), (4, "type"), (5, "event_id"), (6, "user_id"), (7, "time"),
    ]  # fmt: skip


def test_a_batch_of_many_lines_is_stored_in_pieces(api, backend):
    events = [{"event_id": f"e{i}", "item_id": "i001", "user_id": f"u{i % 7}", "time": float(i)} for i in range(2_500)]
    before = backend.service.tenant().shelf.count("events")
    assert lines(api, *events)["accepted"] == 2_500
    assert lines(api, *events)["duplicates"] == 2_500
    assert backend.service.tenant().shelf.count("events") == before + 2_500


def test_old_events_of_an_erased_user_are_told_and_not_stored(api):
    send(api, event_id="e1", time=5.0)
    assert api.delete("/v1/users/u").status_code == 200
    assert send(api, event_id="e1", time=5.0).json() == {"accepted": 0, "duplicates": 0, "erased": 1, "conflicts": []}
    assert lines(api, {"event_id": "e9", "item_id": "i001", "user_id": "u", "time": 6.0})["erased"] == 1
    assert api.get("/v1/users/u/export").text == ""


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [(FullError("full"), 507, "full"), (BusyError("busy"), 503, "busy"), (StoppedError("stopped"), 503, "stopped")],
)
def test_a_store_that_cannot_write_is_told_by_its_reason(api, backend, monkeypatch, fault, status, kind):
    def failing(self, events):
        raise fault

    monkeypatch.setattr(type(backend.service.tenant().shelf), "add_events_soon", failing)
    answer = send(api, event_id="e1")
    assert answer.status_code == status and answer.json()["error"]["type"] == kind


def test_events_need_their_scope(api, backend):
    reader = key_for(backend, "reader")
    answer = api.post("/v1/events", json={"event_id": "e", "item_id": "i001", "user_id": "u"}, headers=reader)
    assert answer.status_code == 403
