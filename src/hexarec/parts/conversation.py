"""Replies to the last turns of dialogues: lists with reasons, reasons alone, ratings, and talk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hexarec.core import Desk, Explainer, Lists, Reply
from hexarec.lm.base import LanguageModel
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.ownwords import OwnWords, emit
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater
from hexarec.parts.render import clean
from hexarec.parts.replies import Replies, behind
from hexarec.parts.turn_candidates import Candidates

PROMPTS = Prompts(
    "unkept",
    1,
    en={"unkept": "The catalog has no word for this, so I cannot keep to it: {values}. "},
    zh={"unkept": "目录中没有相应的词语，因此无法遵守：{values}。"},
)


@dataclass(frozen=True)
class Conversation:
    """One batch of dialogues at a desk. page: how things read, and the wording. why: gives reasons for items."""

    lm: LanguageModel
    page: DialoguePage
    rater: Rater
    why: Explainer
    desk: Desk

    def replies(self, turns: Sequence[LastTurn], listed: Sequence[Reply]) -> list[Reply]:
        """One reply per turn, its words emitted; `listed` are those to the turns that want a recommendation."""
        lists = iter(listed)
        made = [next(lists) if turn.act == "recommend" else self._said(turn, n) for n, turn in enumerate(turns)]
        made = [behind(_unkept(one), own) if one.unkept else own for one, own in zip(turns, made, strict=True)]
        for place, (turn, reply) in enumerate(zip(turns, made, strict=True)):
            if turn.act != "chat":  # talk was emitted as it came
                for number, line in enumerate(reply.words.text.splitlines(keepends=True)):
                    emit(place, line, listed=number > 0 and reply.act == "recommend")
        return made

    def listed(self, found: Candidates, n: int, *, own_words: bool) -> Reply:
        """The first n with a reason for each; a question back where there is none.

        own_words: the model opens the list, unless what opens it must say that wishes gave way.
        """
        turn, shown = found.turn, found.lists.top_k(n)
        replies, rows = self._fixed(turn), shown.items.tolist()
        if not rows:
            return replies.plain("none", "ask")
        reasons = self.why.explain(turn.query, shown, self.desk)[0].items
        opening = replies.fixed("relaxed" if found.relaxed else "here")
        if own_words and not found.relaxed:
            lines = self.page.lines(turn.query.catalog, rows, turn.lang)
            opening = OwnWords(self.lm, self.page.prompts).opening(turn, rows, lines, opening)
        return replies.listed(opening, rows, reasons)

    def _said(self, turn: LastTurn, place: int) -> Reply:
        """The reply to a turn that wants no list."""
        if turn.act == "explain":
            return self._explained(turn)
        if turn.act == "rate":
            return self._rated(turn)
        replies = self._fixed(turn)
        if turn.unkept:
            emit(place, _unkept(turn))
        words = OwnWords(self.lm, self.page.prompts).talk(turn, place, replies.fixed("hello"))
        return Reply(words, (), "chat", replies.state)

    def _explained(self, turn: LastTurn) -> Reply:
        """Reasons for the items named, else for those shown last."""
        rows = list(turn.named) or list(turn.last)
        if not rows:
            return self._fixed(turn).plain("which", "ask")
        # an item is no reason for itself
        history = turn.query.history.where(~np.isin(turn.query.history.item, rows))
        shown = Lists.of(self.desk.catalog.key, [rows])
        reasons = self.why.explain(turn.query.with_history(history), shown, self.desk)
        return self._fixed(turn).explained(rows, reasons[0].items)

    def _rated(self, turn: LastTurn) -> Reply:
        """The ratings that the items named are expected to get."""
        if not turn.named:
            return self._fixed(turn).plain("which", "ask")
        lines = self.page.lines(self.desk.catalog, turn.named, turn.lang)
        values = self.rater.values(self.rater.prompts_for(turn.condition, lines, turn.lang))
        return self._fixed(turn).rated(turn.named, values.tolist(), self.rater.scale.high)

    def _fixed(self, turn: LastTurn) -> Replies:
        return Replies(self.page.prompts, self.desk.catalog, turn.lang, turn.talk.as_json())


def _unkept(turn: LastTurn) -> str:
    """What the answer says first: what it cannot keep to."""
    return PROMPTS.text(turn.lang, "unkept", values=", ".join(clean(one, 60) for one in turn.unkept))
