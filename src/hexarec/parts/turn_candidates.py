"""What can be put before a person in a dialogue: a recommender's candidates, and what reads like the wish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Controller, Desk, Lists, Queries, best, digest, fuse
from hexarec.parts.ask import Ask, Asked, Question, handles_for
from hexarec.parts.domain import domain_words
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.render import handled
from hexarec.parts.textspace import TextSpace
from hexarec.parts.turnprompt import TurnPrompts
from hexarec.parts.worded import Worded

DEEPER = 2  # times the candidates that a spread picks from
Count = Callable[[Sequence[str]], NDArray[np.integer]]


@dataclass(frozen=True)
class Candidates:
    """What was found for a turn, lists of one question. relaxed: not all that was wanted holds.

    question: the closed list of the first ones, None where none was made or it has no room. notes: see `Reply`.
    """

    turn: LastTurn
    lists: Lists
    relaxed: bool
    question: Question | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def asking(self, prompts: TurnPrompts, ask: Ask, seed: int) -> Candidates:
        """With the question about as many of them as there is room for, behind what is known of person and dialogue."""

        def question(condition: str, lines: Sequence[str]) -> Question:
            turn, page = self.turn, prompts.page
            wording = Worded(page.prompts, turn.lang, domain_words(page.domain, turn.lang), condition)
            return Question(wording, tuple(lines), (digest(condition, tuple(lines)),), seed, int(turn.query.user[0]))

        count = prompts.room.lm.count
        made = prompts.composed(
            self.turn, self.lists.items, lambda condition, lines: longest(ask, question(condition, lines), count)
        )
        asked = question(made.condition, made.lines) if made.fits else None
        return replace(self, turn=made.turn, question=asked)

    def ordered(self, answer: Asked | None, name: str) -> Candidates:
        """Scored by an answer under this name, what it was not asked about behind, in the order found.

        One of no use, of which `Ask` tells, leaves them as they were found, and so does none; the notes say so.
        """
        if answer is None:
            return replace(
                self, notes={"fault": "no room", "parse": {"requested": len(self.lists.items), "fallback": 1}}
            )
        notes = {"parse": {**answer.report.as_note(), "fallback": int(bool(answer.fault))}, "fault": answer.fault}
        if answer.fault:
            return replace(self, notes=notes)
        left = len(self.lists.items) - len(answer.scores)
        behind = np.min(answer.scores, initial=0.0) - 1.0 - np.arange(left)
        scores = np.concatenate([answer.scores, behind])
        return replace(self, lists=self.lists.scored(scores, name), notes=notes)


@dataclass(frozen=True)
class CandidateSources:
    """The recommender behind the desk, and the store of text vectors over its catalog, None = without.

    n: candidates of a turn. last: events of the history that a taste is read from. spread: keeps the candidates from
    being all alike, None = as they were fused.
    """

    desk: Desk
    space: TextSpace | None
    n: int
    last: int
    spread: Controller | None = None

    def candidates(self, turn: LastTurn) -> Candidates:
        """Those of both, fused; refusals always hold, wishes give way where nothing is left."""
        for wishes in (True, False):
            where = turn.talk.filters(self.desk.catalog, wishes=wishes)
            query = turn.query if where is None else turn.query.filtered(where)
            made = self._found(query)
            if len(made.items):
                return Candidates(turn, made, relaxed=not wishes)
        return Candidates(turn, made, relaxed=False)

    def _found(self, query: Queries) -> Lists:
        """The n best of both; with a spread picked from as many again."""
        deep = self.n if self.spread is None else DEEPER * self.n
        made, near = self.desk.retrieve(query, deep), self._near(query, deep)
        if near is not None:
            made = fuse([made, near], [1.0, 1.0], deep)
        return made if self.spread is None else self.spread.control(query, made, self.n)

    def _near(self, query: Queries, k: int) -> Lists | None:
        """What reads most like what is looked for; None without a store, or with nothing to look for."""
        space = self.space
        if space is None or not space.taste(query, self.last).any():
            return None
        return best(query, lambda part: space.taste(part, self.last) @ space.vectors_.T, k)


def longest(ask: Ask, question: Question, count: Count) -> list[str]:
    """The longest texts that this back end makes of a question; count: tokens of texts."""
    wording, options = question.wording, question.options
    listed = handled(options, handles_for(len(options)))
    if ask.backend in ("list", "constrained"):
        return [wording.listwise(listed, len(options), json=ask.backend == "constrained")]
    if ask.backend == "choice":
        return [wording.choice(listed)]
    if not options:
        return [wording.lead(history=True)]
    first, *rest = sorted(
        options, key=dict(zip(options, count(options).tolist(), strict=True)).__getitem__, reverse=True
    )
    if ask.backend == "pointwise":
        return [wording.pointwise(first)]
    if ask.backend == "pairwise":
        second = rest[0] if rest else first
        return [wording.pairwise(first, second), wording.pairwise(second, first)]
    return [f"{wording.lead(history=True)} {first}"]
