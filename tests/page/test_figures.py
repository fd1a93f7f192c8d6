"""Figures: one value makes the plot, the SVG, the CSV and the table; in a browser it is drawn, in both themes."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from fastapi import APIRouter
from jinja2 import ChoiceLoader, DictLoader

from hexarec.serve.page import render
from hexarec.serve.page.figures import Axis, Figure, Series
from serve.conftest import backend_over
from serve.running import listening

from .conftest import LOOKS, axe_clean

FORMULAS = Path(__file__).parent.parent / "serve" / "corpora" / "formulas.jsonl"
LINE = Figure(
    "cost", "Accuracy by cost", Axis("cost", "$", log=True), Axis("NDCG@10"), (0.001, 0.01, 0.1),
    (Series("llmrank", (0.1, None, 0.3), (0.05, None, 0.2), (0.2, None, 0.4)), Series("ease", (0.2, 0.2, 0.2))),
)  # fmt: skip
BARS = Figure(
    "parts",
    "By segment",
    Axis("segment"),
    Axis("share"),
    (0, 1),
    (Series("冷启动", (0.4, 0.6), kind="bars"),),
    ("cold", "warm"),
)
TIME = Figure("time", "Spend", Axis("time", time=True), Axis("spend", "$"), (0.0, 86_400.0), (Series("$", (1.0, 2.0)),))
POINTS = Figure(
    "points",
    "Systems",
    Axis("ms"),
    Axis("ndcg"),
    (1.0, 5.0),
    (Series("a", (0.5, None), (0.4, None), (0.6, None), "points"),),
)
ALL = (LINE, BARS, TIME, POINTS)


def test_json():
    told = LINE.json()
    assert json.loads(json.dumps(told)) == told
    assert told["x"] == {"title": "cost ($)", "log": True, "time": False}
    assert told["series"][0]["values"] == [0.1, None, 0.3] and told["series"][1]["low"] == []


@pytest.mark.parametrize("kind", ["line", "points", "bars"])
def test_a_value_without_an_interval_is_drawn(kind):
    one = Series("a", (0.5, 0.6), (None, 0.5), (None, 0.7), kind)
    assert Figure("some", "Some", Axis("n"), Axis("y"), (0, 1), (one,)).svg().count("<svg") == 1


def test_csv_and_table_hold_the_same_numbers():
    rows = list(csv.reader(io.StringIO(LINE.csv())))
    assert rows[0] == ["cost ($)", "llmrank", "llmrank low", "llmrank high", "ease"]
    assert rows[1] == ["0.001", "0.1", "0.05", "0.2", "0.2"] and rows[2] == ["0.01", "", "", "", "0.2"]
    assert LINE.written[1] == ["0.0100", "–", "–", "–", "0.2000"]
    assert BARS.csv().splitlines() == ["segment,冷启动", "cold,0.4", "warm,0.6"]
    assert TIME.csv().splitlines()[2] == "1970-01-02T00:00:00Z,2.0" and TIME.written[0][0] == "1970-01-01T00:00:00Z"


def test_no_formula_leaves_in_a_table():
    formulas = [json.loads(line) for line in FORMULAS.read_text("utf-8").splitlines()]
    for one in formulas:
        text = one if isinstance(one, str) else next(v for v in one.values() if isinstance(v, str))
        made = Figure("f", text, Axis(text), Axis("y"), (0,), (Series(text, (1.0,)),), (text,))
        for cell in (cell for row in csv.reader(io.StringIO(made.csv())) for cell in row):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), text


@pytest.mark.parametrize("figure", ALL, ids=lambda one: one.name)
def test_svg(figure):
    drawn = figure.svg()
    assert ElementTree.fromstring(drawn).tag.endswith("svg") and figure.svg() == drawn
    assert figure.title in drawn and "<script" not in drawn
    if figure is BARS:
        assert "cold" in drawn


def test_words_of_others_are_words_in_a_drawing():
    hostile = "<script>alert(1)</script> $\\frac{$ &amp;"
    made = Figure(
        "h",
        hostile,
        Axis(hostile),
        Axis(hostile),
        (0, 1),
        (Series(hostile, (1, 2)), Series("b", (2, 1))),
        (hostile, "x"),
    )
    drawn = made.svg()
    ElementTree.fromstring(drawn)
    assert "<script" not in drawn and "&lt;script" in drawn


def test_answers():
    assert LINE.answer("json").media_type == "application/json"
    assert LINE.answer("svg").media_type == "image/svg+xml"
    assert "attachment" in LINE.answer("csv").headers["content-disposition"]


def test_lengths_must_agree():
    with pytest.raises(AssertionError):
        Figure("x", "x", Axis("x"), Axis("y"), (1, 2), (Series("a", (1,)),))


TEMPLATE = """{% extends "base.html" %}{% block title %}figures{% endblock %}{% block main %}<h1>hexarec</h1>
{% for one in figures %}{{ m.figure(one, "/figures/" ~ one.name) }}{% endfor %}{% endblock %}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    """A server with one page more, which holds every kind of figure."""
    from fastapi import Request

    from hexarec.serve.page.routing import page_router

    router: APIRouter = page_router()
    by_name = {one.name: one for one in ALL}

    @router.get("/figures")
    async def shown(request: Request):
        return render.page(request, "figures.html", figures=ALL)

    @router.get("/figures/{name}.{form}")
    async def drawn(name: str, form: str):
        return by_name[name].answer(form)

    usual = render.ENVIRONMENT.loader
    render.ENVIRONMENT.loader = ChoiceLoader([DictLoader({"figures.html": TEMPLATE}), usual])
    with listening(backend_over(tmp_path_factory.mktemp("figures") / "home", data), more=[router]) as url:
        yield url
    render.ENVIRONMENT.loader = usual


@pytest.mark.parametrize("lang, theme", LOOKS)
def test_in_a_browser(open_page, lang, theme):
    page = open_page("/figures", lang=lang, theme=theme)
    for one in ALL:
        page.locator(f"#figure-{one.name} canvas").wait_for()
        box = page.locator(f"#figure-{one.name} canvas").bounding_box()
        assert box["width"] > 300 and box["height"] > 100
    page.locator("#figure-cost summary").click()
    assert page.locator("#figure-cost details tbody tr").count() == 3
    axe_clean(page)
    page.locator("button[value=dark]").click()
    page.locator("#figure-cost canvas").wait_for()
    assert page.locator("#figure-cost canvas").count() == 1
    with page.expect_download() as download:
        page.locator("#figure-cost a[href$='.csv']").click()
    assert download.value.suggested_filename == "cost.csv"
