"""Prompts as options: wording in English and Chinese, with an id, a version and a hash."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from hexarec.core import OptionError, digest


@dataclass(frozen=True)
class Prompts:
    """Named pieces of wording per language. Slots are written {name}; every language has the same pieces and slots.

    Raises OptionError when a language lacks a piece, or a piece has other slots than the English one.
    """

    id: str
    version: int
    en: Mapping[str, str] = field(default_factory=dict)
    zh: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in set(self.en) | set(self.zh):
            if name not in self.en or name not in self.zh:
                raise OptionError(f"prompt {self.id}: piece {name!r} lacks a language")
            if slots_of(self.en[name]) != slots_of(self.zh[name]):
                raise OptionError(f"prompt {self.id}: piece {name!r} has other slots in zh than in en")

    def text(self, lang: str, piece: str, **slots: str | int) -> str:
        """One piece, filled. Languages other than zh read the English wording."""
        return (self.zh if lang.startswith("zh") else self.en)[piece].format(**slots)

    @property
    def hash(self) -> str:
        """Changes when any wording changes."""
        return digest(self.id, self.version, sorted(self.en.items()), sorted(self.zh.items()))[:16]


def slots_of(text: str) -> set[str]:
    """The names in braces of a piece of wording."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}
