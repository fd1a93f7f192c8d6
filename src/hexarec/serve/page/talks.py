"""A talk of one browser as the store keeps it: a row for the room and one for each person in it, among the dialogues.

What somebody said, was shown and likes stands in their own row, under their user id where they have one: erasing that
user takes it out. The room's row holds no name.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hexarec.core import Dialogue, Message, OptionError
from hexarec.parts.group import HOWS, How
from hexarec.parts.talk import Talk
from hexarec.serve.errors import ConflictError
from hexarec.serve.settings import OF_PAGE
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.shelf import Shelf

COOKIE = "hexarec_talk"
TOKEN = re.compile(r"^[A-Za-z0-9_-]{32}$")
TRIES = 50
"""Writes of others that a change is made anew for."""
MOST_PEOPLE, MOST_TURNS = 6, 200
"""People of a talk; turns of one person that are kept, the oldest go first."""
FORGOTTEN = "forgotten"
"""Items in the state of a person that the talk is to know nothing of, though they stand in its turns."""
SLOTS = ("liked", "disliked", "seen", "wanted", "unwanted", "years")


@dataclass(frozen=True)
class Line:
    """One turn. at: its place in the room. about: what the page shows beside the text of an answer, JSON."""

    at: int
    role: str
    text: str
    items: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """Somebody in the room: key, name as typed, user id of the store or None, slots of their talk, their turns."""

    key: str
    name: str
    user: str | None
    state: Mapping[str, Any]
    lines: tuple[Line, ...] = ()

    @property
    def talk(self) -> Talk:
        """The slots."""
        return Talk.parse(self.state)

    def dialogue(self) -> Dialogue:
        """What they said and were answered, as a dialogue; items that were forgotten were never shown."""
        gone = set(self.state.get(FORGOTTEN, ()))
        turns = tuple(Message(one.role, one.text, tuple(item for item in one.items if item not in gone))
                      for one in self.lines)  # fmt: skip
        return Dialogue(turns, self.state, self.user)


@dataclass(frozen=True)
class Room:
    """A talk. who: the caller it belongs to; how: of a list for several; next: the place of the next turn.

    version: grows with every write. kept: its rows as they were read, by id.
    """

    token: str
    who: str
    pipeline: str = ""
    how: How = "average"
    next: int = 0
    people: tuple[Person, ...] = ()
    version: int = 0
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)

    def person(self, key: str) -> Person:
        """The person of this key, the first one without a key. Raises OptionError."""
        found = next((one for one in self.people if key in (one.key, "")), None)
        if found is None:
            raise OptionError("nobody of that name takes part", hint="load the page again")
        return found

    def with_person(self, person: Person) -> Room:
        """The room with this person in the place of who had their key, or behind the others."""
        others = [one for one in self.people if one.key != person.key]
        place = next((i for i, one in enumerate(self.people) if one.key == person.key), len(others))
        return replace(self, people=(*others[:place], person, *others[place:]))

    def lines(self) -> list[tuple[Person, Line]]:
        """Everything said, in order."""
        return sorted(((one, line) for one in self.people for line in one.lines), key=lambda pair: pair[1].at)

    @property
    def ids(self) -> list[str]:
        """The ids of its rows."""
        return [_id(self.token), *(_id(self.token, one.key) for one in self.people)]


def new_person(name: str = "", user: str | None = None) -> Person:
    """Somebody who has said nothing yet. No key comes twice: what was erased under one stays erased."""
    return Person(secrets.token_hex(4), name, user, {})


def new_room(who: str) -> Room:
    """An empty room with one person without a name."""
    return Room(secrets.token_urlsafe(24), who, people=(Person("first", "", None, {}),))


def room_of(shelf: Shelf, token: str, who: str) -> Room | None:
    """The talk of a browser; None for a wrong token, another caller, or one that was forgotten."""
    kept = shelf.dialogue(_id(token)) if TOKEN.match(token) else None
    if kept is None or kept["who"] != who:
        return None
    people, rows = [], {_id(token): kept}
    for key in kept["people"]:
        row = shelf.dialogue(_id(token, key))
        if row is not None:
            rows[_id(token, key)] = row
            lines = tuple(Line(one["at"], one["role"], one["text"], tuple(one["items"]), one["about"])
                          for one in row["turns"])  # fmt: skip
            people.append(Person(key, row["name"], row["user"], row["state"], lines))
    # where all were erased: the same new key at every look, until something is kept under it
    people = people or [Person(f"{kept['people'][-1]}x", "", None, {})]
    how = kept["how"] if kept["how"] in HOWS else HOWS[0]
    return Room(token, who, kept["pipeline"], how, kept["next"], tuple(people), kept.get("version", 0), rows)


def keep(shelf: Shelf, room: Room) -> None:
    """Write the rows of a room that are not as they were read.

    Raises ChangedError where somebody else wrote since then, StateError for a person who was erased.
    """
    own = _id(room.token)
    head = {"who": room.who, "pipeline": room.pipeline, "how": room.how, "next": room.next,
            "people": [one.key for one in room.people], "version": room.version + 1}  # fmt: skip
    rows: dict[str, tuple[str | None, Mapping[str, Any]]] = {own: (None, head)}
    rows |= {_id(room.token, one.key): (one.user, _body(one)) for one in room.people}
    changed = {id: row for id, row in rows.items() if row[1] != room.kept.get(id)}
    shelf.put_dialogues(changed, {own: room.kept.get(own)})


def forget(shelf: Shelf, read: Callable[[], Room]) -> None:
    """Erase a talk, with whoever has joined it meanwhile. Raises ConflictError where others write all the time."""
    for _ in range(TRIES):
        room = read()
        own = _id(room.token)
        try:
            shelf.forget_dialogues(room.ids, {own: room.kept.get(own)})
        except ChangedError:
            continue
        return
    raise ConflictError("the talk changes all the time", hint="load the page again")


def _body(one: Person) -> dict[str, Any]:
    turns = [{"at": line.at, "role": line.role, "text": line.text, "items": list(line.items), "about": dict(line.about)}
             for line in one.lines[-MOST_TURNS:]]  # fmt: skip
    return {"name": one.name, "user": one.user, "state": dict(one.state), "turns": turns}


def changed(shelf: Shelf, read: Callable[[], Room], change: Callable[[Room], Room]) -> tuple[Room, bool]:
    """The room after a change that was kept, and whether it was made anew because somebody else wrote meanwhile.

    Raises ConflictError where others write all the time.
    """
    for attempt in range(TRIES):
        room = change(read())
        try:
            keep(shelf, room)
        except ChangedError:
            continue
        return room, attempt > 0
    raise ConflictError("the talk changes all the time", hint="load the page again")


def said(room: Room, key: str, text: str) -> Room:
    """The room after somebody said something."""
    one = room.person(key)
    line = Line(room.next, "user", text)
    return replace(room, next=room.next + 2).with_person(replace(one, lines=(*one.lines, line)))


def answered(room: Room, key: str, line: Line, before: Mapping[str, Any], state: Mapping[str, Any]) -> Room:
    """The room after an answer to somebody. before: the state it began from, state: the one it came to."""
    one = room.person(key)
    state = onto(one.state, before, state)
    forgotten = [item for item in one.state.get(FORGOTTEN, ()) if item not in line.items]
    lines = sorted((*(old for old in one.lines if old.at != line.at), line), key=lambda one: one.at)
    return room.with_person(replace(one, lines=tuple(lines), state={**state, FORGOTTEN: forgotten}))


def onto(now: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A state with what changed from `before` to `after`, where it has itself changed meanwhile.

    Entries of lists come and go one by one, other values as a whole; of two counts the smaller one stays, so that
    turns are rather read twice than not at all.
    """
    made = dict(now)
    for key, new in after.items():
        old, there = before.get(key), now.get(key)
        if new == old:
            continue
        if there == old or type(there) is not type(new) or key == "years":
            made[key] = new
        elif isinstance(new, Mapping):
            made[key] = onto(there or {}, old or {}, new)
        elif isinstance(new, list):
            gone, come = ([one for one in a if one not in b] for a, b in ((old or [], new), (new, old or [])))
            made[key] = [one for one in there or [] if one not in (*gone, *come)] + come
        else:
            made[key] = min(new, there or 0) if isinstance(new, int) else new
    return made


