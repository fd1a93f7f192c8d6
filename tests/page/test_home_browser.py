"""Home in a browser: both languages, both themes, a list for a user and for titles, by keyboard and on a phone."""

import pytest

from serve.jobs.conftest import eventually

from .conftest import PHONE, axe_clean, wide_enough


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("lang, title", [("en", "What this server recommends"), ("zh", "这台服务器推荐什么")])
def test_home(open_page, lang, title, theme):
    page = open_page("/", lang=lang, theme=theme)
    assert page.locator("h1").inner_text() == title
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[lang]
    axe_clean(page)
    page.locator("#user").fill("u001")
    page.locator("form:has(#user) button").click()
    page.locator("#list .item").first.wait_for()
    assert page.locator("#list .item").count() == 6
    page.locator("#list details summary").first.click()
    axe_clean(page)


def test_a_user_is_found_by_the_beginning_of_an_id(browser_page):
    browser_page.locator("#user").press_sequentially("u00", delay=20)
    found = browser_page.locator("#users option")
    eventually(lambda: found.evaluate_all("all => all.map((one) => one.value)") == [f"u00{n}" for n in range(10)])


def test_three_titles_by_keyboard_alone(browser_page):
    first = browser_page.locator("input[name=like]").first
    first.focus()
    for title in ("Title 2", "no such thing", "Title 4"):
        browser_page.keyboard.type(title)
        browser_page.keyboard.press("Tab")
    assert browser_page.evaluate("document.activeElement.tagName") == "BUTTON"
    browser_page.keyboard.press("Enter")
    browser_page.locator("#list .item").first.wait_for()
    liked = browser_page.locator("#list .chip.like").all_inner_texts()
    assert liked == ["Title 2", "Title 4"]
    assert "no such thing" in browser_page.locator("#tried .trouble").inner_text()
    assert "6" in browser_page.locator("#said").inner_text()


def test_the_first_tab_skips_to_the_content(browser_page):
    browser_page.keyboard.press("Tab")
    browser_page.keyboard.press("Enter")
    browser_page.wait_for_function("document.activeElement.id === 'main'")


def test_the_language_is_kept(browser_page):
    browser_page.get_by_role("button", name="中文").click()
    browser_page.locator("html[lang=zh-Hans]").wait_for(state="attached")
    browser_page.goto("/?user=u001")
    assert browser_page.locator("#list-title").inner_text() == "为 u001 推荐"
    browser_page.get_by_role("button", name="English").click()
    browser_page.get_by_text("For u001", exact=True).wait_for()
    assert browser_page.url.endswith("/?user=u001")  # where it was


def test_the_theme_changes_at_once_and_is_kept_without_a_flash(browser_page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser_page.evaluate(ground)
    with browser_page.expect_response("**/theme"):
        browser_page.get_by_role("button", name="Dark").click()
    dark = browser_page.evaluate(ground)
    assert dark != light and browser_page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    browser_page.reload()
    assert browser_page.evaluate(ground) == dark
    assert browser_page.locator("html").get_attribute("data-theme") == "dark"  # from the server, before any script


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_on_a_phone(open_page, lang):
    page = open_page("/?user=u001", lang=lang, viewport=PHONE, touch=True)
    wide_enough(page)
    axe_clean(page)
    for one in page.locator("main button:visible, header a:visible, main input:visible").all():
        box = one.bounding_box()
        assert box["height"] >= 36, one.inner_text()


def test_without_scripts(chromium, site):
    context = chromium.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.locator("#user").fill("u002")
    page.locator("form:has(#user) button").click()
    page.locator("#list .item").nth(5).wait_for()
    assert page.locator("#list .item").count() == 6
    page.get_by_role("button", name="中文").click()
    page.locator("h1", has_text="这台服务器推荐什么").wait_for()
    page.get_by_role("button", name="深色").click()
    page.locator("html[data-theme=dark]").wait_for(state="attached")
    context.close()
