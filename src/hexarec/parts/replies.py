"""Replies of a conversation in fixed sentences: lists with reasons, reasons, ratings, and what is said without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hexarec.core import Catalog, Reply, Span, Words
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import titles

MARK = "\0"  # where a title goes: the title itself may be a number, as the place is


@dataclass(frozen=True)
class Replies:
    """Wording from the pieces line, why, none, which and others; state is what the reply hands back."""

    prompts: Prompts
    catalog: Catalog
    lang: str
    state: dict[str, Any]

    def fixed(self, piece: str, **slots: str | int) -> Words:
        """A sentence of our own."""
        return Words(self.prompts.text(self.lang, piece, **slots), self.lang, status="template")

    def plain(self, piece: str, act: Literal["ask", "chat"]) -> Reply:
        """A fixed sentence without items."""
        return Reply(self.fixed(piece), (), act, self.state)

    def listed(self, opening: Words, rows: Sequence[int], reasons: Sequence[Words]) -> Reply:
        """The opening, then one line an item with its reason; spans point from each title to its item."""
        text, spans, ids = opening.text, [], tuple(self.catalog.ids(np.asarray(rows)))
        for place, (item, name, why) in enumerate(zip(ids, self._names(rows), reasons, strict=True), 1):
            before, line = (
                self.prompts.text(self.lang, "line", place=place, title=one, reason=why.text) for one in (MARK, name)
            )
            start = len(text) + 1 + before.index(MARK)
            spans.append(Span(start, start + len(name), item))
            text += "\n" + line
        claims = (*opening.claims, *(claim for why in reasons for claim in why.claims))
        return Reply(replace(opening, text=text, spans=tuple(spans), claims=claims), ids, "recommend", self.state)

    def explained(self, rows: Sequence[int], reasons: Sequence[Words]) -> Reply:
        """One line an item with its reason."""
        lines = [
            self.prompts.text(self.lang, "why", title=name, reason=why.text)
            for name, why in zip(self._names(rows), reasons, strict=True)
        ]
        claims = tuple(claim for why in reasons for claim in why.claims)
        words = Words("\n".join(lines), self.lang, claims=claims, status="template")
        return Reply(words, tuple(self.catalog.ids(np.asarray(rows))), "explain", self.state)

    def rated(self, rows: Sequence[int], values: Sequence[float], high: int) -> Reply:
        """One line an item with the rating it is expected to get; NaN = none."""
        lines = []
        for name, value in zip(self._names(rows), values, strict=True):
            piece = "unrated" if value != value else "rated"
            lines.append(self.prompts.text(self.lang, piece, title=name, value=f"{value:.1f}", high=high))
        words = Words("\n".join(lines), self.lang, status="template")
        return Reply(words, tuple(self.catalog.ids(np.asarray(rows))), "explain", self.state)

    def _names(self, rows: Sequence[int]) -> list[str]:
        return titles(self.catalog, rows, self.lang)


def behind(text: str, reply: Reply) -> Reply:
    """The reply with `text` in front of its words; spans point to the same letters."""
    spans = tuple(replace(one, start=one.start + len(text), stop=one.stop + len(text)) for one in reply.words.spans)
    return replace(reply, words=replace(reply.words, text=text + reply.words.text, spans=spans))