def dropped(talk: Talk, slot: str, value: Sequence[str]) -> Talk:
    """The slots without one entry: an item id, a (field, value) pair, or the years. Raises OptionError."""
    if slot not in SLOTS:
        raise OptionError(f"no slot {slot[:40]!r}", hint=", ".join(SLOTS))
    if slot == "years":
        return replace(talk, years=(0, 0))
    entry: Any = tuple(value) if slot in ("wanted", "unwanted") else "".join(value)
    kept: Any = {slot: tuple(one for one in getattr(talk, slot) if one != entry)}
    return replace(talk, **kept)


def noted(talk: Talk, item: str, act: str) -> Talk:
    """The slots after like, hide or forget of an item; forget takes out all that the talk knows of it."""
    liked, disliked, seen, shown = (
        tuple(one for one in slot if one != item) for slot in (talk.liked, talk.disliked, talk.seen, talk.shown)
    )
    if act == "like":
        return replace(talk, liked=(*liked, item), disliked=disliked, seen=seen)
    if act == "hide":
        return replace(talk, liked=liked, disliked=(*disliked, item), seen=seen)
    if act == "forget":
        return replace(talk, liked=liked, disliked=disliked, seen=seen, shown=shown)
    raise OptionError(f"no act {act[:40]!r}", hint="like, hide, forget")


def _id(token: str, key: str = "") -> str:
    return f"{OF_PAGE}{token}" + (f"-{key}" if key else "")
