"""Prompts of the store: versions, what is refused, and that a fit uses the active one."""

import pytest
from tests.serve.conftest import CLASSIC, URL, TestClient, backend_over, make_app

from hexarec.methods.llmrank import LLMRank

RANKED = {**CLASSIC, "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "prompts": "prompt:mine"}}
OWN = LLMRank.__dataclass_fields__["prompts"].default


@pytest.fixture
def served(tmp_path, data):
    backend = backend_over(tmp_path, data, {"retrieve": [{"use": "popular"}]})
    with TestClient(make_app(backend), base_url=URL) as api:
        api.tenant = backend.service.tenant()
        yield api


def put(api, **body):
    return api.put("/v1/prompts/mine", json=body)


def test_versions_are_kept_and_one_is_active(served):
    assert put(served, en="Say {x}.", zh="说{x}。").json()["version"] == 1
    assert put(served, en="Tell {x}.").json()["version"] == 2
    assert served.get("/v1/prompts").json()["prompts"][0]["en"] == "Tell {x}."
    assert served.post("/v1/prompts/mine/activate", json={"version": 1}).json()["zh"] == "说{x}。"
    assert [one["active"] for one in served.get("/v1/prompts/mine").json()["versions"]] == [True, False]
    assert served.post("/v1/prompts/mine/activate", json={"version": 9}).status_code == 404


def test_a_fit_uses_the_active_version(served):
    words = {name: f"NEW {text}" for name, text in OWN.en.items()}
    put(served, en=words, zh=dict(OWN.zh))
    served.tenant.fit("ranked", RANKED)
    stage = served.tenant.recommender("ranked").current.pipeline.rank_
    assert stage.prompts.en == words and (stage.prompts.id, stage.prompts.version) == ("mine", 1)
    assert served.tenant.shelf.get("pipeline", "ranked").body["config"]["rank"]["prompts"] == "prompt:mine"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"en": "{a", "zh": ""}, "brace"),
        ({"en": "{a}", "zh": "{b}"}, "other slots"),
        ({"en": {"x": "1"}, "zh": {"y": "2"}}, "lacks a language"),
        ({"en": "{a.b}"}, "no plain name"),
    ],
)
def test_a_prompt_that_cannot_be_filled_is_refused(served, body, said):
    answer = put(served, **body)
    assert answer.status_code == 422 and said in answer.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (None, "no prompt 'prompt:mine' is stored"),
        ({"only": "x"}, "lacks"),
        ({name: text + "{colour}" for name, text in OWN.en.items()}, "does not fill"),
    ],
)
def test_a_prompt_that_does_not_fit_its_method_is_refused_at_the_fit(served, words, said):
    from hexarec.core import OptionError

    if words is not None:
        assert put(served, en=words).status_code == 200
    with pytest.raises(OptionError, match=said):
        served.tenant.fit("ranked", RANKED)
