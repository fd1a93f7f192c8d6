"""A version is published by one assignment: 200 swaps while readers ask, and never half a model."""

import threading

import pytest

from hexarec.core import ModelError, StateError
from hexarec.serve.live.asks import Ask

POPULAR = {"retrieve": [{"use": "popular"}]}
RANDOM = {"retrieve": [{"use": "random"}], "rank": {"use": "itemknn"}}
SWAPS, READERS = 200, 3


def test_readers_never_see_half_a_model(tenant, data):
    tenant.fit("p", POPULAR)
    tenant.fit("p", RANDOM)
    user = data.users.ids.ids[0]
    served = tenant.recommender("p")
    whole = {}
    for version in (1, 2):
        tenant.activate("p", version)
        given = served.submit(Ask(user=user, k=8)).result()
        whole[version] = (given.items, given.sources, given.scores, given.policy)
    assert whole[1] != whole[2]
    stop, seen, wrong = threading.Event(), [set() for _ in range(READERS)], []

    def reads(mine):
        while not stop.is_set():
            given = served.submit(Ask(user=user, k=8)).result(10)
            mine.add(given.version)
            if (given.items, given.sources, given.scores, given.policy) != whole[given.version] or given.degraded:
                wrong.append(given)

    readers = [threading.Thread(target=reads, args=(mine,)) for mine in seen]
    for one in readers:
        one.start()
    for turn in range(SWAPS):
        tenant.activate("p", 1 + turn % 2)
    stop.set()
    for one in readers:
        one.join()
    assert not wrong
    assert all(mine == {1, 2} for mine in seen), "both versions were really asked"
    assert served.current.version == 1 + (SWAPS - 1) % 2


def test_a_rollback_needs_no_file(tenant, data):
    import shutil

    tenant.fit("p", POPULAR)
    first = tenant.recommender("p").submit(Ask(user=data.users.ids.ids[0], k=5)).result()
    tenant.fit("p", RANDOM)
    shutil.rmtree(tenant.folder / tenant.shelf.get("pipeline", "p", 1).body["path"])
    tenant.activate("p", 1)
    again = tenant.recommender("p").submit(Ask(user=data.users.ids.ids[0], k=5)).result()
    assert (again.items, again.version) == (first.items, 1) and not tenant.broken


def test_a_version_whose_files_are_gone_is_told_and_the_old_one_serves(tenant, data):
    import shutil

    tenant.fit("p", POPULAR)
    made = tenant.shelf.put("pipeline", "p", {"config": POPULAR, "path": "p-gone", "seed": 0}, activate=True)
    tenant.refresh()
    assert tenant.recommender("p").current.version == 1 and f"version {made.version}" in tenant.broken["p"]
    shutil.rmtree(tenant.folder / tenant.shelf.get("pipeline", "p", 1).body["path"])
    assert tenant.recommender("p").submit(Ask(user=data.users.ids.ids[0])).result().version == 1


def test_files_of_old_versions_go_and_that_of_the_active_one_stays(tenant):
    from hexarec.serve.live.publish import KEPT, pruned

    for _ in range(KEPT + 2):
        tenant.fit("p", POPULAR)
    versions = tenant.shelf.versions("pipeline", "p")
    there = [(tenant.folder / version.body["path"]).is_dir() for version in versions]
    assert there == [False] * 2 + [True] * KEPT
    with pytest.raises(StateError, match="files of pipeline p 1 are gone"):
        tenant.activate("p", 1)
    assert tenant.shelf.get("pipeline", "p").version == KEPT + 2 == tenant.recommender("p").current.version
    tenant.activate("p", 3)
    assert pruned(tenant.shelf, tenant.folder, "p", 1) == 3
    assert (tenant.folder / versions[2].body["path"]).is_dir()


def test_simulated_data_stays_marked(tenant, data):
    from dataclasses import replace

    assert tenant.data().simulated == data.simulated
    tenant.import_data(replace(data, simulated=not data.simulated))
    assert tenant.data().simulated != data.simulated


def test_a_version_and_its_files_hold_no_password(tenant, monkeypatch):
    address = "http://user:pass5word@127.0.0.1:9/v1"
    config = {**POPULAR, "explain": {"use": "because", "lm": f"openai:{address}#m"}}
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelError, match="not kept in what is saved"):
        tenant.fit("p", config)
    assert tenant.shelf.get("pipeline", "p") is None, "told before anything is fitted and published"
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    body = tenant.fit("p", config).body
    assert body["config"]["explain"]["lm"] == "openai:http://***@127.0.0.1:9/v1#m"
    files = [file.read_bytes() for file in (tenant.folder / body["path"]).rglob("*") if file.is_file()]
    assert files and not [held for held in files if b"pass5word" in held]
    served = tenant.recommender("p").current.pipeline.explain_by.lm
    assert served.lm.lm.wire._client.base_url.userinfo == b"user:pass5word"
    assert tenant.fit("p", body["config"]).version == 2
