"""Item text to states: vectors of a frozen encoder, or a language model's state at the last token of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, ModelError, degrade, track
from hexarec.lm.base import Encoder, LanguageModel, Prompt, Sample, Turn
from hexarec.lm.cassette import keeping
from hexarec.parts.encoded import encoded, item_texts, taught
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import documents, present_fields
from hexarec.parts.usable import complete, of_rows

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
CHUNK = 64  # prompts between two looks at deadline and cancel


@dataclass(frozen=True, eq=False)
class ItemStates:
    """One of lm and encoder reads the `fields` of items; piece `ask` of the prompts words them for the lm.

    adapter: of a tuned lm. mean (size,) and spread: states are centred and scaled by them.
    """

    lm: LanguageModel | None
    encoder: Encoder | None
    fields: Sequence[str]
    prompts: Prompts
    adapter: Mapping[str, Any] | None = None
    mean: Floats | None = None
    spread: float = 1.0

    @property
    def name(self) -> str:
        """Of what reads."""
        return self.lm.name if self.lm is not None else "" if self.encoder is None else self.encoder.name

    def over(self, catalog: Catalog) -> Self:
        """Ready for a catalog: an encoder that learns from texts learns from it."""
        if self.encoder is None:
            return self
        return replace(self, encoder=taught(self.encoder, item_texts(catalog, self.fields)))

    def texts(self, catalog: Catalog, rows: Ints) -> list[str]:
        """What is read of the items of these rows; "" without words."""
        return documents(catalog, rows, present_fields(catalog, self.fields), catalog.lang)

    def asked(self, catalog: Catalog, rows: Ints) -> list[Prompt]:
        """One prompt per item."""
        from hexarec.parts.train.kept import placed

        adapter = None if self.adapter is None else placed(self.adapter)
        words = [self.prompts.text(catalog.lang, "ask", item=text) for text in self.texts(catalog, rows)]
        return [Prompt(turns=(Turn("user", text),), adapter=adapter, sample=Sample(max_tokens=1)) for text in words]

    def raw(self, catalog: Catalog, rows: Ints) -> Floats:
        """(n, size) states as they come, NaN where the model gave none."""
        if self.encoder is not None:
            return encoded(self.encoder, self.texts(catalog, rows))
        assert self.lm is not None
        prompts = self.asked(catalog, rows)
        with keeping(of_rows(complete)):
            parts = [
                self.lm.hidden(prompts[at : at + CHUNK], pool="last")
                for at in track(range(0, len(prompts), CHUNK), f"read with {self.name}")
            ]
        return np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, 1), np.float32)

    def fitted(self, states: Floats) -> Self:
        """With the mean and spread of these states, one spread for all numbers: what hardly varies is noise.

        Raises ModelError where no state is there.
        """
        there = states[np.isfinite(states).all(axis=1)]
        if not len(there):
            raise ModelError(f"{self.name} gave no state for any of {len(states)} items", hint="hexarec models test")
        mean = there.mean(0)
        return replace(self, mean=mean, spread=max(float((there - mean).std()), 1e-6))

    def scaled(self, states: Floats) -> Floats:
        """Raw states centred and scaled."""
        return states if self.mean is None else np.asarray((states - self.mean) / np.float32(self.spread), np.float32)

    def read(self, catalog: Catalog, rows: Ints) -> tuple[Ints, Floats]:
        """Which of the rows have words and a state (positions), and their scaled states. What is lost is said."""
        worded = np.flatnonzero([bool(text) for text in self.texts(catalog, rows)])
        if not len(worded):
            return worded, np.zeros((0, 1), np.float32)
        states = self.raw(catalog, rows[worded])
        there = np.isfinite(states).all(axis=1)
        if not there.all():
            degrade(f"{int((~there).sum())} of {len(rows)} items got no state from {self.name} and attract nobody")
        return worded[there], self.scaled(states[there])
