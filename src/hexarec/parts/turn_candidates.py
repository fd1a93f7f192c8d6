"""What can be put before a person in a dialogue: a recommender's candidates, and what reads like the wish."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hexarec.core import Desk, Lists, Queries, best, digest, fuse
from hexarec.parts.ask import Asked, Question
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.domain import domain_words
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.textspace import TextSpace
from hexarec.parts.worded import Worded


@dataclass(frozen=True)
class Candidates:
    """What was found for a turn, lists of one question. relaxed: not all that was wanted holds."""

    turn: LastTurn
    lists: Lists
    relaxed: bool

    def question(self, page: DialoguePage, seed: int) -> Question:
        """The closed list of them, behind what is known of person and dialogue."""
        turn = self.turn
        wording = Worded(page.prompts, turn.lang, domain_words(page.domain, turn.lang), turn.condition)
        options = tuple(page.lines(turn.query.catalog, self.lists.items, turn.lang))
        drawn = (digest(turn.condition, options),)
        return Question(wording, options, drawn, seed, int(turn.query.user[0]))

    def ordered(self, answer: Asked, name: str) -> Candidates:
        """Scored by an answer under this name; one of no use, of which `Ask` tells, leaves them as they were found."""
        return self if answer.fault else replace(self, lists=self.lists.scored(answer.scores, name))


@dataclass(frozen=True)
class CandidateSources:
    """The recommender behind the desk, and the store of text vectors over its catalog, None = without.

    n: candidates of a turn. last: events of the history that a taste is read from.
    """

    desk: Desk
    space: TextSpace | None
    n: int
    last: int

    def candidates(self, turn: LastTurn) -> Candidates:
        """Those of both, fused; refusals always hold, wishes give way where nothing is left."""
        for wishes in (True, False):
            where = turn.talk.filters(self.desk.catalog, wishes=wishes)
            query = turn.query if where is None else turn.query.filtered(where)
            made = self.desk.retrieve(query, self.n)
            near = self._near(query)
            if near is not None:
                made = fuse([made, near], [1.0, 1.0], self.n)
            if len(made.items):
                return Candidates(turn, made, relaxed=not wishes)
        return Candidates(turn, made, relaxed=False)

    def _near(self, query: Queries) -> Lists | None:
        """What reads most like what is looked for; None without a store, or with nothing to look for."""
        space = self.space
        if space is None or not space.taste(query, self.last).any():
            return None
        return best(query, lambda part: space.taste(part, self.last) @ space.vectors_.T, self.n)
