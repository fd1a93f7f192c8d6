"""What docstrings say of methods, in Chinese: every method and every option has its own, written from today's English."""

import re

import pytest

from hexarec.lm.base import CAPABILITIES
from hexarec.pipeline.build import cards
from hexarec.serve.page.docs import in_language, key_of, translations
from hexarec.serve.page.values import methods
from hexarec.serve.page.values.methods import TOLD, method_of


def texts():
    """(kind, name, English) of all that a page says from docstrings."""
    for name, card in cards().items():
        method = method_of(card, "en")
        yield from ((kind, name, method.said[kind].text) for kind in TOLD if method.said[kind].text)
        yield from (("option", one.name, one.doc.text) for one in method.options)
    yield from (("engine", name, text) for name, text in CAPABILITIES.items())


def test_every_text_has_its_chinese():
    """A text that is new, or whose English changed since, is named with the key to write it under."""
    lacking = [f"[{kind}] {key_of(name, text)} = ...  # {text}" for kind, name, text in texts()
               if in_language("zh", kind, name, text) is None]  # fmt: skip
    assert lacking == [], "write these into words/methods.zh.toml"


def test_no_translation_is_left_over():
    used = {(kind, key_of(name, text)) for kind, name, text in texts()}
    kept = {(kind, key) for kind, part in translations("zh").items() for key in part}
    assert sorted(kept - used) == [], "no text is like these any more: take them out of words/methods.zh.toml"


def test_every_option_says_what_it_means():
    assert [(name, one.name) for name, card in cards().items() for one in method_of(card, "en").options
            if not one.doc.text] == []  # fmt: skip


def test_it_is_chinese():
    for kind, part in translations("zh").items():
        for key, text in part.items():
            code = re.fullmatch(r"(?:\w+:、?)+", text)  # names of engines alone
            assert code or re.search("[\u4e00-\u9fff]", text), (kind, key)
            assert not re.search(r"[\u4e00-\u9fff][,;:!?]|[,;!?] ?[\u4e00-\u9fff]", text), (kind, key)


@pytest.mark.parametrize("name", sorted(cards()))
def test_nothing_of_a_method_stays_english(page_client, name):
    """But its paper's citation and the titles of published tables."""
    text = page_client.get(f"/methods/{name}", headers={"accept-language": "zh"}).text
    english = re.findall(r"<(\w+)[^>]* lang=\"en\"[^>]*>([^<]*)", text)
    paper = cards()[name].paper
    assert [one for tag, one in english if tag not in ("h3", "button") and one.replace("&#39;", "'") != paper] == []


def test_a_text_that_changed_is_english_until_it_is_written_anew(page_client, monkeypatch):
    usual = methods.paragraphs
    monkeypatch.setattr(methods, "paragraphs", lambda cls: {**usual(cls), "Differs": "something new"})
    text = page_client.get("/methods/tallrec", headers={"accept-language": "zh"}).text
    assert '<p lang="en">something new</p>' in text and "语言模型不懂推荐" in text
    assert "something new" in page_client.get("/methods/tallrec", headers={"accept-language": "en"}).text
