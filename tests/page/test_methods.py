"""Methods: the grid, a page for each method, an estimate and a run of one on the data of the server."""

import re

import pytest

from hexarec.core import CapabilityError, Card, OptionError
from hexarec.eval import published
from hexarec.eval.alone import config_of, measurable
from hexarec.eval.opening import pipeline_of, with_stand_ins
from hexarec.pipeline.build import cards
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.page.values.method_form import form_of
from hexarec.serve.page.values.methods import method_of, spoken
from hexarec.serve.page.words import words_of


@pytest.fixture
def worker(backend):
    """Works on one job when called."""
    return Runner(backend.service, beat=0.02, poll=0.02).one


def estimated(page_client, worker, name, **form):
    """The page's piece after an estimate, and the id of its job."""
    answer = page_client.post(
        f"/methods/{name}/estimate", data={"max_users": "10", "k": "5", **form}, headers={"hx-request": "true"}
    )
    assert answer.status_code == 200, answer.text
    job = re.search(r"trial\?job=([0-9a-f]+)", answer.text)[1]
    assert worker()
    return page_client.get(f"/methods/{name}/trial?job={job}"), job


# ------------------------------------------------------------------------------------------------------- pages
def test_the_grid_holds_every_method_in_its_cells(page_client):
    text = page_client.get("/methods").text
    head, body = text.split('id="all"')[0], text.split('id="all"')[1]
    for name, card in cards().items():
        wanted = max(len(card.paradigms), 1) * len(card.stages)
        assert head.count(f'href="/methods/{name}"') == wanted, name
        assert body.count(f'href="/methods/{name}"') == 1, name


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", sorted(cards()))
def test_every_method_has_a_page(page_client, name, lang):
    answer = page_client.get(f"/methods/{name}", headers={"accept-language": lang})
    assert answer.status_code == 200
    method = method_of(cards()[name], lang)
    text = answer.text
    for option in method.options:
        assert f"<code>{option.name}</code>" in text
    for id in method.arxiv:
        assert f'href="https://arxiv.org/abs/{id}" rel="noopener noreferrer"' in text
    assert len(re.findall(r'(?:src|href)="(?:https?:)?//', text)) == len(method.arxiv)  # only where a person clicks
    assert words_of(lang)[f"methods.when.{name}"][:20].replace("'", "&#39;") in text


def test_titles_are_those_of_the_cards_and_every_method_is_spoken_of():
    assert spoken() == set(cards())
    for name, card in cards().items():
        assert words_of("en")[f"methods.title.{name}"] == card.title


def test_unknown_methods_are_not_found(page_client):
    assert page_client.get("/methods/no-such").status_code == 404
    assert page_client.get("/methods/%3Cscript%3E").status_code == 422
    assert page_client.get("/methods/ease?job=nothing").status_code == 404


def test_published_rows_stand_beside_the_row_they_compare_with(page_client):
    tables = published.of_method("filterllm")
    assert tables and all(table.floor in {line.system for line in table.lines} for table in tables)
    text = page_client.get("/methods/filterllm").text
    assert tables[0].title.split(",")[0] in text and "docs/results/cold-items.md" in text
    assert published.of_method("no-such-method") == []


# ------------------------------------------------------------------------------------------------------ to run it
@pytest.mark.parametrize("name", sorted(name for name, card in cards().items() if measurable(card)))
def test_every_method_that_makes_lists_stands_as_a_pipeline(name):
    card = cards()[name]
    models = {
        one: "fake:counting" if one == "lm" else "tfidf"
        for one in form_of(card, ()).models
        if next(o.default for o in method_of(card, "en").options if o.name == one) == "required"
    }
    if name == "filterllm":  # one of two options, neither of which is required alone
        models["encoder"] = "tfidf"
    config, _ = with_stand_ins(config_of(card, models))
    slots = {"retrieve", "rank", "control"} & set(config)
    assert "retrieve" in slots
    if not {"weights", "vectors", "trie"} & card.needs:
        pipeline_of(config)


def test_what_makes_no_lists_is_not_run():
    assert form_of(cards()["because"], ()) is None and form_of(cards()["fuse"], ()) is None
    with pytest.raises(CapabilityError, match="makes no lists"):
        config_of(cards()["agent4rec"], {})


def test_models_that_lack_something_cannot_be_chosen():
    choices = {one.value: one.why for one in form_of(cards()["tallrec"], ("openai:http://x",)).models["lm"]}
    assert (
        choices["gguf:smollm2"] == "lacks" and choices["fake:overlap"] == "lacks" and choices["hf:smollm2"] != "lacks"
    )
    assert form_of(cards()["diversity"], ()).models["lm"][0].value == "none"


