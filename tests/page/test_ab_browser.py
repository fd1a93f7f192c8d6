"""An experiment from the form to its end in a browser, by keyboard alone, in both languages; what is wrong is mended."""

import pytest

from hexarec.serve.page.words import word
from serve.conftest import backend_over
from serve.running import listening

from .conftest import PHONE, axe_clean, wide_enough
from .test_ab_form import POPULAR


@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    backend = backend_over(tmp_path_factory.mktemp("ab") / "home", data)
    backend.service.tenant("default").fit("popular", POPULAR)
    with listening(backend) as url:
        yield url


def typed(page, name, text):
    """Go on by Tab to a field and write over what stands in it."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            page.keyboard.press("Control+a")
            page.keyboard.type(text)
            return
    raise AssertionError(f"Tab does not come to {name}")


def pressed(page, selector):
    """Go on by Tab to a button, press it, and wait for the next page."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
    raise AssertionError(f"Tab does not come to {selector}")


@pytest.mark.parametrize("lang, theme, viewport", [("en", "light", None), ("zh", "dark", PHONE)])
def test_an_experiment_by_keyboard(open_page, watched, lang, theme, viewport):
    watched.expected.append("422")
    name, more = f"trial-{lang}", {"viewport": viewport} if viewport else {}
    page = open_page("/ab", lang=lang, theme=theme, **more)
    for field, text in (("name", "No Name"), ("control", "default"), ("variant", "popular"), ("share", "60")):
        typed(page, field, text)
    pressed(page, "#new button.main")
    # what is wrong is said at its field, with what mends it; the first of them has the keyboard
    page.wait_for_function("document.activeElement.id === 'name'")  # after the page is loaded, when it is first drawn
    for field, text in (("name", "a-z"), ("share", "50")):
        assert page.locator(f"#{field}").get_attribute("aria-invalid") == "true"
        said = page.locator(f"#{page.locator(f'#{field}').get_attribute('aria-describedby')}")
        assert text in said.inner_text() and said.is_visible()
    assert page.locator("#variant").input_value() == "popular"  # what was right stays
    axe_clean(page)
    wide_enough(page)
    page.keyboard.press("Control+a")
    page.keyboard.type(name)
    typed(page, "share", "20")
    pressed(page, "#new button.main")
    page.wait_for_url(f"**/ab/{name}")
    axe_clean(page)
    pressed(page, "#state button.main")
    assert word(lang, "ab.states.running") in page.locator("#state").inner_text()
    live = open_page("/live", lang=lang, theme=theme, **more)
    running = live.locator("#trials")
    assert name in running.inner_text() and "popular" in running.inner_text()
    axe_clean(live)
    wide_enough(live)
    with live.expect_navigation():
        running.get_by_role("link", name=name, exact=True).press("Enter")
    pressed(live, "#state button.danger")
    assert word(lang, "ab.states.stopped") in live.locator("#state").inner_text()
    assert name not in open_page("/live", lang=lang).locator("#trials").inner_text()
