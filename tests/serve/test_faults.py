"""The fault matrix of the server: every kind of fault of a model at every stage that asks one, behind the API.

The rule: a valid list of real items, or a reply, comes before the deadline, and `degraded` says what did not work.
"""

import time

import pytest
from tests.hanging import LONG
from tests.serve.conftest import URL, TestClient, backend_over, make_app
from tests.testing.stub.cells import DATA, DEADLINE, broken, patience

from hexarec.classic import Because, ItemKNN, Popular
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_encoder
from hexarec.methods.chatrec import ChatRec
from hexarec.methods.llmrank import LLMRank
from hexarec.methods.llmtreerec import LLMTreeRec
from hexarec.methods.nir import NIR
from hexarec.pipeline.pipeline import Pipeline
from hexarec.serve.live.publish import attached
from hexarec.testing.stub import FAULTS

COUNTS = {one: row for row, one in enumerate(DATA.catalog.items.ids.tolist())}


def tree(lm):
    """A retriever that asks the model at every page of its catalog."""
    return LLMTreeRec(open_encoder("tfidf"), lm=lm, choose="model", backend="choice", interests=False)


STAGES = {
    "retrieve": lambda lm: Pipeline((tree(lm), Popular()), depth=8),
    "only retriever": lambda lm: Pipeline((tree(lm),), depth=8),
    "rank in steps": lambda lm: Pipeline((Popular(),), NIR(lm, picks=5), depth=8),
    "rank": lambda lm: Pipeline((Popular(),), LLMRank(lm, backend="list", rounds=2), depth=8),
    "explain": lambda lm: Pipeline((ItemKNN(),), explain_by=Because(lm), depth=8),
    "converse": lambda lm: Pipeline((Popular(),), converse_by=ChatRec(lm, gate="model"), depth=8),
}
CELLS = [(fault, stage) for stage in STAGES for fault in FAULTS]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    backend = backend_over(
        tmp_path_factory.mktemp("faults"), DATA, {"retrieve": [{"use": "popular"}]},
        poll_seconds=3_600.0,  # else what a test swaps in is swapped back
        deadline_ms=int(10_000 * LONG), longest_ms=int(10_000 * LONG),  # so that the request's own ends the waiting
    )  # fmt: skip
    with TestClient(make_app(backend), base_url=URL) as client:
        client.served = backend.service.tenant().recommender()
        yield client


def asked(api, stage, seconds):
    """The answer of the API and the seconds it took."""
    body = {"user_id": DATA.users.ids.ids[0], "deadline_ms": int(1000 * seconds)}
    started = time.monotonic()
    if stage == "converse":
        said = [{"role": "user", "content": "Hello, how are you today?"}]
        told = {"model": "default", "messages": said, "user": body["user_id"], "deadline_ms": body["deadline_ms"]}
        answer = api.post("/v1/chat/completions", json=told)
    else:
        answer = api.post("/v1/recommend", json={**body, "n": 5, "explain": stage == "explain"})
    assert answer.status_code == 200, answer.text
    return answer.json(), time.monotonic() - started


def check_list(told):
    found = [one["item_id"] for one in told["items"]]
    assert len(set(found)) == 5 == len(found) and set(found) <= set(COUNTS)
    met = DATA.interactions.item[slice(*DATA.interactions.offsets[:2])]
    assert not set(found) & set(DATA.catalog.ids(met))


def check(api, name, stage, folder):
    """One cell: in time, valid, and honest about it."""
    fault = FAULTS[name]
    with broken(fault, folder) as (lm, _):
        pipeline = STAGES[stage](Guarded(lm)).fit(DATA)
        api.served.swap(attached("default", api.served.current.version + 1, pipeline, COUNTS, None))
        told, seconds = asked(api, stage, LONG if fault.harmless else DEADLINE)
    assert seconds < patience(fault)
    if stage == "converse":
        message = told["choices"][0]["message"]
        assert message["content"].strip() and {one["item_id"] for one in message["items"]} <= set(COUNTS)
    else:
        check_list(told)
    return told["choices"][0]["message"]["degraded"] if stage == "converse" else told["degraded"]


GARBLED = {name for name in FAULTS if name.startswith("meaning.") or FAULTS[name].asks != "list"} | {
    "body.null_content"
}
"""Faults that a stage may not notice: words that read, or calls it never makes."""


def judged(name, stage, degraded):
    """Whether what the answer says of itself is true to the fault."""
    if FAULTS[name].harmless and FAULTS[name].asks == "list":
        return not degraded or stage == "converse"
    return bool(degraded) or name in GARBLED


@pytest.mark.parametrize(
    ("name", "stage"), [cell for i, cell in enumerate(CELLS) if i % 64 < 13 and i % 5 == 0], ids=str
)
def test_a_valid_answer_comes_in_time(api, name, stage, tmp_path):
    assert judged(name, stage, check(api, name, stage, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stage"), CELLS, ids=str)
def test_every_fault_at_every_stage(api, name, stage, tmp_path):
    assert judged(name, stage, check(api, name, stage, tmp_path))
