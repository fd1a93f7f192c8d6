"""Whether a turn of a dialogue is about something else than the turns before it, by the likeness of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hexarec.lm.base import Encoder, Floats
from hexarec.parts.encoded import asked


@dataclass(frozen=True)
class Topics:
    """A turn begins a new topic where it is less than `least` like each turn before it (cosine, -1 to 1).

    encoder: texts to vectors, None = every turn goes on with what was talked about. So does it with an encoder that
    learns from the catalog, in which texts without a word of the catalog are like none, and where nothing came of a
    text.
    """

    encoder: Encoder | None = None
    least: float = -1.0

    def new(self, wishes: Sequence[tuple[str, Sequence[str]]]) -> list[bool]:
        """For each turn, what it asks for and what those before it asked for; a turn that lacks either goes on."""
        told = [(now, before) for now, before in wishes if now and before]
        if self.encoder is None or hasattr(self.encoder, "fit") or self.least <= -1.0 or not told:
            return [False] * len(wishes)
        texts = list(dict.fromkeys(one for now, before in told for one in (now, *before)))
        rows = asked(self.encoder, texts)
        place = {text: row for row, text in enumerate(texts) if rows[row].any()}
        return [self._apart(rows[place[now]], [rows[place[one]] for one in before if one in place])
                if now in place else False for now, before in wishes]  # fmt: skip

    def _apart(self, now: Floats, before: Sequence[Floats]) -> bool:
        return bool(before) and max(float(now @ one) for one in before) < self.least
