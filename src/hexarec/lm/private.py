"""Words about a person do not leave this machine: what looks like an address or a number of somebody is taken out.

Names cannot be told from other words and stay; what a prompt says of a user is the business of the method.
"""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from hexarec.core.errors import ModelError

SWITCH = "HEXAREC_PRIVATE"
"""An environment variable, so that worker processes inherit it: 1 keeps personal words on this machine."""
HERE = frozenset({"127.0.0.1", "::1", "localhost"})
NOT_WORDS = frozenset({"model", "response_format", "guided_choice"})
"""Fields of a request that hold the model's name or titles of the catalog."""


def keep_private() -> None:
    """From now on this process, and those it starts, send no personal words to other machines."""
    os.environ[SWITCH] = "1"


def outgoing(body: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The body as it may leave for the address. Raises ModelError when that cannot be told: then nothing leaves."""
    if os.environ.get(SWITCH) != "1" or urlsplit(url).hostname in HERE:
        return dict(body)
    try:
        return {name: value if name in NOT_WORDS else _without(value) for name, value in body.items()}
    except Exception as error:
        raise ModelError(
            f"the prompt could not be searched for personal words: {type(error).__name__}", hint="nothing was sent"
        ) from None


def _without(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {name: _without(one) for name, one in value.items()}
    return [_without(one) for one in value] if isinstance(value, list | tuple) else value


def redacted(text: str) -> str:
    """The text with [email], [ip], [card] and [phone] in place of such, however they are written in Unicode."""
    plain, places = _plain(text)
    spans = sorted(
        (places[found.start()], places[found.end() - 1] + 1, kind)
        for kind, pattern, fits in KINDS
        for found in pattern.finditer(plain)
        if fits(found[0])
    )
    made, done = [], 0
    for start, end, kind in spans:
        if start >= done:
            made += [text[done:start], f"[{kind}]"]
        done = max(done, end)
    return "".join([*made, text[done:]])


def _plain(text: str) -> tuple[str, range | list[int]]:
    """The text in plain letters and digits, without marks nobody sees, and where each letter stands in the text."""
    if text.isascii():
        return text, range(len(text))
    letters, places = [], []
    for place, one in enumerate(text):
        for letter in "" if _unseen(one) else unicodedata.normalize("NFKC", one):
            letters.append(_ascii(letter))
            places.append(place)
    return "".join(letters), places


def _unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cf", "Mn", "Me")


def _ascii(letter: str) -> str:
    if (digit := unicodedata.digit(letter, -1)) >= 0:
        return str(digit)
    kind = unicodedata.category(letter)
    if kind == "Pd" or letter == "\u2212":
        return "-"
    if letter in "\u3002\uff61\u00b7\u2219\u2022\u30fb":
        return "."
    return " " if kind == "Zs" else letter


def _luhn(found: str) -> bool:
    digits = [int(one) for one in found if one.isdigit()]
    doubled = [one if i % 2 else (2 * one - 9 if one > 4 else 2 * one) for i, one in enumerate(reversed(digits), 1)]
    return sum(doubled) % 10 == 0


def _address(found: str) -> bool:
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return False
    return any(one.isalnum() for one in found)


def _phone(found: str) -> bool:
    digits = sum(one.isdigit() for one in found)
    return digits <= 15 and (digits >= 9 or (digits >= 7 and not found[0].isdigit()))


_AT, _DOT = r"(?: ?@ ?| ?[\[(]at[\])] ?)", r"(?: ?\. ?| ?[\[(]dot[\])] ?)"
_DATE, _AREA = r"(?:19|20)\d\d-\d\d-\d\d", r"(?:\(\d{1,5}\)[ ./-]{0,2})?"
# every pattern begins where a run of its letters begins, so that a long run is read once
KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(rf"(?<![\w.+%'-])[\w.+%'-]+{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{1,8}}", re.I), bool),
    ("ip", re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)"), _address),
    ("ip", re.compile(r"(?<!\w)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.I | re.A), _address),
    ("card", re.compile(r"(?<!\d)\d(?:[ .-]?\d){12,18}(?!\d)"), _luhn),
    (
        "phone",
        re.compile(
            rf"(?<!\w)(?<!\d\.)(?!{_DATE})(?:\+ ?)?{_AREA}\d{{1,15}}(?:[ ./-]{{1,2}}{_AREA}\d{{2,15}}){{0,6}}(?!\w)",
            re.A,
        ),
        _phone,
    ),
)
"""What is taken out: its name, how it looks in plain letters, and whether what looks like it is one."""
