"""What a dialogue has come to: wishes and refusals in slots, and as many of the last turns as fit beside them.

Slots are structured and never live in prose alone, so that what was ruled out at the first turn still is at the
thirtieth. The state is JSON by catalog id; it travels with the dialogue, and nothing is kept between two calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Catalog, Filter, Message
from hexarec.parts.intent import by_rules
from hexarec.parts.said import Lexicon, Said, Value

MOST = 200  # ids or values of a slot, the oldest go first
_SENTENCE = re.compile(r"(?<=[.!?。！？\n])")
Count = Callable[[Sequence[str]], NDArray[np.integer]]


@dataclass(frozen=True)
class Talk:
    """The slots. Items by id, newest last; wanted and unwanted are attribute values; years (first, last), 0 = open.

    read: turns that were read already. summary: what the left-out turns said, in a model's words. unkept: wishes and
    refusals for which the catalog had no word.
    """

    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    wanted: tuple[Value, ...] = ()
    unwanted: tuple[Value, ...] = ()
    years: tuple[int, int] = (0, 0)
    read: int = 0
    left: int = 0
    summary: str = ""
    unkept: tuple[str, ...] = ()

    @classmethod
    def parse(cls, state: Mapping[str, Any]) -> Talk:
        """From the JSON of a dialogue; a state of another kind is an empty one."""
        own = state.get("talk")
        if not isinstance(own, Mapping):
            return cls()
        first, last = (_number(one) for one in (list(_listed(own.get("years"))) + [0, 0])[:2])
        summary = own.get("summary")
        return cls(
            _texts(own.get("liked")),
            _texts(own.get("disliked")),
            _texts(own.get("seen")),
            _texts(own.get("shown")),
            _values(own.get("wanted")),
            _values(own.get("unwanted")),
            (first, last),
            _number(own.get("read")),
            _number(own.get("left")),
            summary if isinstance(summary, str) else "",
            _texts(own.get("unkept")),
        )

    def as_json(self) -> dict[str, Any]:
        """The state that `parse` reads."""
        made = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        made["wanted"], made["unwanted"] = ([list(one) for one in own] for own in (self.wanted, self.unwanted))
        return {"talk": made}

    def after(self, said: Said, catalog: Catalog) -> Talk:
        """The slots after one turn of the user: a new refusal leaves the wishes, a new wish the refusals."""
        if said.afresh:
            return Talk(read=self.read, left=self.left, shown=self.shown)
        liked, disliked, seen = (
            catalog.ids(np.array(rows, np.int64)) for rows in (said.liked, said.disliked, said.seen)
        )
        kept = [value for value in self.wanted if not (said.anew and said.wanted and value[0] in _fields(said.wanted))]
        return replace(
            self,
            liked=_merged(self.liked, liked, gone=disliked),
            disliked=_merged(self.disliked, disliked, gone=liked),
            seen=_merged(self.seen, seen),
            wanted=_merged(kept, said.wanted, gone=said.unwanted),
            unwanted=_merged(self.unwanted, said.unwanted, gone=said.wanted),
            years=said.years if said.years != (0, 0) else self.years,
        )

    def lacking(self, unkept: Sequence[str]) -> Talk:
        """The slots with what the catalog has no word for."""
        return replace(self, unkept=_merged(self.unkept, unkept))

    def excluded(self) -> tuple[str, ...]:
        """Items that are not to be shown (again)."""
        return tuple(dict.fromkeys((*self.liked, *self.disliked, *self.seen, *self.shown)))

    def filters(self, catalog: Catalog, *, wishes: bool = True) -> Filter | None:
        """Refusals, and with `wishes` also one of the wanted values of each field and the years; None = everything."""
        parts = [
            Filter("not", parts=(Filter("in", name, values),))
            for name, values in _by_field(self.unwanted, catalog).items()
        ]
        if wishes:
            parts += [Filter("in", name, values) for name, values in _by_field(self.wanted, catalog).items()]
            edges = zip((">=", "<="), self.years, strict=True)
            parts += [Filter(op, "year", year) for op, year in edges if year and "year" in catalog.attributes]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else Filter("and", parts=tuple(parts))

    def need(self, asked: str) -> str:
        """What is looked for, in words: what the last turn asks for (`Said.asked`) and the wishes so far.

        Refusals are filters and never part of it: vectors know no "not".
        """
        return " ".join([asked, *(value for _, value in self.wanted)]).strip()


def heard(talk: Talk, turns: Sequence[Message], lexicon: Lexicon, catalog: Catalog) -> Talk:
    """The slots after the turns that were not read yet; items that an answer showed count as shown.

    The last thing said and the answer before it are read in any case: a client that sends the newest turns only has
    fewer than were read, and reading twice changes nothing.
    """
    last = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=0)
    for turn in turns[min(talk.read, max(last - 1, 0)) :]:
        if turn.role == "user" and (said := without_questions(turn.text)):
            talk = talk.after(lexicon.read(said), catalog)
        talk = replace(talk, shown=_merged(talk.shown, turn.items if turn.role == "assistant" else ()))
    return replace(talk, read=len(turns))


def without_questions(text: str) -> str:
    """A turn without the sentences that ask about an item: who asks says nothing of liking it."""
    return "".join(one for one in _SENTENCE.split(text) if by_rules(one) not in ("explain", "rate"))


def fitting(turns: Sequence[Message], room: int, count: Count) -> int:
    """How many turns at the beginning do not fit in `room` tokens; the last turn always does."""
    sizes = np.asarray(count([turn.text for turn in turns]), np.int64) if turns else np.zeros(0, np.int64)
    total = 0
    for place in range(len(turns) - 1, -1, -1):
        total += int(sizes[place])
        if total > room and place < len(turns) - 1:
            return place + 1
    return 0


def _merged(old: Sequence[Any], new: Sequence[Any], gone: Sequence[Any] = ()) -> tuple[Any, ...]:
    return tuple(one for one in dict.fromkeys((*old, *new)) if one not in gone)[-MOST:]


def _fields(values: Sequence[Value]) -> set[str]:
    return {name for name, _ in values}


def _by_field(values: Sequence[Value], catalog: Catalog) -> dict[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for name, value in values:
        if name in catalog.attributes:
            made[name] = (*made.get(name, ()), value)
    return made


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in _listed(value) if isinstance(one, str))[-MOST:]


def _values(value: Any) -> tuple[Value, ...]:
    pairs = [list(_listed(one)) for one in _listed(value)]
    return tuple((one[0], one[1]) for one in pairs if len(one) == 2 and all(isinstance(part, str) for part in one))[
        -MOST:
    ]


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
