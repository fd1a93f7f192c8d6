"""What fresh eyes found: words and pages that looked wrong, each held here once it was mended."""

import ast
import re
import time
from pathlib import Path

import pytest

import hexarec
from hexarec.serve.page.figures import Axis, Figure, Series
from hexarec.serve.page.said import said
from hexarec.serve.page.words import word

from .conftest import PHONE, watch, wide_enough

ZH = {"accept-language": "zh"}


def test_what_was_changed_is_told_in_chinese(page_client):
    """Every entry that the source writes into the audit log, with whatever stands in it."""
    lacking = []
    for path in [*Path(hexarec.__file__).parent.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "audit" and len(node.args) > 2:
                what = node.args[1]
                texts = [what.value] if isinstance(what, ast.Constant) else []
                if isinstance(what, ast.JoinedStr):
                    first = what.values[0].value
                    states = ("running", "stopped", "shipped") if first == "experiment " else ("fit",)
                    texts = [f"{first}{one}" for one in states]
                lacking += [text for text in texts if said("zh", text) is None]
    assert lacking == []
    page_client.post("/simulate/start", data={"pipeline": "default", "users": "4"})
    text = page_client.get("/settings/audit", headers=ZH).text
    assert "启动任务 simulate" in text and "start job" not in text


def test_the_ends_of_an_interval_have_words():
    figure = Figure("f", "F", Axis("x"), Axis("y"), [1.0], (Series("a", [1.0], [0.5], [1.5]),))
    assert figure.heads == ["x", "a", "a low", "a high"] == figure.csv().splitlines()[0].replace('"', "").split(",")
    assert figure.heads_said(word("zh", "figure.low"), word("zh", "figure.high")) == ["x", "a", "a 下限", "a 上限"]


@pytest.mark.parametrize(
    "path, part", [("/methods/nothing", "没有方法"), ("/experiments/compare?run=a", "请选择 2 至 4 个")]
)
def test_errors_that_a_wrong_address_brings_are_chinese(page_client, path, part):
    text = page_client.get(path, headers=ZH).text
    assert part in text and 'class="strong"><span lang="en"' not in text


def test_an_empty_talk_and_an_arm_to_ship_are_explained(page_client):
    text = page_client.get("/chat").text
    assert re.search(r'</ol><p class="hint begin">Nothing was said yet', text)


# ------------------------------------------------------------------------------------------------------- browser
def test_the_page_that_is_open_stands_in_the_navigation_of_a_phone(open_page):
    page = open_page("/audit", viewport={**PHONE, "width": 360})
    wide_enough(page)
    box, width = page.locator(".pages [aria-current]").bounding_box(), 360
    assert 0 <= box["x"] and box["x"] + box["width"] <= width


def test_no_column_is_a_letter_wide(open_page):
    page = open_page("/settings/server", viewport={**PHONE, "width": 360}, lang="zh")
    sizes = page.evaluate("[...document.querySelectorAll('td')].map(one => one.clientWidth)")
    assert min(sizes) >= 90
    wide_enough(page)


HEARD = """const usual = CanvasRenderingContext2D.prototype.fillText; window.heard = [];
CanvasRenderingContext2D.prototype.fillText = function (text, ...more) { heard.push(text); return usual.call(this, text, ...more); };"""


def test_times_of_a_plot_are_those_of_utc(chromium, site, watched):
    """Whatever the clock of the browser says: the axis says UTC."""
    context = chromium.new_context(base_url=site, timezone_id="Asia/Shanghai")
    page = watch(context.new_page(), site, watched)
    page.add_init_script(HEARD)
    before = time.time()
    assert page.request.post("/v1/recommend", data={"user_id": "u", "n": 3}).ok
    page.goto("/live")
    end, times = time.monotonic() + 20, set()
    while not times and time.monotonic() < end:
        page.wait_for_timeout(50)
        times = {text for text in page.evaluate("heard") if re.fullmatch(r"\d\d:\d\d", text)}
    near = {time.strftime("%H:%M", time.gmtime(before + 60 * minutes)) for minutes in range(-6, 8)}
    assert times and times <= near
    context.close()
    watched.check()
