"""Questions about a closed list as pieces of a `Prompts`: what `parts.ask` calls a wording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hexarec.parts.prompts import Prompts


@dataclass(frozen=True)
class Worded:
    """One user's questions, from the pieces list, json, choice, pointwise, pairwise, lead, lead_bare, yes and no.

    condition: the same text in front of every option, so that an engine reads it once. words: the other slots.
    """

    prompts: Prompts
    lang: str
    words: Mapping[str, str]
    condition: str

    def _text(self, piece: str, **slots: str | int) -> str:
        return self.prompts.text(self.lang, piece, condition=self.condition, **self.words, **slots)

    def listwise(self, options: str, n: int, *, json: bool = False) -> str:
        """The question for a full order, as lines or as JSON."""
        return self._text("json" if json else "list", options=options, n=n)

    def choice(self, options: str) -> str:
        """The question for one handle."""
        return self._text("choice", options=options)

    def pointwise(self, title: str) -> str:
        """The yes/no question."""
        return self._text("pointwise", title=title)

    def pairwise(self, first: str, second: str) -> str:
        """The A/B question."""
        return self._text("pairwise", first=first, second=second)

    def lead(self, *, history: bool) -> str:
        """The text a title continues."""
        return self._text("lead" if history else "lead_bare")

    @property
    def yes_no(self) -> tuple[str, str]:
        """Yes and no in the language."""
        return self._text("yes"), self._text("no")
