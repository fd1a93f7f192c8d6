"""The playground in a browser: a first list, a slider that orders it anew, two pipelines, both languages and themes."""

import pytest

from hexarec.data.store import open_data
from serve.conftest import backend_over
from serve.running import listening

from .conftest import PHONE, axe_clean, wide_enough

RETRIEVE = [{"use": "ease"}, {"use": "itemknn"}, {"use": "popular"}]
ASKS = {
    "pipeline": {"depth": 20}, "retrieve": RETRIEVE,
    "rank": {"use": "llmrank", "lm": "fake:overlap", "backend": "list", "rounds": 1, "domain": "film"},
    "control": [{"use": "mmr", "by": "attribute", "share": 0.6}], "explain": {"use": "because"},
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    backend = backend_over(tmp_path_factory.mktemp("play") / "home", open_data("films"), ASKS)
    backend.service.tenant().fit("plain", {"retrieve": RETRIEVE, "control": [{"use": "mmr"}]})
    with listening(backend) as url:
        yield url


def titles(page, within="#shaped"):
    return [one.split("\n")[0] for one in page.locator(f"{within} .item h3").all_inner_texts()]


@pytest.mark.parametrize("lang, theme, viewport", [("en", "light", None), ("zh", "dark", PHONE)])
def test_first_list_with_the_prompt(open_page, lang, theme, viewport):
    page = open_page("/playground", lang=lang, theme=theme, **({"viewport": viewport} if viewport else {}))
    axe_clean(page)
    page.locator("#user").fill("u0003")
    page.locator("#ask button.main").click()
    page.locator("#shaped .item").first.wait_for()
    assert page.locator("#shaped .item").count() == 10 and page.locator(".stage").count() == 7
    asked = page.locator(".stage details:has(pre)").first
    asked.locator("summary").first.click()
    assert "[user]" in asked.locator("pre").first.inner_text() and "[A]" in asked.locator("pre").first.inner_text()
    assert asked.locator("pre").nth(1).inner_text().startswith("1.") or "[" in asked.locator("pre").nth(1).inner_text()
    axe_clean(page)
    wide_enough(page)


def test_a_slider_orders_anew_by_keyboard_and_back(open_page):
    page = open_page("/playground?user=u0003&pipeline=plain")
    before = titles(page)
    slider = page.locator("#novelty")
    slider.focus()
    with page.expect_response("**/playground/shape"):
        page.keyboard.press("End")
    page.locator("#shaped .item.up, #shaped .item.new").first.wait_for()
    assert page.locator("#novelty-said").inner_text() == "100 %" and slider.get_attribute("aria-valuetext") == "100 %"
    assert titles(page) != before and page.locator("#shaped .chip", has_text="+").count()
    assert "moved" in page.locator("#said").inner_text()
    axe_clean(page)
    with page.expect_response("**/playground/shape"):
        page.keyboard.press("Home")
    page.locator("#shaped .item.up, #shaped .item.new").first.wait_for(state="detached")
    assert titles(page) == before


def test_two_pipelines_with_moves_as_text(open_page):
    page = open_page("/playground")
    page.locator("#past").fill("Alien\nno such film at all\nThe Sound of Music")
    page.locator("#pipeline").select_option("plain")
    page.locator("#other").select_option("default")
    page.locator("#ask button.main").click()
    page.locator("#run-2 .item").first.wait_for()
    said = page.locator("#run-2 h3 .chip").all_inner_texts()
    assert said and all(one == "new" or one == "stays" or one[0] in "+−" for one in said)
    assert "no such film at all" in page.locator("#played .trouble").inner_text()
    assert page.locator("#played > p .chip.like").count() == 2
    axe_clean(page)
