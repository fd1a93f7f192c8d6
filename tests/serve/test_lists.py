"""Lists over HTTP: for users, visits and strangers; similar items; documents and items in order."""

import time

import pytest
from tests.hanging import LONG
from tests.serve.conftest import CLASSIC, URL, TestClient, backend_over, make_app

from hexarec.data.worlds import world


def user_of(data, row=0):
    return data.users.ids.ids[row]


def met(data, row=0):
    log = data.interactions
    return set(data.catalog.ids(log.item[slice(*log.offsets[row : row + 2])]))


def ids(answer):
    return [one["item_id"] for one in answer.json()["items"]]


def ask(api, **body):
    answer = api.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def refused(api, status, **body):
    answer = api.post("/v1/recommend", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_known_user_gets_real_items_not_met_before(api, data):
    answer = ask(api, user_id=user_of(data), n=5)
    assert len(ids(answer)) == 5 == len(set(ids(answer)))
    assert set(ids(answer)) <= set(data.catalog.items.ids) - met(data)
    told = answer.json()
    assert told["pipeline"] == "default" and told["version"] == 1 and told["degraded"] == []
    assert [one["rank"] for one in told["items"]] == [1, 2, 3, 4, 5]
    assert told["usage"]["ms"] > 0 and told["request_id"] == answer.headers["x-request-id"]
    assert all(one["sources"] and set(one["sources"]) <= {"ItemKNN", "Popular"} for one in told["items"])


def test_what_was_met_may_come_again_when_asked_for(api, data):
    again = ask(api, user_id=user_of(data), n=20, allow_seen=True)
    assert met(data) & set(ids(again))


def test_a_stranger_with_a_history_is_served_like_somebody_with_these_events(api, data):
    past = [data.catalog.items.ids[row] for row in (0, 2)]
    first = ask(api, history=past, n=5)
    assert not set(past) & set(ids(first))
    assert ids(ask(api, history=[{"item_id": one, "type": "like"} for one in past], n=5)) == ids(first)
    assert ids(ask(api, session={"events": [{"item_id": one} for one in past]}, n=5)) == ids(first)


def test_somebody_of_whom_nothing_is_known_gets_a_list(api, data):
    assert len(ids(ask(api, user_id="never seen", n=3))) == 3
    assert "nobody" in refused(api, 422, n=3)["message"]


def test_exclusions_and_filters_hold(api, data):
    first = ids(ask(api, user_id=user_of(data), n=3))
    assert not set(first) & set(ids(ask(api, user_id=user_of(data), n=3, exclude=first)))
    tree = {"field": "genres", "op": "has", "value": ["even"]}
    found = ids(ask(api, user_id=user_of(data), n=10, filter=tree))
    assert found and all("even" in data.catalog[one].attributes["genres"] for one in found)


def test_a_filter_that_does_not_fit_is_refused_with_a_mend(api):
    assert (
        "did you mean 'genres'"
        in refused(api, 422, user_id="u", filter={"field": "genre", "op": "=", "value": 1})["hint"]
    )
    assert "not a filter" in refused(api, 422, user_id="u", filter={"sql": "drop table"})["message"]
    assert refused(api, 422, user_id="u", n=0)["field"] == "n"
    assert refused(api, 422, user_id="u", colour="red")["field"] == "colour"
    assert refused(api, 404, user_id="u", pipeline="other")["type"] == "not_found"


def test_reasons_carry_evidence_from_the_history(api, data):
    answer = ask(api, user_id=user_of(data), n=8, explain=True)
    grounds = [one["reason"]["evidence"] for one in answer.json()["items"]]
    named = [{item for part in evidence for item in part["items"]} for evidence in grounds]
    assert any(named) and all(items & met(data) for items in named if items)
    kinds = [[part["kind"] for part in evidence] for evidence in grounds]
    assert all(items or kind in (["popularity"], []) for items, kind in zip(named, kinds, strict=True))
    kept = api.get(f"/v1/answers/{answer.json()['request_id']}")
    assert kept.json()["items"] == answer.json()["items"]
    assert api.get("/v1/answers/none").status_code == 404


def test_a_request_id_sent_again_names_no_answer_twice(api, backend, data):
    """Sent again by a proxy, or by a client that numbers its pages: each list is logged and kept by an id of its own."""
    sent, users = {"x-request-id": "page-1"}, data.users.ids.ids[:2].tolist()
    answers = [
        api.post("/v1/recommend", json={"user_id": user, "n": n, "trace": True}, headers=sent)
        for n, user in enumerate(users, 3)
    ]
    assert [one.headers["x-request-id"] for one in answers] == ["page-1", "page-1"]
    given = [one.json()["request_id"] for one in answers]
    assert [one.headers["x-answer-id"] for one in answers] == given
    assert len(set(given)) == 2 and all(one.startswith("page-1-") for one in given)
    shelf = backend.service.tenant("default").shelf
    assert [api.get(f"/v1/answers/{one}").json() for one in given] == [one.json() for one in answers]
    end = time.monotonic() + LONG
    while not all(shelf.shown(one) for one in given) and time.monotonic() < end:
        time.sleep(0.01)  # lists are logged behind the answer
    assert [(row.user, len(row.items)) for row in map(shelf.shown, given)] == [(users[0], 3), (users[1], 4)]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/similar", {"item_id": "i001"}), ("/v1/rerank", {"query": "a", "documents": ["a"]}),
     ("/v1/rerank", {"item_ids": ["i001"], "user_id": "u"}),
     ("/v1/chat/completions", {"model": "default", "stream": True, "messages": [{"role": "user", "content": "hi"}]})],
)  # fmt: skip
def test_every_list_and_reply_names_its_answer(api, path, body):
    answer = api.post(path, json=body, headers={"x-request-id": "sent"})
    assert answer.is_success and answer.headers["x-request-id"] == "sent"
    assert answer.headers["x-answer-id"].startswith("sent-")
    if "stream" in body:
        assert f'"request_id": "{answer.headers["x-answer-id"]}"' in answer.text


