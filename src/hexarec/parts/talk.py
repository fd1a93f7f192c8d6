"""What a dialogue has come to: wishes and refusals in slots, and as many of the last turns as fit beside them.

Slots are structured and never live in prose alone, so that what was ruled out at the first turn still is at the
thirtieth. The state is JSON by catalog id; it travels with the dialogue, and nothing is kept between two calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hexarec.core import Catalog, Filter, Message
from hexarec.parts.gist import Gist
from hexarec.parts.intent import by_rules
from hexarec.parts.said import Lexicon, Said, Value

MOST = 200  # ids or values of a slot, the oldest go first; of refusals the newest, since an old one is to hold
LOG = 50  # entries about what was forgotten, the oldest go first
_SENTENCE = re.compile(r"(?<=[.!?。！？\n])")
Lost = tuple[int, str, str, int]
"""What was forgotten: after how many turns, why (soft, hard, topic, afresh, full), what, and how much of it."""


@dataclass(frozen=True)
class Talk:
    """The slots. Items by id, newest last; wanted and unwanted are attribute values; years (first, last), 0 = open.

    read: turns that were read already. left: turns at the beginning that stand in no prompt any more. gist: what
    they said, summed up. unkept: wishes and refusals for which the catalog had no word. revoked: refusals
    that the last turn took back, where it starts over. forgotten: an account of what prompts and slots lost.
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
    gist: Gist = Gist()
    unkept: tuple[str, ...] = ()
    revoked: tuple[Value, ...] = ()
    forgotten: tuple[Lost, ...] = ()

    @classmethod
    def parse(cls, state: Mapping[str, Any]) -> Talk:
        """From the JSON of a dialogue; a state of another kind is an empty one."""
        own = state.get("talk")
        if not isinstance(own, Mapping):
            return cls()
        first, last = (_number(one) for one in (list(_listed(own.get("years"))) + [0, 0])[:2])
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
            Gist.parse(own.get("gist", own.get("summary"))),
            _texts(own.get("unkept")),
            _values(own.get("revoked")),
            _losses(own.get("forgotten")),
        )

    def as_json(self) -> dict[str, Any]:
        """The state that `parse` reads."""
        made = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        for name in ("wanted", "unwanted", "revoked", "forgotten"):
            made[name] = [list(one) for one in getattr(self, name)]
        made["gist"] = self.gist.as_json()
        return {"talk": made}

    def after(self, said: Said, catalog: Catalog) -> Talk:
        """The slots after one turn of the user: a new refusal leaves the wishes, a new wish the refusals.

        A refusal goes only where it is taken back; what "start over" takes back stands in `revoked`.
        """
        if said.afresh:
            return self._afresh(replace(said, afresh=False), catalog)
        liked, disliked, seen = (
            catalog.ids(np.array(rows, np.int64)) for rows in (said.liked, said.disliked, said.seen)
        )
        kept = [value for value in self.wanted if not (said.anew and said.wanted and value[0] in _fields(said.wanted))]
        refused = [one for one in dict.fromkeys((*self.unwanted, *said.unwanted)) if one not in said.wanted]
        made = replace(
            self,
            liked=_merged(self.liked, liked, gone=disliked),
            disliked=_merged(self.disliked, disliked, gone=liked),
            seen=_merged(self.seen, seen),
            wanted=_merged(kept, said.wanted, gone=said.unwanted),
            unwanted=tuple(refused[:MOST]),
            years=said.years if said.years != (0, 0) else self.years,
            revoked=(),
        )
        return made.losing("full", {"unwanted": len(refused) - MOST})

    def _afresh(self, said: Said, catalog: Catalog) -> Talk:
        """No slots but what was shown and what is said now; the same turn read twice takes back the same."""
        made = Talk(read=self.read, left=self.left, shown=self.shown, forgotten=self.forgotten).after(said, catalog)
        lost = {
            name: len(set(getattr(self, name)) - set(getattr(made, name)))
            for name in ("liked", "disliked", "seen", "wanted", "unwanted")
        }
        taken = _merged(self.revoked, self.unwanted, gone=made.unwanted)
        return replace(made, revoked=taken).losing("afresh", lost)

    def losing(self, why: str, lost: Mapping[str, int]) -> Talk:
        """The slots with an account of what is lost now, see `Lost`."""
        new = [(self.read, why, what, n) for what, n in lost.items() if n > 0]
        return replace(self, forgotten=(*self.forgotten, *new)[-LOG:]) if new else self

    def leaving(self, left: int, why: str) -> Talk:
        """The slots with this many turns at the beginning left out of prompts from now on; those out stay out."""
        made = self.losing(why, {"turns": left - self.left})
        return replace(made, left=max(left, self.left))

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
    first = min(talk.read, max(last - 1, 0))
    talk = replace(talk, left=min(talk.left, max(len(turns) - 1, 0)))  # the newest turns alone may come
    for place, turn in enumerate(turns[first:], first):
        if turn.role == "user" and (text := without_questions(turn.text)):
            said = lexicon.read(text)
            talk = talk.after(said, catalog)
            talk = talk.leaving(place, "afresh") if said.afresh else talk
        talk = replace(talk, shown=_merged(talk.shown, turn.items if turn.role == "assistant" else ()))
    return replace(talk, read=len(turns))


def without_questions(text: str) -> str:
    """A turn without the sentences that ask about an item: who asks says nothing of liking it."""
    return "".join(one for one in _SENTENCE.split(text) if by_rules(one) not in ("explain", "rate"))


def _merged(old: Sequence[Any], new: Sequence[Any], gone: Sequence[Any] = ()) -> tuple[Any, ...]:
    return tuple(one for one in dict.fromkeys((*old, *new)) if one not in gone)[-MOST:]


def _fields(values: Sequence[Value]) -> set[str]:
    return {name for name, _ in values}


def _by_field(values: Sequence[Value], catalog: Catalog) -> dict[str, tuple[str, ...]]:
    made: dict[str, tuple[str, ...]] = {}
    for name, value in values:  # a state that was altered may name a field of numbers, which no word is
        if name in catalog.attributes and catalog.attributes[name].dtype != np.float64:
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


def _losses(value: Any) -> tuple[Lost, ...]:
    """Entries of another form are left out."""
    made: list[Lost] = []
    for one in (list(_listed(entry)) for entry in _listed(value)):
        if len(one) == 4 and all(isinstance(part, str) for part in one[1:3]):
            made.append((_number(one[0]), one[1], one[2], _number(one[3])))
    return tuple(made[-LOG:])


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
