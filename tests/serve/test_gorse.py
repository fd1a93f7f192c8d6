"""gorse's shapes: what its clients send and read, with its header for keys, and only where it is asked for."""

import time

import pytest
from tests.serve.conftest import CLASSIC, URL, TestClient, backend_over, key_for, make_app

from hexarec.data.worlds import world
from hexarec.serve.store.rows import UserRow


@pytest.fixture
def api(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, CLASSIC, gorse=True)
    with TestClient(make_app(backend), base_url=URL) as client:
        client.backend, client.shelf = backend, backend.service.tenant().shelf
        yield client


def feedback(**more):
    return {"FeedbackType": "like", "UserId": "bob", "ItemId": "i001", "Timestamp": "2020-02-02T20:20:20Z", **more}


def test_without_the_setting_there_are_no_such_routes(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, CLASSIC)
    with TestClient(make_app(backend), base_url=URL) as client:
        assert client.get("/api/items").status_code == 404
        assert not [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/api/")]


def test_feedback_changes_what_is_recommended_and_counts_once(api):
    before = api.get("/api/recommend/bob", params={"n": 3}).json()
    assert len(before) == 3 and all(isinstance(one, str) for one in before)
    sent = [feedback(ItemId=one) for one in before] + [feedback(FeedbackType="read"), feedback()]
    assert api.post("/api/feedback", json=sent).json() == {"RowAffected": 5}
    assert api.post("/api/feedback", json=sent).json() == {"RowAffected": 0}
    assert api.post("/api/feedback", json=[feedback(Timestamp="", Value=3.0)]).json() == {"RowAffected": 0}
    assert not set(before) & set(api.get("/api/recommend/bob", params={"n": 3}).json())
    kinds = [(one.item, one.kind, one.time) for one in api.shelf.histories(["bob"])["bob"]]
    assert ("i001", "view", 1580674820.0) in kinds and ("i001", "like", 1580674820.0) in kinds


def test_feedback_that_is_put_is_one_more_event(api):
    for value in (1.0, 2.0, 2.0):
        api.put("/api/feedback", json=[feedback(FeedbackType="rate", Value=value, Comment="so so")])
    assert [(one.value, one.text) for one in api.shelf.histories(["bob"])["bob"]] == [(1.0, "so so"), (2.0, "so so")]


@pytest.mark.parametrize(
    ("more", "said"),
    [({"FeedbackType": "wished"}, "no feedback type"), ({"Timestamp": "yesterday"}, "no time"), ({"UserId": ""}, "at least"),
     ({"Timestamp": "2990-01-01T00:00:00Z"}, "from now"), ({"UserId": "session:x"}, "session"), ({"Value": "3"}, "number")],
)  # fmt: skip
def test_feedback_that_cannot_be_is_refused(api, more, said):
    answer = api.post("/api/feedback", json=[feedback(**more)])
    assert answer.status_code == 422 and said in answer.json()["error"]["message"]
    assert "bob" not in api.shelf.histories(["bob"])


ITEM = {
    "ItemId": "new/1", "IsHidden": False, "Categories": ["sea", "story"], "Timestamp": "2020-02-02T20:20:20Z",
    "Labels": {"genres": ["Ocean"], "year": 1999.0}, "Comment": "The new one",
}  # fmt: skip


def test_items_come_back_as_they_were_sent(api):
    assert api.post("/api/item", json=ITEM).json() == {"RowAffected": 1}
    assert api.get("/api/item/new%2F1").json() == ITEM
    bare = {"ItemId": "bare", "IsHidden": True, "Labels": ["a", "b"]}
    assert api.post("/api/items", json=[bare, {**ITEM, "ItemId": "x"}]).json() == {"RowAffected": 2}
    assert api.get("/api/item/bare").json() == {
        **bare, "Categories": [], "Timestamp": "0001-01-01T00:00:00Z", "Comment": "",
    }  # fmt: skip
    assert api.get("/v1/items/x").json()["title"] == "The new one"
    assert "bare" not in api.get("/api/recommend/bob", params={"n": 100}).json(), "a hidden item is not recommended"


def test_pages_of_items_and_users(api):
    api.post("/api/users", json=[{"UserId": f"p{n}"} for n in range(5)])
    for kind, most in (("Item", 24), ("User", len(api.shelf.users(most=100)))):
        seen, cursor = [], ""
        while True:
            page = api.get(f"/api/{kind.lower()}s", params={"cursor": cursor, "n": 3}).json()
            seen += [one[f"{kind}Id"] for one in page[f"{kind}s"]]
            cursor = page["Cursor"]
            if not cursor:
                break
        assert seen == sorted(seen) and len(seen) == most


def test_deleted_items_are_gone(api):
    assert api.delete("/api/item/i001").json() == {"RowAffected": 1} and api.delete("/api/item/i001").json() == {
        "RowAffected": 0
    }
    assert api.get("/api/item/i001").status_code == 404
    assert "i001" not in api.get("/api/recommend/bob", params={"n": 100}).json()


def test_categories_and_offsets(api):
    api.post("/api/items", json=[{**ITEM, "ItemId": f"sea{n}"} for n in range(3)])
    found = api.get("/api/recommend/bob", params={"category": "sea"}).json()
    assert set(found) == {"sea0", "sea1", "sea2"}
    assert api.get("/api/recommend/bob", params={"category": "sea", "offset": 1}).json() == found[1:]


def test_users_are_kept_and_erased(api):
    sent = {"UserId": "bob", "Labels": {"age": 30.0, "likes": ["sea"]}, "Comment": "a friend"}
    assert api.post("/api/user", json=sent).json() == {"RowAffected": 1} and api.get("/api/user/bob").json() == sent
    assert api.shelf.user("bob") == UserRow("bob", {"age": 30.0, "likes": ["sea"], "comment": "a friend"})
    api.post("/api/feedback", json=[feedback()])
    assert api.delete("/api/user/bob").json() == {"RowAffected": 1}
    assert api.get("/api/user/bob").status_code == 404 and list(api.shelf.export_user("bob")) == []


def test_the_key_may_come_in_gorses_header(api):
    head = key_for(api.backend, "recommend", tokens=5)["authorization"]
    key = head.removeprefix("Bearer ")
    time.sleep(1.1)  # until the server knows that there is a key
    assert api.get("/api/recommend/bob").status_code == 401
    assert api.get("/api/recommend/bob", headers={"X-API-Key": key}).status_code == 200
    assert api.get("/api/recommend/bob", headers={"X-API-Key": key[:-1]}).status_code == 401
    assert api.get("/api/items", headers={"X-API-Key": key}).status_code == 403
    assert api.get("/v1/users/bob/recommendations", headers={"X-API-Key": key}).status_code == 401, "here only"
    assert api.get("/api/recommend/bob", headers={"X-API-Key": "x", "authorization": head}).status_code == 200
