"""Questions about one item each, with slots for vectors of user and item beside what titles tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, Queries
from hexarec.lm.base import SLOT, Prompt, Sample, Turn
from hexarec.parts.domain import domain_words
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SlotPage:
    """Wording from the pieces history, none, user, ask, item, yes and no.

    domain: what items are called. last: newest liked events read. tokens: slots of a vector.
    """

    prompts: Prompts
    domain: str
    last: int
    tokens: int

    def questions(
        self,
        queries: Queries,
        lists: Lists,
        *,
        slots: bool = False,
        vectors: Floats | None = None,
        adapter: Mapping[str, Any] | None = None,
    ) -> list[Prompt]:
        """One per listed item; those of one history begin alike.

        vectors: (n, slots, size) embeddings that stand in the slots; without them a question has slots, still empty, or
        asks by titles alone. adapter: the tuned weights that answer, as `parts.train.kept` has them.
        """
        from hexarec.parts.train.kept import placed

        place, slot = None if adapter is None else placed(adapter), SLOT * self.tokens
        slots = slots or vectors is not None
        past = queries.history.where(queries.history.liked).last(self.last)
        made: list[Prompt] = []
        for i, lang in enumerate(queries.lang.tolist()):
            read = titles(queries.catalog, past.item[slice(*past.offsets[i : i + 2])], lang)
            page = self._text(lang, "history", liked=numbered(read) or self._text(lang, "none"))
            page += self._text(lang, "user", slot=slot) if slots else ""
            after = self._text(lang, "item", slot=slot) if slots else ""
            for title in titles(queries.catalog, lists[i].items, lang):
                turn = Turn("user", page + self._text(lang, "ask", title=title) + after)
                own = None if vectors is None else vectors[len(made)]
                row = int(queries.user[i])
                made.append(Prompt(turns=(turn,), vectors=own, adapter=place, sample=Sample(max_tokens=1), whose=row))
        return made

    def labels(self, lang: str) -> tuple[str, str]:
        """The two answers, Yes first."""
        return self.prompts.text(lang, "yes"), self.prompts.text(lang, "no")

    def _text(self, lang: str, piece: str, **slots: str) -> str:
        return self.prompts.text(lang, piece, **domain_words(self.domain, lang), **slots)
