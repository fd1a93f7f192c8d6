"""What a turn of a dialogue wants: a recommendation, a reason, a rating, or talk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hexarec.core import degrade
from hexarec.lm.base import Prompt
from hexarec.lm.cassette import keeping
from hexarec.parts.promptroom import Amount, Room, first_fitting, steps
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean
from hexarec.parts.usable import of_rows, row_of_use

Act = Literal["recommend", "explain", "rate", "chat"]
ACTS: tuple[Act, ...] = ("recommend", "explain", "rate", "chat")
HANDLES = ("A", "B", "C", "D")
PROMPTS = Prompts(
    "intent",
    1,
    en={
        "ask": "A person talks with a recommender. The last thing said: {turn}\n"
        "What does the person want now?\n[A] suggestions of something new, or a change of what was suggested\n"
        "[B] the reason for a suggestion\n[C] how much they would like one that they name\n[D] just talk\n"
        "Answer with the letter only.",
    },
    zh={
        "ask": "某人正在与推荐系统对话。最后一句话：{turn}\n此人现在想要什么？\n[A] 新的推荐，或修改刚才的推荐\n"
        "[B] 推荐的理由\n[C] 想知道自己会多喜欢提到的那一个\n[D] 只是聊天\n只回答字母。",
    },
)
_EXPLAIN = re.compile(r"\bwhy\b|\bexplain\b|\bhow come\b|\breason\b|为什么|理由|解释", re.IGNORECASE)
_RATE = re.compile(
    r"\b(?:would|will|do you think|might) (?:i|we|i'd|i'll) (?:like|enjoy|love|rate)\b|\bhow would i rate\b"
    r"|\brate (?:it|this|that|them)\b|\bhow many stars\b|我会(?:不会)?喜欢|打几分|评几分",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|evening|day)|thanks?|thank you|bye|goodbye|ok(?:ay)?|great|cool|how are you|"
    r"who are you|what can you do|你好|您好|谢谢|多谢|再见|好的|你是谁)(?:\b|\W|$)[^?？]{0,24}[?？!！.。]?\s*$",
    re.IGNORECASE,
)


def by_rules(turn: str) -> Act:
    """The act by words alone: reasons and ratings have their own, greetings and thanks are talk, the rest is a wish."""
    if _EXPLAIN.search(turn):
        return "explain"
    if _RATE.search(turn):
        return "rate"
    return "chat" if not turn.strip() or _TALK.match(turn) else "recommend"


def by_model(room: Room, turns: Sequence[str], langs: Sequence[str], wording: Prompts = PROMPTS) -> list[Act]:
    """The act as the model labels it; by the rules, and told of, where it gives no label or has no room for a turn."""
    texts = [_question(room, turn, lang, wording) for turn, lang in zip(turns, langs, strict=True)]
    asked = [place for place, text in enumerate(texts) if text]
    rows = np.full((len(turns), len(HANDLES)), np.nan)
    if asked:
        with keeping(of_rows(row_of_use)):
            rows[asked] = room.lm.label([Prompt.user(texts[place], max_tokens=1) for place in asked], HANDLES)
    lost = [place for place, row in enumerate(rows) if not row_of_use(row)]
    if lost:
        degrade(f"{len(lost)} of {len(turns)} turns: the model gave no label for what they want")
    return [
        by_rules(turn) if place in lost else ACTS[int(np.nanargmax(rows[place]))] for place, turn in enumerate(turns)
    ]


def _question(room: Room, turn: str, lang: str, wording: Prompts) -> str:
    """The question about a turn, with as many of its letters as there is room for; "" for none."""
    texts = [wording.text(lang, "ask", turn=clean(turn, one.letters)) for one in steps(Amount())]
    return first_fitting(texts, lambda text: room.fits([text])) or ""
