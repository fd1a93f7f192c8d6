"""The task `text`: explainers say why given lists are what they are; how much of it is invented, and how it came about.

Every text is checked here, against the catalog, whatever the explainer says of its own claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from typing import Any, Literal

import numpy as np

from hexarec.classic import ItemKNN, Popular
from hexarec.core import (
    CapabilityError,
    DataError,
    Dataset,
    Desk,
    Lists,
    OptionError,
    Queries,
    Reasons,
    Retriever,
    Words,
    at_least,
    fitted,
)
from hexarec.eval.floors import TEXT_FLOORS
from hexarec.eval.tasks import Ranking, Round, SplitName, askers
from hexarec.metrics import Metric, word_metrics
from hexarec.parts.facts import check
from hexarec.pipeline.pipeline import Pipeline

METRICS = (
    "raw_invention", "repaired_invention", "claim_precision", "template_share", "retried_share", "empty_share",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TextRound(Round):
    """A round of explanations: `candidates` are the lists that everybody explains, `desk` what an explainer may ask."""

    desk: Desk | None = None

    def floors(self) -> dict[str, Any]:
        """The template explainer."""
        return TEXT_FLOORS

    def answered(self, system: Any, queries: Queries, given: Lists | None, k: int) -> tuple[Lists, int]:
        """The given lists with the reasons in their notes. Raises OptionError for what explains nothing."""
        assert given is not None
        stage: Any = system.explain_ if isinstance(system, Pipeline) else system
        if not callable(getattr(stage, "explain", None)):
            what = "the pipeline has no explainer" if stage is None else f"{type(system).__name__} explains nothing"
            raise OptionError(what, hint="text needs an explainer: fill the slot explain, for example with because")
        desk = system if isinstance(system, Pipeline) else self.desk
        reasons = stage.explain(queries, given, desk)
        if len(reasons) != len(given):
            raise DataError(f"{type(stage).__name__} gave {len(reasons)} reasons for {len(given)} lists")
        return replaced(given, notes=tuple(map(_noted, reasons))), 0

    def measured(self, answers: Sequence[Lists], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
        """Word metrics of every explanation asked for, by user."""
        if other := [m for m in metrics if m.name not in METRICS or m.slice]:
            raise OptionError(f"{other[0]} does not measure explanations", hint=f"take {', '.join(METRICS)}")
        users, who = np.unique(askers(self.queries), return_inverse=True)
        out: list[dict[str, Any]] = []
        for lists in answers:
            rows = [self._counted(lists, i) for i in range(len(lists))]
            group = np.repeat(who, [len(one) for one in rows])
            flat = [row for one in rows for row in one]
            out.append(dict(word_metrics(flat, group, len(users), [m.name for m in metrics])))
        return out

    def _counted(self, lists: Lists, i: int) -> list[dict[str, int]]:
        """The counts of every explanation asked for in one list; a missing one counts as empty."""
        note, items = lists.notes[i], lists[i].items.tolist()
        past = self.queries.history.item[slice(*self.queries.history.offsets[i : i + 2])].tolist()
        said, pointed = note["reasons"], note["evidence"]
        if len(said) > len(items):
            raise DataError(f"{len(said)} reasons were given for {len(items)} items")
        out = []
        for j, item in enumerate(items):
            about = [item, *(pointed[j] if j < len(pointed) and pointed[j] else past)]
            out.append(self._judged(said[j] if j < len(said) else {}, about))
        if note["whole"]:
            out.append(self._judged(note["whole"], [*items, *past]))
        return out

    def _judged(self, words: Mapping[str, Any], about: Sequence[int]) -> dict[str, int]:
        """What is true of one text and of the first answer behind it, about these catalog rows."""
        text, answers = words.get("text", ""), words.get("answers", ())
        claims = check(text, self.queries.catalog, about)
        first = check(answers[0], self.queries.catalog, about) if answers else claims
        return {
            "claims": len(claims),
            "supported": sum(claim.verdict == "supported" for claim in claims),
            "raw_unsupported": sum(claim.verdict != "supported" for claim in first),
            "answers": len(answers),
            "template": int(words.get("status") == "template"),
            "empty": int(not text.strip()),
        }


def _noted(reasons: Reasons) -> dict[str, Any]:
    """Reasons as JSON values for the notes of a list: words, and the rows each item's point to."""
    return {
        "reasons": [_plain(words) for words in reasons.items],
        "whole": None if reasons.whole is None else _plain(reasons.whole),
        "evidence": [sorted({int(row) for one in each for row in one.items}) for each in reasons.evidence],
    }


def _plain(words: Words) -> dict[str, Any]:
    return {"text": words.text, "lang": words.lang, "status": words.status, "answers": list(words.answers)}


@dataclass(frozen=True)
class Text:
    """Explain the same lists: the first k of `shown_by`, fitted on what lies before the cut.

    split, part, max_users, seed: as for `Ranking`. shown_by: who makes the lists that are explained. lang: of the
    questions; the catalog's own without it.
    """

    data: Dataset
    split: SplitName = "global"
    part: Literal["valid", "test"] = "test"
    k: int = 5
    max_users: int | None = None
    seed: int = 0
    shown_by: Retriever = field(default_factory=ItemKNN)
    lang: str | None = None
    metrics: tuple[str, ...] = METRICS

    def __post_init__(self) -> None:
        at_least(self, k=1, max_users=1)

    def round(self) -> TextRound:
        """Cut the data and make the lists. Raises CapabilityError for items without any attribute to speak of."""
        if not self.data.catalog.attributes:
            raise CapabilityError(
                f"the items of {self.data.name} have no attributes, so no reason can be checked",
                hint="import them with a table of items: --items FILE",
            )
        cut = Ranking(self.data, self.split, self.part, None, self.max_users, self.seed).round()
        asked = cut.queries
        if self.lang is not None:
            asked = replaced(asked, lang=np.full(len(asked), self.lang, object))
        shown = fitted(self.shown_by, cut.train, self.seed).retrieve(asked, self.k)
        bare = Lists(shown.key, shown.offsets, shown.items, shown.scores)
        name = type(self.shown_by).__name__
        told = f" in {self.lang}" if self.lang else ""
        title = cut.title.replace(", full catalog", f", text: reasons for the top {self.k} of {name}{told}")
        desk = fitted(Pipeline((Popular(),)), cut.train, self.seed)
        return TextRound(cut.train, asked, cut.truth, bare, f"{title}, {len(bare.items):,} reasons", desk)