def test_an_estimate_and_then_the_run(page_client, worker, backend):
    piece, job = estimated(page_client, worker, "llmrank", **{"option.lm": "fake:overlap", "option.rounds": "2"})
    assert "Model calls" in piece.text and f'value="{job}"' in piece.text
    kept = backend.service.tenant().shelf.job(job)
    assert kept.args["config"]["rank"]["ranker"] == {"use": "llmrank", "lm": "fake:overlap", "rounds": 2}
    shown = page_client.get(f"/methods/llmrank?job={job}").text
    assert "Model calls" in shown and 'action="/methods/llmrank/run"' in shown
    answer = page_client.post("/methods/llmrank/run", data={"job": job}, follow_redirects=False)
    where = answer.headers["location"]
    assert answer.status_code == 303 and re.fullmatch(r"/experiments/job-[0-9a-f]{32}", where)
    assert 'hx-trigger="every 1s"' in page_client.get(where).text
    assert worker()
    done = page_client.get(where).text
    assert "llmrank" in done
    assert where in page_client.get("/methods/llmrank").text
    audit = [row.what for row in backend.service.tenant().shelf.audit_rows()]
    assert audit[-2:] == ["start job estimate", "start job bench"]


def test_a_floor_is_measured_under_a_name_of_its_own(page_client, worker, backend):
    _, job = estimated(page_client, worker, "ease", **{"option.regularization": "50"})
    assert backend.service.tenant().shelf.job(job).args["pipeline"] == "ease-alone"


@pytest.mark.parametrize(
    "form, said",
    [({"option.lm": "gguf:/etc/passwd"}, "lm"), ({"option.lm": "openai:http://evil"}, "lm"), ({"max_users": "x"}, "max_users"),
     ({"max_users": "0"}, "max_users"), ({"max_users": "9" * 20}, "max_users"), ({"k": "101"}, "k: "), ({"k": "٣"}, "k: "),
     ({"option.rounds": "many"}, "llmrank.rounds"), ({"option.backend": "magic"}, "llmrank.backend")],
)  # fmt: skip
def test_wrong_forms_are_refused_by_field(page_client, form, said):
    answer = page_client.post(
        "/methods/llmrank/estimate", data={"max_users": "10", "k": "5", "option.lm": "fake:overlap", **form},
        headers={"hx-request": "true"},
    )  # fmt: skip
    assert answer.status_code == 422 and said in answer.text


def test_options_that_name_a_place_are_not_offered():
    assert "start" not in {field.name for field in form_of(cards()["tallrec"], ()).fields}


def test_only_an_estimate_of_this_method_can_be_run(page_client, worker):
    _, job = estimated(page_client, worker, "popular")
    assert page_client.post("/methods/itemknn/run", data={"job": job}).status_code == 404
    assert page_client.post("/methods/itemknn/run", data={"job": "nothing"}).status_code == 404
    waiting = page_client.post("/methods/popular/estimate", data={"max_users": "5", "k": "5"}, follow_redirects=False)
    later = re.search(r"job=([0-9a-f]+)", waiting.headers["location"])[1]
    assert page_client.post("/methods/popular/run", data={"job": later}).status_code == 409
    assert worker()


def test_an_estimate_that_fails_says_why(page_client, worker, backend):
    _, job = estimated(page_client, worker, "itemknn", **{"option.neighbours": "-3"})
    kept = backend.service.tenant().shelf.job(job)
    text = page_client.get(f"/methods/itemknn/trial?job={job}").text
    assert kept.state == "failed" and 'role="alert"' in text and "neighbours" in text


def test_cards_of_other_packages_need_no_words(page_client, monkeypatch):
    from hexarec.pipeline import build

    own = Card("zz-own", "hexarec.classic.floor:Popular", "none", "Somebody's <b>own</b>", ("retrieve",))
    known = {**cards(), own.name: own}
    for place in ("hexarec.serve.page.values.methods.cards", "hexarec.serve.page.routes.methods.cards"):
        monkeypatch.setattr(place, lambda: known)
    monkeypatch.setattr(build, "cards", lambda: known)
    for path in ("/methods", "/methods/zz-own"):
        text = page_client.get(path).text
        assert "Somebody&#39;s &lt;b&gt;own&lt;/b&gt;" in text and "<b>own" not in text


def test_options_are_typed():
    with pytest.raises(OptionError):
        config = config_of(cards()["itemknn"], {"neighbors": 3})
        pipeline_of(config)
