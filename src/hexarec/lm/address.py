"""Addresses as they may be shown and kept: without the user, the password and the query that stand in some of them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from hexarec.core.errors import ModelError, OptionError

HELD = "***"
"""Stands in an address that is kept where a user or a query stood."""
_PRIVATE = re.compile(r"(\b[a-z][a-z0-9+.-]*://)([^\s/?#]*@)?([^\s?#]*)(\?[^\s#]*)?", re.IGNORECASE)
_SOUND = re.compile(
    r"https?://([^\s/?#]*@)?(\[[^\s/?#@\]]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?(/[^\s?#@]*)?(\?[^\s#]*)?", re.IGNORECASE
)
_MENDED = (
    "an address is http://user:password@host:port/v1; in a user or password write / as %2F, ? as %3F, # as %23, "
    "@ as %40, a blank as %20"
)


def sound(address: str) -> str:
    """An address of which user, password and query can be told from the rest.

    Raises OptionError, which tells of the address no more than what stands behind the last "@" and before a query.
    """
    if _SOUND.fullmatch(address):
        return address
    raise unsound(address)


def unsound(address: str) -> OptionError:
    """What to say of an address that cannot be read."""
    found = re.search(r"@[^\s?@]+(?=[^@]*$)", address)
    shown = f"at ...{found[0]} " if found else ""
    return OptionError(f"the address of a model {shown}is not one", hint=_MENDED)


def without_secrets(text: str) -> str:
    """A text with every address in it cut to protocol, host, path and what stands behind "#"."""
    return _PRIVATE.sub(r"\1\3", text)


def withheld(text: str) -> str:
    """A text with the user and the query of every address in it as "***", so that `whole` knows what to ask for."""
    return _PRIVATE.sub(
        lambda found: "".join(
            (found[1], f"{HELD}@" if found[2] else "", found[3], f"?{HELD}" if found[4] else ""),
        ),
        text,
    )


def withheld_in(config: Any) -> Any:
    """A configuration with every address of a model in it withheld."""
    if isinstance(config, Mapping):
        return {name: withheld_in(one) for name, one in config.items()}
    if isinstance(config, list | tuple):
        return [withheld_in(one) for one in config]
    return withheld(config) if isinstance(config, str) and config.startswith("openai:") else config


def whole(address: str, variable: str) -> str:
    """An address; one that was withheld is taken whole from the environment variable.

    Raises ModelError where the variable holds no address, or another one.
    """
    found = _PRIVATE.match(address)
    if found is None or (found[2] != f"{HELD}@" and found[4] != f"?{HELD}"):
        return address
    given = os.environ.get(variable, "").rstrip("/")
    if withheld(given) == address.rstrip("/") and given != address:
        return given
    shown = without_secrets(address)
    other = f"; it names {without_secrets(given) or 'no address'}, or lacks them" if given else ""
    raise ModelError(
        f"the user, password or query of {shown} is not kept in what is saved{other}",
        hint=f"set the environment variable {variable} to the whole address, as {_example(found)}",
    )


def _example(found: re.Match[str]) -> str:
    return f"{found[1]}{'user:password@' if found[2] else ''}{found[3]}{'?key=...' if found[4] else ''}"


class _Shown(logging.Filter):
    """Takes secrets out of the addresses that the libraries under a client log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """The record stays, its text is cut."""
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


def quiet(*names: str) -> None:
    """From now on these loggers write addresses without secrets."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Shown) for one in logger.filters):
            logger.addFilter(_Shown())
