"""The chat in a browser: five turns with the stub server and with SmolLM2, chips, cards, two people, forgetting."""

import pytest

from hexarec.data.store import open_data
from serve.conftest import backend_over
from serve.running import listening

from .conftest import PHONE, axe_clean, wide_enough
from .test_chat_page import FILMS

TURNS = ("Hello!", "Something with comedy from the 90s, but no horror.", "Why the second one?", "Thanks!",
         "A thriller instead. I loved Zodiac.")  # fmt: skip


def serving(folder, lm):
    config = {
        **FILMS,
        "use": {"lm": lm},
        "converse": {"use": "chatrec", "lm": "@lm", "backend": "none", "domain": "film"},
    }
    return backend_over(folder, open_data("films"), config, longest_ms=120_000)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from hexarec.testing.stub import Stub

    with Stub() as stub:
        model = {"model": f"openai:{stub.url}#stub"}
        with listening(serving(tmp_path_factory.mktemp("chat") / "home", model)) as url:
            yield url


def say(page, text, patience=15_000):
    """Say something and wait for the whole answer; its element."""
    turns = page.locator("#turns > .turn")
    n = turns.count()
    page.locator("#text").fill(text)
    page.keyboard.press("Enter")
    answer = turns.nth(n + 1)
    answer.locator(".under").last.wait_for(timeout=patience)
    assert answer.get_attribute("aria-busy") is None and page.locator("#text").input_value() == ""
    return answer


def five_turns(page, patience=15_000):
    answers = [say(page, text, patience) for text in TURNS]
    assert [one.locator(".item").count() for one in answers] == [0, 5, 1, 0, 5]
    assert all(one.locator(".said").first.inner_text() for one in answers)
    assert page.locator("#turns .trouble").count() == 0
    assert page.locator("#known .chip").all_inner_texts()[0].startswith("Zodiac")
    return answers


def test_five_turns_with_the_stub(open_page):
    page = open_page("/chat")
    axe_clean(page)
    five_turns(page)
    axe_clean(page)
    page.reload()
    assert page.locator("#turns > .turn").count() == 10
    page.get_by_role("button", name="Forget the talk").click()
    page.locator("#turns:not(:has(> .turn))").wait_for(state="attached")


def test_chips_and_cards_by_keyboard_on_a_phone_in_chinese(open_page):
    page = open_page("/chat", lang="zh", theme="dark", viewport=PHONE, touch=True)
    answer = say(page, "推荐几部 comedy，不要 horror")
    wide_enough(page)
    axe_clean(page)
    answer.locator("button[value=like]").first.press("Enter")
    answer.locator(".noted p").first.wait_for()
    assert page.locator("#known .chip.like").count() == 2 and "已记下" in answer.locator(".noted").first.inner_text()
    answer.get_by_role("button", name="为什么推荐").nth(1).press("Enter")
    answer.locator(".noted").nth(1).locator(".why, p").first.wait_for()
    chips = page.locator("#known .chip").count()
    page.locator("#known .chip.dislike button").first.press("Enter")
    page.locator("#known .chip.dislike").wait_for(state="detached")
    assert page.locator("#known .chip").count() == chips - 1


def test_two_people(open_page):
    page = open_page("/chat")
    page.locator("#name-first").fill("Ana")
    page.locator("#people form button").first.click()
    page.locator("#people details summary").click()
    page.locator("#name-new").fill("Ben")
    page.locator("#name-new").press("Enter")
    page.locator("#say input[type=radio]").nth(1).check()
    answer = say(page, "Something with drama.")
    assert "Ana: place" in answer.inner_text() and "For Ana, Ben" in answer.inner_text()
    axe_clean(page)


@pytest.mark.slow
def test_five_turns_with_smollm2(chromium, tmp_path, watched):
    from hexarec.lm.models import installed

    from .conftest import watch

    if "smollm2" not in installed():
        pytest.skip("smollm2 is not installed: hexarec models install smollm2")
    with listening(serving(tmp_path / "home", {"model": "gguf:smollm2"})) as url:
        context = chromium.new_context(base_url=url, locale="en-US")
        page = watch(context.new_page(), url, watched)
        page.goto("/chat")
        answers = five_turns(page, 120_000)
        assert "calls: 1" in answers[0].locator(".under").last.inner_text()
        context.close()
    watched.check()
