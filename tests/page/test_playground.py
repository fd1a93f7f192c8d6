"""The playground by the test client: lists with their trace, sliders, two pipelines, what was asked of a model."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hexarec.core import Asked
from hexarec.serve.http.app import make_app
from hexarec.serve.live.asks import Ask
from hexarec.serve.live.recommender import Recommender
from hexarec.serve.live.reshape import Wishes, reshaped, stages_for
from hexarec.serve.live.standby import Standby
from hexarec.serve.page.values.waterfall import model_of, moves_of
from serve.conftest import CLASSIC, URL, backend_over

HTMX = {"hx-request": "true"}
ASKS = {
    "pipeline": {"depth": 8},
    "retrieve": CLASSIC["retrieve"],
    "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "rounds": 1},
    "control": [{"use": "mmr", "by": "attribute", "share": 0.3}],
    "explain": {"use": "because"},
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory, data):
    made = backend_over(tmp_path_factory.mktemp("play") / "home", data)
    made.service.tenant().fit("asks", ASKS)
    return made


@pytest.fixture(scope="module")
def client(backend):
    with TestClient(make_app(backend), base_url=URL) as made:
        yield made


def listed(client, **asked):
    answer = client.get("/playground/list", params=asked, headers=HTMX)
    assert answer.status_code == 200, answer.text
    return answer.text


def titles(text):
    return [one.strip() for one in re.findall(r"<h3>(Title \d+|[^<]*?)\s*(?:<|$)", text) if one.startswith("Title")]


def hidden(text, name):
    return re.findall(rf'name="{name}" value="([^"]*)"', text)


def shaped(client, text, **wishes):
    form = {
        "pipeline": hidden(text, "pipeline")[0],
        "item": hidden(text, "item"),
        "base": hidden(text, "base"),
        **wishes,
    }
    return client.post("/playground/shape", data=form, headers=HTMX)


# --------------------------------------------------------------------------------------------------------- lists
def test_a_list_with_its_stages(client):
    text = listed(client, user="u001", pipeline="default")
    assert len(titles(text)) >= 5
    for word in ("ItemKNN", "Popular", "MMR", "Because", "Who found what", "items found: ", " ms", "$0"):
        assert word in text, word
    assert "no prompt" not in text  # there is no ranker at all


def test_the_prompt_and_the_raw_answer_are_those_that_were_sent(client, backend):
    text = listed(client, user="u001", pipeline="asks")
    assert "Prompts and raw answers of fake:overlap" in text and "[A] Title" in text and "[user]" in text
    tenant = backend.service.tenant()

    def ranked():
        made = tenant.recommender("asks").submit(Ask(user="u001", k=5, trace=True)).result()
        return next(one for one in made.trace if one["stage"] == "rank")

    # the page has asked it before: what was kept, a moment later, is told as what was asked
    end = time.monotonic() + 20
    while (step := ranked())["lm_calls"]:
        assert time.monotonic() < end, "the answer was not kept"
        time.sleep(0.05)
    assert len(step["asked"]) == 1 and step["asked"][0]["call"] == "generate"
    assert sorted(step["before"]) == sorted(step["after"])
    plain = tenant.recommender("asks").submit(Ask(user="u001", k=5)).result()
    assert not any("asked" in one or "before" in one for one in plain.trace)


def test_asks_with_a_trace_share_their_batch_with_nobody():
    one, two = Ask(user="a", trace=True), Ask(user="b", trace=True)
    assert one.shared != two.shared and one.shared == one.shared
    assert Ask(user="a").shared == Ask(user="b").shared != one.shared


def test_the_api_gives_the_whole_trace_only_where_it_is_asked_for(client):
    body = {"user_id": "u001", "pipeline": "asks", "trace": True}
    steps = client.post("/v1/recommend", json=body).json()["trace"]
    rank = next(one for one in steps if one["stage"] == "rank")
    assert Asked(**rank["asked"][0]).prompt and rank["after"]
    assert client.post("/v1/recommend", json={**body, "trace": False}).json()["trace"] is None


def test_a_pasted_history_is_read_line_by_line_and_misses_are_seen(client, data):
    item = data.catalog.items.ids[3]
    text = listed(client, past=f"Title 2\n\n{item}\nno such thing at all\n", pipeline="default")
    assert "no such thing at all" in text and "Lines that name no item: 1" in text
    assert text.count('chip like">') == 2 and titles(text)
    alone = listed(client, past="nothing like it")
    assert "Lines that name no item: 1" in alone and not titles(alone)
    many = client.get("/playground/list", params={"past": "x\n" * 101}, headers=HTMX)
    assert many.status_code == 422 and "101 lines" in many.text


def test_without_scripts_the_address_does_it_all(client):
    text = client.get("/playground", params={"user": "u001", "pipeline": "default", "novelty": 1}).text
    assert "<!doctype html>" in text and titles(text) and 'value="1.0"' in text
    assert client.get("/playground", params={"novelty": 2}).status_code == 422
    assert client.get("/playground", params={"pipeline": "none", "user": "u001"}).status_code == 404


# ------------------------------------------------------------------------------------------------------- sliders
def test_sliders_at_zero_give_the_pipelines_list(client):
    text = listed(client, user="u001", pipeline="default")
    answer = shaped(client, text)
    assert answer.status_code == 200 and titles(answer.text) == titles(text) and "chip like" not in answer.text


@pytest.mark.parametrize("wish", ["diversity", "novelty", "popularity", "exploration"])
def test_each_slider_moves_something_and_says_so_in_words(client, wish):
    texts = [listed(client, user=user, pipeline="default") for user in ("u001", "u007", "u015")]
    moved = [shaped(client, text, **{wish: "1"}).text for text in texts]
    assert any(titles(one) != titles(text) for one, text in zip(moved, texts, strict=True))
    assert all(shaped(client, text, **{wish: "1"}).text == one for one, text in zip(moved, texts, strict=True))
    assert re.search(r"\+\d|−\d|new|gone", "".join(moved))


def test_wishes_do_what_they_say(backend):
    generation = backend.service.tenant().recommender("default").current
    counts = (np.arange(len(generation.catalog)) * 7 % 20).astype(np.float32)
    generation = replace(generation, standby=Standby.of(generation.catalog, counts))
    items = list(generation.catalog.items.ids[:12])

    def mean(**wishes):
        rows = generation.catalog.rows(reshaped(generation, items, Wishes(**wishes), 4))
        return sum(counts[int(row)] for row in rows) / 4

    assert mean(popularity=1.0) >= mean() >= mean(novelty=1.0) and mean(popularity=1.0) > mean(novelty=1.0)
    assert stages_for(generation, Wishes()) == [] and len(stages_for(generation, Wishes(1, 1, 1, 1))) == 3
    assert reshaped(generation, [*items, "unknown", items[0]], Wishes(), 50) == items


def test_a_form_that_the_page_did_not_make_is_refused(client):
    send = lambda **form: client.post("/playground/shape", data=form, headers=HTMX).status_code  # noqa: E731
    assert send(item=["i001"] * 101) == 422 and send(base=["i001"] * 11) == 422
    assert send(diversity="x") == 422 and send(diversity="1.5") == 422 and send(pipeline="none") == 404
    assert send(item=["<script>", "i001"], novelty="1") == 200


# ----------------------------------------------------------------------------------------------------- compared
def test_two_pipelines_side_by_side_with_moves_as_text(client):
    text = listed(client, user="u001", pipeline="default", other="asks")
    assert 'id="run-1"' in text and 'id="run-2"' in text and "Moves are told from the list of default" in text
    assert re.search(r">\+\d+<|>−\d+<|>new<", text) and text.count("waterfall-") >= 2
    assert 'id="sliders"' not in text
    same = listed(client, user="u001", pipeline="asks", other="asks")
    assert 'id="run-2"' not in same


def test_moves(data):
    catalog = data.catalog
    a, b, c, d = catalog.items.ids[:4]
    moves = moves_of([a, b, c], [c, a, d], catalog, "en", 3)
    assert [(one.kind, one.by) for one in moves] == [("up", 2), ("down", -1), ("new", 0), ("gone", 0)]
    assert moves[-1].was == 2 and moves[-1].now is None


def test_the_model_of_a_stage_is_found_however_deep(backend):
    tenant = backend.service.tenant()
    assert model_of(tenant.recommender("asks").current.pipeline.rank_) == "fake:overlap"
    assert model_of(tenant.recommender("default").current.pipeline.control_[0]) == ""


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_of_nobody_asks_no_pipeline(client, lang, monkeypatch):
    asked, usual = [], Recommender.submit
    monkeypatch.setattr(Recommender, "submit", lambda self, ask: asked.append(ask.user) or usual(self, ask))
    head = {"accept-language": lang}
    assert client.get("/playground", headers=head).status_code == 200 and asked == []
    client.get("/playground", params={"user": "u001"}, headers=head)
    assert asked == ["u001"]
