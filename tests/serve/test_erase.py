"""After an erasure no byte of the user is left in any file, and nothing brings them back."""

import asyncio
import io
import json
import threading
import time
import zipfile

import numpy as np
import polars as pl
import pytest

from hexarec.core import StateError
from hexarec.data.worlds import world
from hexarec.serve import answering
from hexarec.serve.erase import erased
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs import simulating
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.live import tenant as live
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.settings import ANSWER_SECONDS

from .conftest import CLASSIC, URL, TestClient, backend_over

CANARY = "canary-7f3a9d"
PROFILES = {
    "retrieve": [{"use": "itemknn", "neighbours": 10}, {"use": "ials", "factors": 4, "sweeps": 2}, {"use": "popular"}]
}


def bytes_of(folder):
    """(every file with its bytes, arrays unpacked): what an attacker with the disk reads."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        yield path, raw
        if path.suffix == ".npz":
            with zipfile.ZipFile(io.BytesIO(raw)) as packed:
                for name in packed.namelist():
                    yield path / name, packed.read(name)
            with np.load(path, allow_pickle=False) as arrays:
                for name in arrays.files:
                    yield path / name, repr(arrays[name].tolist()).encode()
        elif path.suffix == ".parquet":
            yield path / "rows", pl.read_parquet(path).write_ndjson().encode()


def hits(folder, *words):
    found, size = [], 0
    for path, raw in bytes_of(folder):
        size += len(raw)
        found += [(str(path), word) for word in words for form in (word.encode(), word.encode("utf-16-le"), word.encode("utf-32-le"))
                  if form in raw]  # fmt: skip
    return found, size


@pytest.fixture
def served(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, PROFILES)
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client, backend, tmp_path / "home"


def lives(client, user):
    """Use everything that keeps something of a user; the words that must be gone later."""
    words = {kind: f"{CANARY}-{kind}" for kind in ("event", "session", "text", "attribute", "said", "talk", "request")}
    events = [
        {"event_id": f"{words['event']}-{i}", "user_id": user, "session_id": words["session"], "item_id": f"i0{10 + i}",
         "type": "like", "text": words["text"], "request_id": words["request"]} for i in range(8)
    ]  # fmt: skip
    assert client.post("/v1/events", json={"events": events}).is_success
    assert client.post(
        "/v1/events", json={"event_id": words["event"], "session_id": words["session"], "item_id": "i001"}
    ).is_success
    assert client.put(f"/v1/users/{user}", json={"attributes": {"taste": words["attribute"]}}).is_success
    asked = {"user_id": user, "explain": True, "trace": True, "session": {"id": words["session"]}}
    assert client.post("/v1/recommend", json=asked, headers={"x-request-id": words["request"]}).is_success
    assert client.get(f"/v1/users/{user}/recommendations").is_success
    assert client.post("/v1/explanations", json={"item_id": "i001", "user_id": user}).status_code in (200, 409)
    chat = {"model": "default", "user": user, "dialogue_id": words["talk"],
            "messages": [{"role": "user", "content": words["said"]}]}  # fmt: skip
    assert client.post("/v1/chat/completions", json=chat).is_success
    return [CANARY, *words.values(), user]


def worked(backend, client, kind, **args):
    made = client.post("/v1/jobs", json={"kind": kind, "args": args}).json()
    Runner(backend.service).one()
    found = client.get(f"/v1/jobs/{made['id']}").json()
    assert found["state"] == "done", found
    return found


def test_no_byte_is_left(served, capsys):
    client, backend, home = served
    user = f"{CANARY}-user"
    words = lives(client, user)
    worked(backend, client, "fit", config=PROFILES, pipeline="second")
    worked(backend, client, "fit", config=PROFILES)  # a second version of the first
    worked(backend, client, "recommend", pipeline="second")
    before, _ = hits(home, *words)
    kinds = {path.split("/home/")[1].split("/")[0] for path, _ in before}
    assert (
        {"store.sqlite-wal", "pipelines", "jobs"} <= kinds | {"store.sqlite-wal"}
        and "jobs" in kinds
        and "pipelines" in kinds
    )
    held = [json.loads(line) for line in client.get(f"/v1/users/{user}/export").text.splitlines()]
    assert {one["table"] for one in held} >= {"users", "events", "shown", "answers", "dialogues"}
    assert sum(one["table"] == "events" for one in held) == 9  # with the visit's, which said no name

    started = time.monotonic()
    made = client.delete(f"/v1/users/{user}")
    assert made.status_code == 200 and made.json()["erased"]["events"] == 9
    assert made.json()["erased"]["saved pipelines"] == 3 and made.json()["erased"]["files of jobs"] >= 1
    seconds = time.monotonic() - started
    after, size = hits(home, *words)
    with capsys.disabled():
        print(f"\nerasure: {len(before)} places before, {len(after)} after, {size:,} bytes scanned, {seconds:.2f} s")
    assert after == []

    assert client.get(f"/v1/users/{user}/export").text == ""
    assert client.get(f"/v1/users/{user}").status_code == 404
    one, other = (client.post("/v1/recommend", json={"user_id": name}).json() for name in (user, "somebody-new"))
    assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]]
    told = client.get("/v1/audit").json()
    assert told["broken_at"] is None and "erase user" in [row["what"] for row in told["rows"]]
    assert CANARY not in json.dumps(told)


def test_answers_to_visits_go_with_the_user_when_no_list_is_logged(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, PROFILES, log_shown=False)
    with TestClient(make_app(backend), base_url=URL) as client:
        asked = {"session": {"id": f"{CANARY}-visit", "events": [{"item_id": "i001"}]}, "explain": True}
        mine, other = (client.post("/v1/recommend", json=one).json()["request_id"]
                       for one in (asked, {"history": ["i001"], "trace": True}))  # fmt: skip
        event = {"event_id": "e", "user_id": "u1", "session_id": f"{CANARY}-visit", "item_id": "i001"}
        assert client.post("/v1/events", json=event).is_success
        assert client.delete("/v1/users/u1").json()["erased"]["answers"] == 1
        assert client.get(f"/v1/answers/{mine}").status_code == 404
        assert client.get(f"/v1/answers/{other}").is_success  # nobody's: it goes by its age
        assert hits(tmp_path / "home", f"{CANARY}-visit")[0] == []


def test_a_question_on_its_way_when_its_user_is_erased_is_not_kept(served, monkeypatch):
    client, backend, _ = served
    tenant, user = backend.service.tenant("default"), f"{CANARY}-user"

    async def erased_meanwhile(*given):
        made = await answer(*given)
        await asyncio.to_thread(erased, tenant, user, scrub=False)
        return made

    answer = answering._from
    monkeypatch.setattr(answering, "_from", erased_meanwhile)
    asked = {"user_id": user, "history": ["i001"], "trace": True}
    visit = {"session": {"id": "s", "events": [{"item_id": "i001"}]}, "user_id": user, "explain": True}
    for one in (asked, visit):
        given = client.post("/v1/recommend", json=one)
        assert given.json()["items"] and client.get(f"/v1/answers/{given.json()['request_id']}").status_code == 404
    chat = {"model": "default", "user": user, "dialogue_id": "d", "messages": [{"role": "user", "content": CANARY}]}
    assert client.post("/v1/chat/completions", json=chat).status_code == 409
    tenant.shelf.sweep_answers(0.0)  # behind what would be logged
    assert tenant.shelf.dialogue("d") is None and list(tenant.shelf.export_user(user)) == []
    monkeypatch.undo()
    kept = client.post("/v1/recommend", json=asked).json()["request_id"]  # what is asked afterwards counts
    assert client.get(f"/v1/answers/{kept}").is_success and client.post("/v1/chat/completions", json=chat).is_success
    assert tenant.shelf.dialogue("d") is not None


def test_a_talk_on_its_way_when_its_user_is_erased_logs_no_list(served):
    client, backend, _ = served
    tenant, user = backend.service.tenant("default"), f"{CANARY}-user"

    class Erases:
        """A conversationalist that fails after its user was erased: a list takes its place."""

        def converse(self, dialogues, desk):
            erased(tenant, user, scrub=False)
            raise StateError("no words")

    tenant.recommender().current.pipeline.converse_ = Erases()
    chat = {"model": "default", "user": user, "messages": [{"role": "user", "content": CANARY}]}
    told = client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]
    assert told["items"] and told["degraded"]
    tenant.shelf.sweep_answers(0.0)  # behind the list that would be logged
    assert list(tenant.shelf.export_user(user)) == []


def test_a_worker_deletes_answers_to_nobody_by_their_age(tmp_path):
    backend = backend_over(tmp_path / "home", world("checkerboard").data, PROFILES)
    shelf, now = backend.service.tenant("default").shelf, time.time()
    for request, age in (("old", ANSWER_SECONDS + 60), ("young", ANSWER_SECONDS - 60)):
        shelf.keep_answer_soon(request, None, now - age, {"of": request}).result()
    runner = Runner(backend.service, poll=0.01)
    runner.start()
    end = time.monotonic() + 10
    while shelf.answer("old") is not None and time.monotonic() < end:
        time.sleep(0.01)
    runner.close()
    assert shelf.answer("old") is None and shelf.answer("young") is not None
    backend.service.close()


def test_pipelines_serve_on_and_the_others_keep_their_lists(served):
    client, backend, _ = served
    lives(client, f"{CANARY}-user")
    tenant = backend.service.tenant("default")
    tenant.fit("default", PROFILES)
    before = client.post("/v1/recommend", json={"user_id": "u1"}).json()
    client.delete(f"/v1/users/{CANARY}-user?scrub=false")
    after = client.post("/v1/recommend", json={"user_id": "u1"}).json()
    assert after["items"] == before["items"] and after["version"] == before["version"]
    again = Tenant(tenant.shelf, tenant.folder)
    again.refresh()
    assert again.broken == {} and set(again.served) == {"default"}
    again.close()


def test_another_process_takes_up_what_was_written_anew(served):
    client, backend, _ = served
    user = f"{CANARY}-user"
    lives(client, user)
    tenant = backend.service.tenant("default")
    tenant.fit("default", PROFILES)
    other = Tenant(tenant.shelf, tenant.folder)
    other.refresh()
    old = other.served["default"].current
    assert user in everybody(old.pipeline)
    client.delete(f"/v1/users/{user}?scrub=false")
    other.refresh()
    new = other.served["default"]
    assert new.current.version == old.version and new.current is not old and new.previous is None
    assert user not in everybody(new.current.pipeline)
    assert user not in everybody(tenant.served["default"].current.pipeline)
    other.close()


def everybody(pipeline):
    """Every id of a user that a pipeline in memory knows."""
    from hexarec.core import IdTable, PerUser
    from hexarec.core.options import is_stage

    found, seen = set(), set()

    def walk(thing):
        if id(thing) in seen:
            return
        seen.add(id(thing))
        if isinstance(thing, PerUser):
            found.update(thing.users.ids.tolist() if hasattr(thing, "users") else ())
        if isinstance(thing, IdTable):
            found.update(thing.ids.tolist())
        if isinstance(thing, list | tuple):
            [walk(one) for one in thing]
        elif isinstance(thing, dict):
            [walk(one) for one in thing.values()]
        elif is_stage(thing) or hasattr(thing, "__dict__") and type(thing).__module__.startswith("hexarec."):
            [walk(one) for one in vars(thing).values()]

    walk(pipeline)
    return found


def test_a_fit_that_runs_meanwhile_forgets_too(served, monkeypatch):
    client, backend, home = served
    user = f"{CANARY}-user"
    words = lives(client, user)
    tenant = backend.service.tenant("default")
    usual = live.fitted_version

    def slow(config, kept, data, folder, name, seed):
        assert user in data.users.ids.ids.tolist()  # it was read before the erasure
        erased(tenant, user, scrub=False)
        return usual(config, kept, data, folder, name, seed)

    monkeypatch.setattr(live, "fitted_version", slow)
    tenant.fit("default", PROFILES)
    tenant.shelf.scrub()
    assert hits(home, *words)[0] == []
    assert user not in everybody(tenant.served["default"].current.pipeline)


def test_a_user_who_comes_back_stays(served):
    client, backend, _ = served
    user = f"{CANARY}-user"
    lives(client, user)
    client.delete(f"/v1/users/{user}?scrub=false")
    said = {"event_id": "new", "user_id": user, "item_id": "i010", "type": "like"}
    assert client.post("/v1/events", json=said).json()["accepted"] == 1
    old = {**said, "event_id": "old", "time": time.time() - 100}
    assert client.post("/v1/events", json=old).json()["accepted"] == 0
    tenant = backend.service.tenant("default")
    tenant.fit("default", PROFILES)
    assert user in everybody(tenant.served["default"].current.pipeline)


def test_erasing_while_events_come_in(served):
    client, backend, home = served
    user, stop, sent = f"{CANARY}-user", threading.Event(), []
    lives(client, user)

    def talk(who):
        turn = 0
        while not stop.is_set():
            turn += 1
            said = {"event_id": f"{who}-{turn}", "user_id": user, "item_id": "i010", "time": time.time() - 60}
            sent.append(client.post("/v1/events", json=said).status_code)
            client.post("/v1/recommend", json={"user_id": user})

    threads = [threading.Thread(target=talk, args=(f"{CANARY}-t{i}",)) for i in range(3)]
    for one in threads:
        one.start()
    for _ in range(3):
        time.sleep(0.1)
        assert client.delete(f"/v1/users/{user}?scrub=false").status_code == 200
    stop.set()
    for one in threads:
        one.join()
    assert set(sent) == {201} and len(sent) >= 3
    assert client.get(f"/v1/users/{user}/export").text.count('"table": "events"') == 0  # all were from before
    client.delete(f"/v1/users/{user}")
    assert hits(home, CANARY)[0] == []
    assert client.get("/v1/audit").json()["broken_at"] is None


def test_an_erasure_is_audited_even_when_the_bytes_stay(served, monkeypatch):
    from hexarec.core import StateError

    client, backend, _ = served
    shelf = backend.service.tenant("default").shelf
    monkeypatch.setattr(shelf, "scrub", lambda: (_ for _ in ()).throw(StateError("somebody reads")))
    assert client.delete("/v1/users/u1").status_code == 409
    assert "erase user" in [row["what"] for row in client.get("/v1/audit").json()["rows"]]
    assert client.get("/v1/users/u1/export").text == ""


def test_classic_pipelines_too(tmp_path):
    data = world("checkerboard").data
    backend = backend_over(tmp_path / "home", data, CLASSIC)
    user = data.users.ids.ids[0]
    assert erased(backend.service.tenant("default"), user)["saved pipelines"] == 1
    backend.service.close()


def test_every_stage_is_asked_to_forget(monkeypatch):
    from hexarec.pipeline import make, pipeline

    made = make(CLASSIC).fit(world("checkerboard").data)
    made.converse_, asked = "the one that talks", []
    monkeypatch.setattr(pipeline, "forget", lambda stage, users: asked.append(stage) or stage)
    made.forget(["u1"])
    for stage in ("the one that talks", made.explain_, *made.retrieve_, *made.control_):
        assert any(one is stage for one in asked)


@pytest.mark.parametrize("ended", [True, False])
def test_an_erasure_takes_interviews_of_simulated_users_out_of_results(served, monkeypatch, ended):
    """What a simulated user says and remembers comes of the history of the user it was drawn from."""
    _, backend, home = served
    tenant = backend.service.tenant("default")
    usual = simulating.marked

    def telling(tenant, said, users):
        return usual(
            tenant, [{**one, "why": f"{CANARY}-{user}-says"} for one, user in zip(said, users, strict=True)], users
        )

    monkeypatch.setattr(simulating, "marked", telling)
    if not ended:
        add, calls = simulating._add, []

        def stops(*told):
            calls.append(add(*told))
            if len(calls) == 6:
                raise OSError("the machine stopped here")

        monkeypatch.setattr(simulating, "_add", stops)
    job = tenant.shelf.add_job("simulate", {"pipelines": "default", "users": 24, "pages": 2})
    assert Runner(backend.service).one()
    row = tenant.shelf.job(job.id)
    assert row.state == ("done" if ended else "failed"), row.error
    kept = row.result["curves"] if ended else simulating.read_curves(folder_of(tenant, job.id))
    says = [one["why"] for one in kept["default"]["said"]]
    gone, *others = (one.removeprefix(f"{CANARY}-").removesuffix("-says") for one in says)
    assert len(says) >= 4 and hits(home, says[0])[0]
    erased(tenant, gone)
    assert hits(home, says[0])[0] == []
    assert all(hits(home, f"{CANARY}-{user}-says")[0] for user in set(others) - {gone})
    row = tenant.shelf.job(job.id)
    now = row.result["curves"] if ended else simulating.read_curves(folder_of(tenant, job.id))
    assert [one["why"] for one in now["default"]["said"]] == [one for one in says if gone not in one]
    assert now["default"]["values"] == kept["default"]["values"]  # numbers without a name stay


def test_who_is_erased_while_a_simulation_runs_is_not_in_its_result(served, monkeypatch):
    _, backend, home = served
    tenant, gone = backend.service.tenant("default"), []
    usual = simulating.marked

    def telling(tenant, said, users):
        made = usual(
            tenant, [{**one, "why": f"{CANARY}-{user}-says"} for one, user in zip(said, users, strict=True)], users
        )
        if not gone:
            gone.append(users[0])
            erased(tenant, users[0], scrub=False)
        return made

    monkeypatch.setattr(simulating, "marked", telling)
    job = tenant.shelf.add_job("simulate", {"pipelines": "default", "users": 24, "pages": 2})
    assert Runner(backend.service).one()
    row = tenant.shelf.job(job.id)
    assert row.state == "done" and row.result["curves"]["default"]["said"], row.error
    assert hits(home, f"{CANARY}-{gone[0]}-says")[0] == []