def test_talks_by_one_request_id_log_their_lists_both(api, backend):
    body = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
    sent = {"x-request-id": "turn"}
    replies = [api.post("/v1/chat/completions", json=body, headers=sent) for _ in range(2)]
    given = [one.json()["id"] for one in replies]
    named = [one.json()["choices"][0]["message"]["request_id"] for one in replies]
    assert [one.headers["x-answer-id"] for one in replies] == named
    shelf = backend.service.tenant("default").shelf
    end = time.monotonic() + LONG
    while len(shelf.shown_between(0, 1e12)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    rows = shelf.shown_between(0, 1e12)
    assert sorted(f"chatcmpl-{row.request}" for row in rows) == sorted(set(given))
    assert sorted(row.request for row in rows) == sorted(named)


def test_a_trace_says_what_each_stage_did(api, data):
    steps = ask(api, user_id=user_of(data), trace=True).json()["trace"]
    assert [step["stage"] for step in steps] == ["retrieve", "retrieve", "control"]
    assert ask(api, user_id=user_of(data)).json()["trace"] is None


def test_the_list_by_address_is_the_same(api, data):
    answer = api.get(f"/v1/users/{user_of(data)}/recommendations?n=4")
    assert ids(answer) == ids(ask(api, user_id=user_of(data), n=4))


def test_similar_items_leave_the_item_out(api, data):
    one = data.catalog.items.ids[3]
    answer = api.post("/v1/similar", json={"item_id": one, "n": 5})
    assert len(ids(answer)) == 5 and one not in ids(answer)
    assert api.post("/v1/similar", json={"item_id": "none"}).status_code == 404


def test_documents_are_ordered_by_the_words_of_the_query(api):
    documents = ["a book on gardens", {"text": "how to sail a boat"}, "cooking"]
    answer = api.post(
        "/v1/rerank", json={"query": "sail boat", "documents": documents, "top_n": 2, "return_documents": True}
    )
    results = answer.json()["results"]
    assert [one["index"] for one in results] == [1, 0] and results[0]["document"]["text"] == "how to sail a boat"
    assert results[0]["relevance_score"] > results[1]["relevance_score"]


def test_items_are_ordered_for_a_user_and_only_those(api, data):
    some = data.catalog.items.ids[:6].tolist()
    answer = api.post("/v1/rerank", json={"user_id": user_of(data), "item_ids": [*some, "unknown"]})
    results = answer.json()["results"]
    assert sorted(one["item_id"] for one in results) == sorted(some)
    assert all(some[one["index"]] == one["item_id"] for one in results)
    assert api.post("/v1/rerank", json={"query": "x"}).status_code == 422


def test_an_event_changes_the_next_answer(api, data):
    user = user_of(data)
    first = ids(ask(api, user_id=user, n=5))
    api.post("/v1/events", json={"event_id": "e1", "user_id": user, "item_id": first[0], "type": "like"})
    later = ids(ask(api, user_id=user, n=5))
    assert first[0] not in later


def test_events_of_a_visit_count_for_the_visit(api, data):
    one = data.catalog.items.ids[2]
    before = ids(ask(api, session={"id": "s1"}, n=5))
    api.post("/v1/events", json={"event_id": "v1", "session_id": "s1", "item_id": one, "type": "like"})
    after = ids(ask(api, session={"id": "s1"}, n=5))
    assert before != after and one not in after


def test_a_new_item_can_be_recommended_at_once_and_a_deleted_one_never(tmp_path, data):
    config = {"retrieve": [{"use": "frozen_encoder", "encoder": "tfidf"}]}
    with TestClient(make_app(backend_over(tmp_path, world("cold").data, config)), base_url=URL) as api:
        catalog = world("cold").data.catalog
        liked = catalog.items.ids[0]
        new = {"title": catalog[liked].title, "text": catalog[liked].text, "attributes": {}}
        assert api.put("/v1/items/new-one", json=new).status_code == 200
        assert "new-one" in ids(ask(api, history=[liked], n=3))
        assert api.delete("/v1/items/new-one").json() == {"deleted": True}
        assert "new-one" not in ids(ask(api, history=[liked], n=50))
        assert api.get("/v1/items/new-one").status_code == 404


def test_explanations_by_themselves(api, data):
    liked, other = data.catalog.items.ids[0], data.catalog.items.ids[2]
    told = api.post("/v1/explanations", json={"history": [liked], "item_id": other}).json()
    assert told["faithful"] is True and told["evidence"] and told["text"]
    assert api.post("/v1/explanations", json={"item_id": "none"}).status_code == 404


def test_without_a_pipeline_the_server_says_what_to_do(tmp_path):
    with TestClient(make_app(backend_over(tmp_path)), base_url=URL) as api:
        assert api.get("/health/ready").status_code == 503
        assert refused(api, 409, user_id="u")["type"] == "state"


def test_readiness_says_nothing_of_tenants(backend, data, monkeypatch):
    """Anybody may ask: the answer is the same however many tenants, pipelines and items there are, and costs the same."""
    counted = []
    with TestClient(make_app(backend), base_url=URL) as api:
        before = api.get("/health/ready").json()
        other = backend.service.tenant("other")
        other.import_data(data)
        other.fit("second", {"retrieve": [{"use": "popular"}]})
        for tenant in backend.service.tenants.values():
            monkeypatch.setattr(tenant.shelf, "count", counted.append)
        answer = api.get("/health/ready")
    assert answer.status_code == 200 and counted == []
    told = {**answer.json(), "seconds_up": before["seconds_up"]}
    assert told == before == {"status": "ok", "reasons": [], "seconds_up": before["seconds_up"]}


@pytest.mark.parametrize("config", [CLASSIC, {"retrieve": [{"use": "ials", "factors": 8, "sweeps": 3}]}])
def test_a_restart_serves_the_same_lists(tmp_path, data, config):
    asked = {"user_id": user_of(data), "n": 8}
    with TestClient(make_app(backend_over(tmp_path, data, config)), base_url=URL) as api:
        before = ids(ask(api, **asked))
    with TestClient(make_app(backend_over(tmp_path)), base_url=URL) as api:
        assert ids(ask(api, **asked)) == before
