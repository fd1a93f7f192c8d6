import pytest

from hexarec.core import OptionError
from hexarec.parts.domain import DOMAINS, domain_words, known_domain


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_words_in_both_languages(domain):
    known_domain(domain)
    english, chinese = domain_words(domain, "en"), domain_words(domain, "zh-CN")
    assert set(english) == set(chinese) == {"verb", "noun", "act"}
    assert all(english.values()) and all(any("\u4e00" <= c <= "\u9fff" for c in word) for word in chinese.values())


def test_another_domain_is_refused_with_the_list():
    with pytest.raises(OptionError, match="films") as caught:
        known_domain("films")
    assert "film" in caught.value.hint and "music" in caught.value.hint
