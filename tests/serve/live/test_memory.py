"""Answers of language models are kept for the same question again, by tenant, up to a size, and go with their owners."""

import json
import threading
import time

import numpy as np
import pytest
from sqlalchemy import text
from tests.serve.conftest import URL, TestClient, backend_over, make_app
from tests.serve.test_erase import hits

from hexarec.core import Lists, StateError
from hexarec.core import load as load_state
from hexarec.core import save as save_state
from hexarec.data.worlds import world
from hexarec.lm.cassette import Cassette
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_lm
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.build import resolve
from hexarec.serve.live import recommender
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.memory import Memory, asking, remembering
from hexarec.serve.service import Service

RANKED = {
    "retrieve": [{"use": "popular"}], "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "rounds": 1, "shuffle": False},
    "explain": {"use": "because", "lm": "fake:overlap"},
}  # fmt: skip
HITS = "hexarec_llm_cache_hits_total "


@pytest.fixture
def served(tmp_path, request):
    made = backend_over(tmp_path / "home", world("checkerboard").data, RANKED, **getattr(request, "param", {}))
    with TestClient(make_app(made), base_url=URL) as client:
        client.backend, client.shelf = made, made.service.tenant().shelf
        yield client


def asked(client, **body):
    made = client.post("/v1/recommend", json={"n": 5, **body}).json()
    assert made["degraded"] == []
    client.put("/v1/users/flush", json={})  # answered when what was written before it is on disk
    return made


def counted(client):
    return float(client.get("/metrics").text.partition(f"\n{HITS}")[2].partition("\n")[0])


def test_the_same_question_is_answered_from_the_store(served):
    first = asked(served, user_id="u1")
    assert first["usage"]["calls"] == 1 and first["usage"]["tokens"] > 0 and first["usage"]["cached"] == 0
    again = asked(served, user_id="u1")
    assert again["items"] == first["items"]
    assert (again["usage"]["calls"], again["usage"]["tokens"], again["usage"]["cached"]) == (0, 0, 1)
    assert counted(served) == 1.0 and served.shelf.count("cache") == 1
    known = world("checkerboard").data.users.ids.ids[0]
    assert asked(served, user_id=known)["usage"]["calls"] == 1


def test_a_method_that_shuffles_asks_the_same_question_again(served):
    """What it draws follows from the question, not from the moment."""
    config = {**RANKED, "rank": {**RANKED["rank"], "shuffle": True, "rounds": 3}}
    served.backend.service.tenant().fit("shuffled", config)
    first, again = (asked(served, user_id="u1", pipeline="shuffled") for _ in range(2))
    assert first["usage"]["calls"] == 3 and again["items"] == first["items"]
    assert (again["usage"]["calls"], again["usage"]["cached"]) == (0, 3)


def test_a_new_event_is_another_question(served):
    asked(served, user_id="u1")
    served.post("/v1/events", json={"event_id": "e", "user_id": "u1", "item_id": "i001", "type": "like"})
    assert asked(served, user_id="u1")["usage"]["calls"] == 1


def test_tenants_share_nothing(served):
    other = served.backend.service.tenant("other")
    other.import_data(world("checkerboard").data)
    other.fit("default", RANKED)
    asked(served, user_id="u1")
    made = other.recommender().submit(Ask(user="u1", k=5)).result(10)
    assert made.calls == 1 and made.cached == 0


def test_a_restarted_server_knows_the_answers(served, tmp_path):
    asked(served, user_id="u1")
    again = Service(served.backend.service.store, served.backend.settings)
    assert again.tenant().recommender().submit(Ask(user="u1", k=5)).result(10).cached == 1
    again.tenant().close()


@pytest.mark.parametrize("served", [{"lm_cache_mb": 0.0}], indirect=True)
def test_without_room_nothing_is_kept(served):
    assert [asked(served, user_id="u1")["usage"]["calls"] for _ in range(2)] == [1, 1]
    assert served.shelf.count("cache") == 0 and counted(served) == 0.0


@pytest.mark.parametrize("served", [{"lm_cache_mb": 0.008}], indirect=True)
def test_no_more_is_kept_than_fits(served):
    pairs = [(f"i0{a:02}", f"i0{b:02}") for a in range(1, 9) for b in range(a)]
    for pair in pairs:
        asked(served, user_id="u1", exclude=list(pair), n=10)
    (row,) = served.shelf._rows(text("SELECT sum(length(value) + length(key)) AS size, count(*) AS n FROM cache"))
    assert 4_000 < row.size <= 8_000 and row.n < len(pairs) == 36
    assert asked(served, user_id="u1", exclude=list(pairs[-1]), n=10)["usage"]["cached"] == 1
    assert asked(served, user_id="u1", exclude=list(pairs[0]), n=10)["usage"]["cached"] == 0


