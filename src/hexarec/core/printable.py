"""Text of others on a terminal: what steers the screen is shown, not obeyed."""

from __future__ import annotations

import re

# controls but newline and tab, marks that turn the direction of writing, and halves of letters, which no terminal takes
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with control characters, direction marks and lone surrogates as escapes: ESC becomes `\x1b`."""
    return _STEERS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
