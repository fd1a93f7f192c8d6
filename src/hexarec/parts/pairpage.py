"""Answers that tie candidates to items of a history: what was shown, what was read, and the lists that come of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Evidence, Lists
from hexarec.parts.ask import MISSING, in_given_order
from hexarec.parts.ground import ParseReport, Titles
from hexarec.parts.paired import Pair, paired


@dataclass(frozen=True)
class PairPage:
    """One question: catalog rows and titles of the history and of the candidates as shown; n: pairs asked for."""

    past: NDArray[np.int32]
    shown: NDArray[np.int32]
    watched: Titles
    options: Titles
    n: int

    def read(self, answer: str) -> tuple[list[Pair], ParseReport]:
        """The pairs of an answer; see `parts.paired`."""
        return paired(answer, self.watched, self.options, self.n)


@dataclass(frozen=True)
class PairsRead:
    """What a model answered, and what was read of it. error: why it is of no use, else ""."""

    pairs: tuple[Pair, ...] = ()
    report: ParseReport = field(default_factory=lambda: ParseReport(0))
    said: tuple[str, ...] = ()
    error: str = ""


def ordered_by_pairs(candidates: Lists, pages: Sequence[PairPage], read: Sequence[PairsRead], name: str) -> Lists:
    """The candidates by place in the answers, the rest as it came, with falling scores, under this name.

    `why` points to the history item that stands beside a candidate. Notes hold, per query, `parse` (the ParseReport),
    `pairs` (history item, -1 for none, and candidate) and `raw` (the answers).
    """
    scores = np.full(len(candidates.items), MISSING)
    why = candidates.fields.get("why", np.full(len(candidates.items), -1, np.int32)).astype(np.int32)
    evidence, notes = list(candidates.evidence), []
    for i, (page, one) in enumerate(zip(pages, read, strict=True)):
        start = int(candidates.offsets[i])
        at = {item: start + place for place, item in enumerate(candidates[i].items.tolist())}
        named = []
        for place, (left, right) in enumerate((pair.left, pair.right) for pair in one.pairs):
            item = int(page.shown[right])
            scores[at[item]] = len(page.shown) - place
            if left >= 0:
                why[at[item]] = len(evidence)
                evidence.append(Evidence("history", (int(page.past[left]),)))
            named.append([int(page.past[left]) if left >= 0 else -1, item])
        part = slice(start, int(candidates.offsets[i + 1]))
        scores[part] = in_given_order(scores[part], scores[part] == MISSING)
        notes.append({"parse": one.report.as_note(), "pairs": named, "raw": list(one.said)})
    made = replace(candidates.with_field("why", why), evidence=tuple(evidence), notes=tuple(notes))
    return made.scored(scores, name)
