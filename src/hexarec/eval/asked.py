"""What models were asked while questions were answered, kept beside the list of whoever each request was about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hexarec.core import Lists, Queries, current
from hexarec.lm.overheard import KIND, heard

NOTE = "asked"
"""The note of a list: (prompt, raw answer) pairs in the order in which they were asked."""
MOST = 60
"""Requests about one question that are kept."""
QUESTIONS = 1_000
"""Questions of a system whose requests are kept: some to look into, not a log of all that was ever asked."""


class Overheard:
    """Hears the events of a run and keeps, by user row, the requests that stages made about a question."""

    def __init__(self) -> None:
        self._kept: dict[int, list[list[str]]] = defaultdict(list)
        self._noted = 0

    def listening(self) -> Callable[[dict[str, Any]], None]:
        """For `core.run`: takes requests up and passes every event on."""
        outer = current().emit

        def emitted(event: dict[str, Any]) -> None:
            if event.get("kind") == KIND:
                self._take(event)
            outer(event)

        return emitted

    def _take(self, event: dict[str, Any]) -> None:
        if self._noted >= QUESTIONS:
            return
        prompts = event["prompts"]
        for prompt, one in zip(prompts, heard(event, len(prompts)), strict=True):
            if prompt.whose >= 0 and len(self._kept[prompt.whose]) < MOST:
                self._kept[prompt.whose].append([one.prompt, one.answer])

    def noted(self, lists: Lists, queries: Queries) -> Lists:
        """The lists with what was asked about each question in its note; what was heard is forgotten."""
        kept, self._kept = self._kept, defaultdict(list)
        self._noted += len(kept)
        if not kept or len(lists) != len(queries):
            return lists
        notes = lists.notes or ({},) * len(lists)
        rows = queries.user.tolist()
        return replace(lists, notes=tuple(
            {**note, NOTE: kept[row]} if kept.get(row) else note for note, row in zip(notes, rows, strict=True)
        ))  # fmt: skip