def test_erasing_a_user_removes_their_answers(served, tmp_path):
    user, session = "canary-person", "canary-visit"
    served.post("/v1/events", json={"event_id": "e", "user_id": user, "session_id": session, "item_id": "i001"})
    asked(served, user_id=user, session={"id": session})
    assert asked(served, session={"id": session})["usage"]["cached"] == 1  # the same history, so the same question
    asked(served, session={"id": session}, exclude=["i002"])
    served.post("/v1/explanations", json={"item_id": "i003", "user_id": user})
    asked(served, user_id="u1")
    kept = served.shelf.count("cache")
    removed = served.delete(f"/v1/users/{user}").json()["erased"]
    assert removed["cache"] == kept - 1 >= 3 and served.shelf.count("cache") == 1
    assert hits(tmp_path / "home", user, session)[0] == []
    assert asked(served, user_id="u1")["usage"]["cached"] == 1


def test_words_of_an_erased_user_leave_no_byte(tmp_path):
    """What a model answers may repeat what it was told."""
    backend = backend_over(tmp_path / "home", world("checkerboard").data, RANKED)
    tenant, word = backend.service.tenant(), "canary-said-4f"
    tape = Memory(tenant.shelf, 10_000)
    with asking(["u1", "u2"], time.time()):
        tape.put("key", {"text": word})
    tenant.shelf.put_users([])
    assert tenant.shelf.cached("key") and hits(tmp_path / "home", word)[0]
    with asking(["u3"], time.time()):
        assert tape.get("key") == {"text": word}
    tenant.shelf.put_users([])
    assert [row["table"] for row in tenant.shelf.export_user("u3") if "cache" in row["table"]] == [
        "cache",
        "cache_owners",
    ]
    tenant.shelf.erase_user("u3")
    tenant.shelf.scrub()
    assert tenant.shelf.cached("key") is None and hits(tmp_path / "home", word)[0] == []
    backend.service.close()


def test_an_answer_to_what_was_asked_before_an_erasure_is_not_kept(served, monkeypatch):
    """The history is read, then its user is erased, then the model is asked."""
    shelf, usual = served.backend.service.tenant().shelf, recommender.queries_of

    def erased_first(*told):
        shelf.erase_user("u1")
        time.sleep(0.01)
        return usual(*told)

    monkeypatch.setattr(recommender, "queries_of", erased_first)
    asked(served, user_id="u1")
    shelf.put_users([])
    assert shelf.count("cache") == 0


def test_a_store_that_fails_costs_no_answer(served, monkeypatch):
    asked(served, user_id="u1")

    def fails(*_):
        raise StateError("the store is down")

    for name in ("cached", "cache_soon", "cache_met_soon", "trim_cache_soon"):
        monkeypatch.setattr(served.shelf, name, fails)
    made = asked(served, user_id="u1")
    assert made["usage"]["calls"] == 1 and made["usage"]["cached"] == 0
    assert served.backend.service.tenant()._memory.lost >= 1


def test_a_bad_answer_is_not_kept(tmp_path):
    """What the asking stage could not use is asked again."""
    data = world("checkerboard").data
    backend = backend_over(tmp_path, data, RANKED)
    shelf = backend.service.tenant().shelf
    ranker = remembering(LLMRank(open_lm("fake:garbage"), backend="list"), Memory(shelf, 100_000))
    queries = data.queries(np.arange(1))
    ranker.fit(data).rank(queries, Lists.of(data.catalog.key, [[1, 2, 3]]))
    shelf.put_users([])
    assert shelf.count("cache") == 0 and ranker.lm.misses > 0
    backend.service.close()


def test_hits_of_threads_are_all_counted():
    with asking([], 0.0) as now:
        threads = [threading.Thread(target=lambda: [now.hit() for _ in range(500)]) for _ in range(8)]
        [one.start() for one in threads], [one.join() for one in threads]
    assert now.hits == 4_000


def test_a_system_that_remembers_is_saved_as_the_one_it_is(tmp_path):
    model = Guarded(open_lm("fake:overlap"), retries=5, price_in=2.0)
    made = remembering(LLMRank(model, backend="list"), Memory(None, 1_000))
    assert isinstance(made.lm, Cassette) and made.lm.options == model.options
    back = load_state(save_state(made, tmp_path / "x"), resolve)
    assert type(back.lm) is Guarded and back.lm.options == model.options
    assert json.loads((tmp_path / "x" / "nodes.json").read_text())
