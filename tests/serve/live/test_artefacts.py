"""The registry: every fit and everything tuned in it, with its data, its base and its validation; rollback moves it."""

import numpy as np
import pytest
from tests.serve.conftest import URL, TestClient, backend_over, make_app

from hexarec.core import digest
from hexarec.data.worlds import world
from hexarec.serve.erase import erased
from hexarec.serve.live.artefacts import described

POPULAR = {"retrieve": [{"use": "popular"}]}
OPTIONS = {
    "negatives": "drawn",
    "shots": 16,
    "epochs": 1,
    "batch": 8,
    "history": 2,
    "most_valid": 20,
    "dropout": 0.0,
    "patience": 0,
}
TUNED = {
    "use": {"lm": {"model": "hf:tiny", "dtype": "float32", "prefix_mb": 0.0}}, **POPULAR,
    "rank": {"use": "window", "size": 5, "ranker": {"use": "tallrec", "lm": "@lm", **OPTIONS}},
}  # fmt: skip


@pytest.fixture
def served(tmp_path):
    backend = backend_over(tmp_path / "home", world("trap").data, POPULAR)
    with TestClient(make_app(backend), base_url=URL) as client:
        client.tenant = backend.service.tenant()
        yield client


def listed(client, **params):
    return client.get("/v1/registry", params=params).json()["models"]


def test_a_fit_is_registered_with_its_data(served):
    (one,) = listed(served)
    body = served.tenant.shelf.get("pipeline", "default").body
    size = sum(path.stat().st_size for path in (served.tenant.folder / body["path"]).iterdir())
    assert one == {
        "id": "default@1", "kind": "pipeline", "pipeline": "default", "version": 1, "active": True, "seed": 0,
        "created": one["created"], "data_key": served.tenant.data().key, "bytes": size, "events": body["events"],
        "users": body["users"], "items": body["items"], "validation": {}, "artefacts": [],
    }  # fmt: skip


def test_an_adapter_is_registered_with_its_validation_and_rolled_back(served):
    pytest.importorskip("peft")
    served.tenant.fit("default", TUNED)
    whole, adapter, before = listed(served)
    assert (whole["version"], before["version"]) == (2, 1) and whole["artefacts"] == [adapter["id"]]
    assert [one["active"] for one in (whole, adapter, before)] == [True, True, False]
    state = served.tenant.recommender().current.pipeline.rank_.ranker_.adapter_
    assert adapter["kind"] == state["kind"] == "lora" and adapter["stage"] == "TALLRec" and adapter["base"] == "hf:tiny"
    assert adapter["bytes"] == sum(one.nbytes for one in state["tensors"].values()) and adapter["options"]["r"]
    assert adapter["valid"] == state["about"]["valid"] and adapter["valid"]["metric"] in ("auc", "none")
    assert adapter["examples"] == 16 and adapter["trainable"] > 0 and adapter["data_key"] == whole["data_key"]
    assert served.post("/v1/pipelines/default/activate", json={"version": 1}).is_success
    assert {one["id"]: one["active"] for one in listed(served)} == {
        "default@2": False, adapter["id"]: False, "default@1": True,
    }  # fmt: skip
    assert [one["id"] for one in listed(served, limit=1)] == ["default@2", adapter["id"]]


def test_the_licence_of_a_known_base_is_told_and_shared_weights_stand_once(served):
    pipeline = served.tenant.recommender().current.pipeline
    state = {"kind": "lora", "options": {"r": 2}, "base": {"weights": "ab"}, "tensors": {"a": np.ones(3, np.float32)},
             "about": {"valid": {"metric": "auc", "value": np.float32("nan"), "cases": 3}}}  # fmt: skip

    class Known:
        spec = "hf:smollm2"

    stage = pipeline.retrieve_[0]
    stage.adapter_, stage.lm, stage.curve_ = state, Known(), [0.5, float("nan")]
    pipeline.control_ = (stage,)
    told = described(pipeline)
    assert told["validation"] == {"Popular": [0.5, None]}
    (one,) = told["artefacts"]
    assert one["licence"] == "Apache-2.0" and one["base"] == "hf:smollm2" and one["bytes"] == 12
    assert one["valid"] == {"metric": "auc", "value": None, "cases": 3} and one["examples"] is None
    assert one["id"] == digest("lora", "a", np.ones(3, np.float32))[:32]


def test_versions_without_files_and_from_before_stay_listed(served):
    tenant = served.tenant
    for _ in range(6):
        tenant.fit("default", POPULAR)
    tenant.shelf.put("pipeline", "old", {"path": "nowhere"})
    told = {one["id"]: one for one in listed(served)}
    assert len(told) == 8 and "bytes" not in told["default@1"] and told["default@7"]["bytes"] > 0
    assert told["old@1"]["artefacts"] == [] and told["old@1"]["active"] is False


def test_an_erasure_leaves_the_registry(served):
    user = served.tenant.data().users.ids.ids[0]
    before = listed(served)
    erased(served.tenant, user, scrub=False)
    after = listed(served)
    assert [one["id"] for one in after] == ["default@1"] and after[0]["bytes"] and before[0]["active"]
