"""Promises about dialogues: items are ids of the catalog, the state is JSON, and nothing is kept between two calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hexarec.core import Dialogue, Message, Reply
from hexarec.data.worlds import World
from hexarec.testing._asking import hold, ready
from hexarec.testing._words import Counter, sound_replies

SAID = ("Hello!", "Something new, please.", "Why that one?", "No more of these. Something else.", "想看点别的", "")


def converses(stage: Any, world: World) -> None:
    """One sound reply a dialogue, over several turns, for known and unknown users, alone or in a batch."""
    made, desk = ready(stage, world.data), Counter(world.data.catalog)
    users = [*world.data.users.ids.ids[:2].tolist(), "a stranger", None]
    dialogues = [Dialogue((), {}, user) for user in users]
    sound_replies(made.converse(dialogues, desk), dialogues, desk, "no turns yet")
    for said in SAID:
        dialogues = [replace(one, turns=(*one.turns, Message("user", said))) for one in dialogues]
        replies = made.converse(dialogues, desk)
        sound_replies(replies, dialogues, desk, f"after {said!r}")
        alone = [made.converse([one], desk)[0] for one in dialogues]
        hold(_plain(alone) == _plain(replies), f"after {said!r}: a dialogue alone gets another reply than in a batch")
        dialogues = [_answered(one, reply) for one, reply in zip(dialogues, replies, strict=True)]
    odd = [Dialogue((Message("user", "More."),), {"talk": 7, "": [None], "x": {"y": ["z"]}}, None)]
    sound_replies(made.converse(odd, desk), odd, desk, "with a state of another kind")
    hold(made.converse([], desk) == [], "no dialogues: replies all the same")


def _answered(dialogue: Dialogue, reply: Reply) -> Dialogue:
    """The dialogue with the reply in it, its state having travelled as JSON."""
    turn = Message("assistant", reply.words.text, reply.items)
    return replace(dialogue, turns=(*dialogue.turns, turn), state=json.loads(json.dumps(dict(reply.state))))


def _plain(replies: Sequence[Reply]) -> list[tuple[Any, ...]]:
    return [(reply.words.text, reply.items, reply.act, json.dumps(dict(reply.state))) for reply in replies]
