"""Replies to the last turns of dialogues: lists with reasons, reasons alone, ratings, and talk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hexarec.core import Desk, Explainer, Lists, Reply
from hexarec.lm.base import Prompt
from hexarec.parts.attributes import value_words
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.ownwords import OwnWords, emit
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater
from hexarec.parts.render import clean
from hexarec.parts.replies import Replies, behind
from hexarec.parts.said import Value
from hexarec.parts.turn_candidates import Candidates
from hexarec.parts.turnprompt import TurnPrompts

PROMPTS = Prompts(
    "first",
    1,
    en={
        "unkept": "The catalog has no word for this, so I cannot keep to it: {values}. ",
        "afresh": "I start over: what you said before no longer counts. ",
        "afresh_held": "No longer ruled out: {values}. ",
        "topic": "This is about something else, so I leave what was said before aside. ",
        "topic_held": "I still keep to: {values}. ",
        "no": "no {value}",
    },
    zh={
        "unkept": "目录中没有相应的词语，因此无法遵守：{values}。",
        "afresh": "重新开始：之前说过的不再算数。",
        "afresh_held": "不再排除：{values}。",
        "topic": "这是另一个话题，之前说过的先放在一边。",
        "topic_held": "仍然有效：{values}。",
        "no": "不要{value}",
    },
)


@dataclass(frozen=True)
class Conversation:
    """One batch of dialogues at a desk. prompts: how things read, and their bounds. why: gives reasons for items."""

    prompts: TurnPrompts
    rater: Rater
    why: Explainer
    desk: Desk

    def replies(self, turns: Sequence[LastTurn], listed: Sequence[Reply]) -> list[Reply]:
        """One reply per turn, its words emitted; `listed` are those to the turns that want a recommendation."""
        lists = iter(listed)
        made = [next(lists) if turn.act == "recommend" else self._said(turn, n) for n, turn in enumerate(turns)]
        made = [behind(first, own) if (first := _first(one)) else own for one, own in zip(turns, made, strict=True)]
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
            turn, opening = OwnWords(self.prompts).opening(turn, rows, opening)
        return replace(self._fixed(turn).listed(opening, rows, reasons), notes=found.notes)

    def _said(self, turn: LastTurn, place: int) -> Reply:
        """The reply to a turn that wants no list."""
        if turn.act == "explain":
            return self._explained(turn)
        if turn.act == "rate":
            return self._rated(turn)
        if first := _first(turn):
            emit(place, first)
        turn, words = OwnWords(self.prompts).talk(turn, place, self._fixed(turn).fixed("hello"))
        return Reply(words, (), "chat", turn.talk.as_json())

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
        turn, prompts = self._questions(turn)
        values = np.full(len(turn.named), np.nan)
        values[: len(prompts)] = self.rater.values(prompts)
        return self._fixed(turn).rated(turn.named, values.tolist(), self.rater.scale.high)

    def _questions(self, turn: LastTurn) -> tuple[LastTurn, list[Prompt]]:
        """One question for each item named, the first ones where there is no room for them all; none without room."""

        def questions(condition: str, lines: Sequence[str]) -> list[Prompt]:
            return self.rater.prompts_for(condition, lines, turn.lang)

        made = self.prompts.composed(
            turn, turn.named, lambda condition, lines: [one.text for one in questions(condition, lines)]
        )
        return made.turn, questions(made.condition, made.lines) if made.fits else []

    def _fixed(self, turn: LastTurn) -> Replies:
        return Replies(self.prompts.page.prompts, self.desk.catalog, turn.lang, turn.talk.as_json())


def _first(turn: LastTurn) -> str:
    """What the answer says first: that the talk begins anew, and what it cannot keep to."""
    return _reset(turn) + (PROMPTS.text(turn.lang, "unkept", values=_listed(turn.unkept)) if turn.unkept else "")


def _reset(turn: LastTurn) -> str:
    """That the talk begins anew, and which wishes and refusals that took back, or did not."""
    if not turn.reset:
        return ""
    talk = turn.talk
    if turn.reset == "afresh":
        words = _worded(turn, talk.revoked)
    else:
        refused = [PROMPTS.text(turn.lang, "no", value=one) for one in _worded(turn, talk.unwanted)]
        words = [*_worded(turn, talk.wanted), *refused]
    held = PROMPTS.text(turn.lang, f"{turn.reset}_held", values=_listed(words)) if words else ""
    return PROMPTS.text(turn.lang, turn.reset) + held


def _worded(turn: LastTurn, values: Sequence[Value]) -> list[str]:
    """Attribute values in the language of the turn."""
    return [value_words(turn.query.catalog, name, turn.lang).get(value, value) for name, value in values]


def _listed(values: Sequence[str]) -> str:
    return ", ".join(clean(one, 60) for one in values)
