"""Prompts of the store in the place of those that methods bring along: prompts = "prompt:NAME" in a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hexarec.core import OptionError
from hexarec.parts.prompts import Prompts, slots_of
from hexarec.pipeline.build import card

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

KIND, MARK = "prompt", "prompt:"
ONLY = "text"
"""The name of the piece of a prompt that is written as one text."""


def pieces_of(words: Any) -> dict[str, str]:
    """The pieces of one language of a stored prompt."""
    return {ONLY: words} if isinstance(words, str) else dict(words)


def prompts_of(name: str, version: int, body: Mapping[str, Any]) -> Prompts:
    """A stored prompt; without Chinese the English wording serves both. Raises OptionError for unequal slots."""
    return Prompts(name, version, pieces_of(body["en"]), pieces_of(body.get("zh") or body["en"]))


def with_prompts(config: Any, shelf: Shelf) -> Any:
    """The configuration with the active version of every prompt it names.

    Raises OptionError for a name nobody stored, or a prompt without a piece or slot that the method fills.
    """
    if isinstance(config, list | tuple):
        return [with_prompts(one, shelf) for one in config]
    if not isinstance(config, Mapping):
        return config
    made = {key: with_prompts(value, shelf) for key, value in config.items()}
    named = made.get("prompts")
    if isinstance(named, str) and named.startswith(MARK):
        found = shelf.get(KIND, named.removeprefix(MARK))
        if found is None:
            raise OptionError(f"no prompt {named!r} is stored", hint="PUT /v1/prompts/{name} stores one")
        made["prompts"] = prompts_of(found.name, found.version, found.body)
        _check(str(made.get("use", "")), made["prompts"])
    return made


def _check(use: str, given: Prompts) -> None:
    """Raise OptionError unless the prompt has the pieces of the method's own, with no slot that it does not fill."""
    own = next((one.default for one in dataclasses.fields(card(use).load()) if one.name == "prompts"), None)
    if not isinstance(own, Prompts):
        raise OptionError(f"{use!r} has no option prompts")
    lacking = sorted(set(own.en) - set(given.en))
    if lacking:
        raise OptionError(
            f"prompt {given.id!r} lacks {', '.join(lacking)} of {use}", hint=f"pieces: {', '.join(own.en)}"
        )
    for piece, text in own.en.items():
        if unknown := sorted(slots_of(given.en[piece]) - slots_of(text)):
            raise OptionError(
                f"prompt {given.id!r}: {piece} has the slot {unknown[0]!r}, which {use} does not fill",
                hint=f"slots: {', '.join(sorted(slots_of(text))) or 'none'}",
            )
