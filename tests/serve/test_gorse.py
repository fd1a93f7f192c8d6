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


def eventually(true, seconds=10.0):
    """Wait until it is; what follows the store looks several times a second."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


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


def test_a_list_is_named_by_a_header_for_the_events_that_come_of_it(api):
    sent = {"x-request-id": "by-a-proxy"}
    answers = [api.get(path, headers=sent) for path in ("/api/recommend/bob", "/api/item/i001/neighbors")]
    named = [one.headers["x-answer-id"] for one in answers]
    eventually(lambda: all(api.shelf.shown(one) for one in named))
    assert [list(api.shelf.shown(named[0]).items), len(set(named))] == [answers[0].json(), 2]
    event = {"event_id": "e", "user_id": "bob", "item_id": answers[0].json()[0], "request_id": named[0]}
    assert api.post("/v1/events", json=event).is_success and len(api.shelf.outcomes([named[0]])) == 1


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


@pytest.mark.parametrize("path", ["popular", "latest", "recommend/bob?category=", "item/i001/neighbors"])
def test_no_item_has_a_category_that_nobody_gave(api, path):
    answer = api.get(f"/api/{path}{'' if path.endswith('=') else '/'}sea")
    assert answer.status_code == 200 and answer.json() == []


def test_a_patch_changes_what_it_names(api):
    api.post("/api/item", json=ITEM)

    def patched(**more):
        assert api.patch("/api/item/new%2F1", json=more).json() == {"RowAffected": 1}
        return api.get("/api/item/new%2F1").json()

    assert patched() == ITEM == patched(IsHidden=None, Categories=None, Timestamp=None, Labels=None, Comment=None)
    assert patched(Labels={"genres": ["Sea"]}) == ITEM | {"Labels": {"genres": ["Sea"]}}
    assert patched(Labels=ITEM["Labels"], Comment="Another") == ITEM | {"Comment": "Another"}
    assert patched(Categories=[])["Categories"] == [] and patched(Categories=["sea"])["Labels"] == ITEM["Labels"]
    assert patched(Timestamp="2021-01-01T00:00:00Z")["Timestamp"] == "2021-01-01T00:00:00Z"
    assert patched(Comment="")["Comment"] == ""
    assert api.patch("/api/item/nothing", json={"Comment": "x"}).status_code == 404
    assert api.patch("/api/item/new%2F1", json={"Timestamp": "soon"}).status_code == 422


@pytest.mark.parametrize("at", [ITEM["Timestamp"], "0001-01-01T00:00:00Z"])
def test_an_item_that_is_hidden_and_shown_again_keeps_its_time(api, at):
    def offered():
        return "new/1" in api.get("/api/recommend/bob", params={"n": 100}).json()

    api.post("/api/item", json=ITEM | {"Timestamp": at})
    assert offered()
    api.patch("/api/item/new%2F1", json={"IsHidden": True})
    assert api.get("/api/item/new%2F1").json() == ITEM | {"IsHidden": True, "Timestamp": at} and not offered()
    stored = api.get("/v1/items/new%2F1").json()
    same = {name: stored[name] for name in ("title", "text", "attributes", "titles", "texts", "since")}
    assert api.put("/v1/items/new%2F1", json=same).status_code == 200, "what we tell can be sent back"
    api.patch("/api/item/new%2F1", json={"IsHidden": False})
    assert api.get("/api/item/new%2F1").json() == ITEM | {"Timestamp": at} and offered()


def test_a_patch_of_a_user_keeps_the_rest(api):
    api.put("/v1/users/bob", json={"attributes": {"age": 30.0, "comment": "a friend"}, "lang": "zh"})
    assert api.patch("/api/user/bob", json={"Labels": ["sea"]}).json() == {"RowAffected": 1}
    assert api.shelf.user("bob") == UserRow("bob", {"labels": ["sea"], "comment": "a friend"}, "zh")
    api.patch("/api/user/bob", json={"Comment": ""})
    assert api.shelf.user("bob") == UserRow("bob", {"labels": ["sea"]}, "zh")
    api.patch("/api/user/known-by-events", json={"Comment": "new here"})
    assert api.get("/api/user/known-by-events").json()["Comment"] == "new here"


def test_neighbours_are_like_the_item_and_never_it(api):
    found = api.get("/api/item/i001/neighbors", params={"n": 5}).json()
    alike = api.post("/v1/similar", json={"item_id": "i001", "n": 5}).json()["items"]
    assert found == [{"Id": one["item_id"], "Score": one["score"]} for one in alike] and len(found) == 5
    assert "i001" not in [one["Id"] for one in found]
    assert api.get("/api/item/i001/neighbors", params={"n": 3, "offset": 2}).json() == found[2:]
    api.post("/api/items", json=[{**ITEM, "ItemId": "sea"}])
    assert [one["Id"] for one in api.get("/api/item/i001/neighbors/sea", params={"n": 5}).json()] == ["sea"]
    assert api.get("/api/item/nothing/neighbors").status_code == 404


def test_popular_items_are_those_with_most_events(api):
    before = api.get("/api/popular", params={"n": 100}).json()
    assert [one["Score"] for one in before] == sorted((one["Score"] for one in before), reverse=True)
    last = before[-1]["Id"]
    api.post("/api/items", json=[{**ITEM, "ItemId": "sea"}, {**ITEM, "ItemId": "unmet"}])
    api.post("/api/feedback", json=[feedback(UserId=f"p{n}", ItemId=one) for n in range(200) for one in (last, "sea")])
    eventually(lambda: api.get("/api/popular").json()[0] == {"Id": last, "Score": before[-1]["Score"] + 200})
    found = api.get("/api/popular", params={"n": 100}).json()
    assert "unmet" not in [one["Id"] for one in found]
    assert api.get("/api/popular", params={"n": 2, "offset": 1}).json() == found[1:3]
    assert api.get("/api/popular/sea").json() == [{"Id": "sea", "Score": 200}]
    assert api.get("/api/popular", params={"category": "sea"}).json() == [{"Id": "sea", "Score": 200}]
    assert last not in [one["Id"] for one in api.get("/api/popular", params={"user-id": "p1", "n": 100}).json()]
    api.patch(f"/api/item/{last}", json={"IsHidden": True})
    assert last not in [one["Id"] for one in api.get("/api/popular", params={"n": 100}).json()]


def test_latest_items_are_those_with_the_newest_times(api):
    assert api.get("/api/latest").json() == []
    dated = {"old": "2001-01-01T00:00:00Z", "new": "2021-01-01T00:00:00Z", "coming": "2500-01-01T00:00:00Z"}
    api.post("/api/items", json=[{**ITEM, "ItemId": one, "Timestamp": at} for one, at in dated.items()])
    assert api.get("/api/latest").json() == [{"Id": "new", "Score": 1609459200}, {"Id": "old", "Score": 978307200}]
    api.patch("/api/item/old", json={"Categories": ["rare"]})
    assert [one["Id"] for one in api.get("/api/latest/rare").json()] == ["old"]
    api.post("/api/feedback", json=[feedback(ItemId="new")])
    assert [one["Id"] for one in api.get("/api/latest", params={"user-id": "bob"}).json()] == ["old"]
    api.delete("/api/item/old")
    assert [one["Id"] for one in api.get("/api/latest").json()] == ["new"]


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
