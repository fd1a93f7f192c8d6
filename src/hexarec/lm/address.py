"""Addresses as they may be shown: without the user, the password and the query that stand in some of them."""

from __future__ import annotations

import re

_PRIVATE = re.compile(r"(\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?([^\s?#]*)(?:\?[^\s#]*)?", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """A text with every address in it cut to protocol, host, path and what stands behind "#"."""
    return _PRIVATE.sub(r"\1\2", text)
