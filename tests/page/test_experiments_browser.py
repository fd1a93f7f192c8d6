"""The journey in a browser: a method, its estimate, its run, the experiment, two runs compared, what is downloaded."""

import csv
import io
import json
import re
import shutil

import pytest
from tests.hanging import LONG

from hexarec.serve.jobs.runner import Runner
from serve.conftest import backend_over
from serve.running import listening

from .conftest import PHONE, axe_clean, wide_enough
from .test_experiments import ASKING, measured

COMPARED = "/experiments/compare?run=run-asking&run=run-near"


@pytest.fixture(scope="module")
def own(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("site") / "home"
    measured(home / "runs" / "asking", data, "asking", ASKING)
    measured(home / "runs" / "near", data, "near", {"retrieve": [{"use": "itemknn", "neighbours": 3}]})
    return backend_over(home, data)


@pytest.fixture(scope="module")
def site(own):
    runner = Runner(own.service, beat=0.05, poll=0.05)
    with listening(own) as url:
        runner.start()
        yield url
        runner.close()


def saved(page, link):
    """What a link downloads, as text."""
    with page.expect_download() as download:
        link.click()
    return download.value.suggested_filename, open(download.value.path(), encoding="utf-8").read()


@pytest.mark.parametrize(
    "lang, theme, paths",
    [("en", "light", ["/methods/tallrec", "/experiments/run-asking"]), ("zh", "dark", ["/methods", COMPARED]),
     ("en", "dark", ["/experiments", COMPARED]), ("zh", "light", ["/methods/llmrank", "/experiments/run-asking"])],
)  # fmt: skip
def test_pages_in_a_browser(open_page, lang, theme, paths):
    for path in paths:
        page = open_page(path, lang=lang, theme=theme)
        if "run" in path:
            page.locator(".plot canvas").first.wait_for()
        for one in page.locator("main .field details, main #run details, main .side details").all():
            one.evaluate("one => { one.open = true }")
        axe_clean(page)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_on_a_phone(open_page, lang):
    page = open_page("/methods", lang=lang, viewport=PHONE, touch=True)
    for path in ("/methods", "/methods/llmrank", "/experiments", "/experiments/run-asking",
                 COMPARED):  # fmt: skip
        page.goto(path)
        wide_enough(page)
        for one in page.locator("main button:visible, main input:visible:not([type=checkbox])").all():
            assert one.bounding_box()["height"] >= 40, one.inner_text()


def test_from_a_method_to_its_run_and_a_comparison(open_page):
    page = open_page("/methods")
    page.locator("#grid a", has_text=re.compile("^llmrank$")).click()
    page.locator("#option-lm").select_option("fake:overlap")
    page.locator("#max_users").fill("12")
    page.locator("#run summary").first.click()
    page.locator("#option-rounds").fill("1")
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("button", name="Run it for 12 users").wait_for()
    assert page.locator(".estimate .fact dd").first.inner_text() == "12"
    assert "cost" in page.locator("#said").inner_text()
    axe_clean(page)
    page.get_by_role("button", name="Run it for 12 users").click()
    page.wait_for_url("**/experiments/job-*")
    page.locator("#table").wait_for()  # the page follows the job and opens the table when it is done
    assert page.locator("#table tbody th", has_text="llmrank").count() == 1
    mine = page.url.rsplit("/", 1)[1]

    page.locator("nav a", has_text="Experiments").click()
    for one in (mine, "run-near"):
        page.locator(f"input[value='{one}']").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?**")
    assert "asked other questions" in page.locator("main").inner_text()
    page.locator(".plot canvas").wait_for()
    assert "neighbours" in page.locator("#differing").inner_text()


def test_what_is_downloaded_is_what_the_table_says(open_page):
    page = open_page("/experiments/run-asking")
    figure = page.locator("#figure-accuracy")
    figure.locator("canvas").wait_for()
    name, svg = saved(page, figure.get_by_role("link", name="SVG"))
    assert name == "accuracy.svg" and svg.startswith("<svg") and "asking" in svg
    name, text = saved(page, figure.get_by_role("link", name="CSV"))
    rows = list(csv.DictReader(io.StringIO(text)))
    shown = {}
    for line in page.locator("#table tbody tr").all():
        system = line.locator("th").inner_text().split()[1]
        shown[system] = re.match(r"[0-9.]+", line.locator("td").first.inner_text())[0]
    assert name == "accuracy.csv" and set(shown) <= set(rows[0])
    for system, mean in shown.items():
        values = [float(row[system]) for row in rows if row[system]]
        assert len(values) == 1 and f"{values[0]:.4f}" == f"{float(mean):.4f}"


def test_one_user_by_keyboard(open_page):
    page = open_page("/experiments/run-asking")
    page.locator("#user").fill("u00")
    page.locator("#known option").first.wait_for(state="attached")
    user = page.locator("#known option").nth(1).get_attribute("value")
    page.locator("#user").fill(user)
    page.keyboard.press("Enter")
    page.locator("#user-lists h3", has_text=user).wait_for()
    assert page.locator(".side").count() == 5 and user in page.locator("#said").inner_text()
    page.locator(".side", has_text="asking").locator("summary").first.click()
    page.locator(".side pre").first.wait_for()


def test_hostile_names_have_no_effect(open_page, own, site):
    """A run whose systems, titles and prompts are markup; a dialog or an error in the console fails the test."""
    home = own.settings.home
    place = home / "runs" / "hostile"
    shutil.copytree(home / "runs" / "asking", place)
    bad = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>{{7*7}}"
    told = json.loads((place / "report.json").read_text().replace('"asking"', json.dumps(bad)))
    told["title"] = told["manifest"]["command"] = bad
    (place / "report.json").write_text(json.dumps(told))
    kept = json.loads((place / "questions.json").read_text())
    kept["titles"] = [f"{bad} {i}" for i in range(len(kept["titles"]))]
    (place / "questions.json").write_text(json.dumps(kept))
    page = open_page("/experiments")
    for path in ("/experiments", "/experiments/run-hostile", "/experiments/compare?run=run-hostile&run=run-near"):
        page.goto(path)
        if path != "/experiments":
            page.locator(".plot canvas").first.wait_for()
        assert page.locator("main img, main svg:not(.bar), main script").count() == 0
    shutil.rmtree(place)


def test_without_scripts(chromium, site):
    context = chromium.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/methods/popular")
    page.get_by_role("button", name="Estimate").click()
    page.wait_for_url("**/methods/popular?job=*")
    for _ in range(int(LONG / 0.1)):
        if page.get_by_role("button", name="Run it for 100 users").count():
            break
        page.wait_for_timeout(100)
        page.reload()
    page.get_by_role("button", name="Run it for 100 users").click()
    page.wait_for_url("**/experiments/job-*")
    context.close()


def test_costs_of_any_size_are_drawn(own, open_page):
    """From .00955 to .5038 in steps of .001 the ticks of a logarithmic axis once stood still until memory was full."""
    home = own.settings.home
    shutil.copytree(home / "runs" / "near", home / "runs" / "odd")
    report = home / "runs" / "odd" / "report.json"
    told = json.loads(report.read_text("utf-8"))
    for n, row in enumerate(told["rows"]):
        row["costs"]["ms/list"] = 0.2519 if n else 0.0191
    report.write_text(json.dumps(told), "utf-8")
    page = open_page("/experiments/run-odd")
    page.locator("#figure-accuracy canvas").wait_for()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is drawn
