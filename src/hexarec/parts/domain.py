"""How a domain's items are spoken of: the words that stand in prompts, in English and Chinese."""

from __future__ import annotations

from hexarec.core import OptionError

# domain -> (past verb, plural noun, verb) in English and Chinese
DOMAINS: dict[str, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    "film": (("watched", "films", "watch"), ("看过", "电影", "看")),
    "product": (("purchased", "products", "purchase"), ("购买过", "商品", "购买")),
    "game": (("played", "games", "play"), ("玩过", "游戏", "玩")),
    "book": (("read", "books", "read"), ("读过", "书", "读")),
    "news": (("read", "news articles", "read"), ("读过", "新闻", "读")),
    "music": (("listened to", "tracks", "listen to"), ("听过", "音乐", "听")),
    "item": (("chosen", "items", "choose"), ("选择过", "物品", "选择")),
}


def known_domain(domain: str) -> None:
    """Raise OptionError for a domain without words."""
    if domain not in DOMAINS:
        raise OptionError(f"unknown domain {domain!r}", hint=f"use one of {', '.join(DOMAINS)}")


def domain_words(domain: str, lang: str) -> dict[str, str]:
    """The slots `verb` (past), `noun` (plural) and `act` (present) of a domain in a language."""
    verb, noun, act = DOMAINS[domain][1 if lang.startswith("zh") else 0]
    return {"verb": verb, "noun": noun, "act": act}
