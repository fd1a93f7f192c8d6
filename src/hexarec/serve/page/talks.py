"""A talk of one browser as the store keeps it: a row for the room and one for each person in it, among the dialogues.

What somebody said, was shown and likes stands in their own row, under their user id where they have one: erasing that
user takes it out. The room's row holds no name.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hexarec.core import Dialogue, Message, OptionError
from hexarec.parts.group import HOWS, How
from hexarec.parts.talk import Talk
from hexarec.serve.settings import OF_PAGE
from hexarec.serve.store.shelf import Shelf

COOKIE = "hexarec_talk"
TOKEN = re.compile(r"^[A-Za-z0-9_-]{32}$")
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
    """A talk. who: the caller it belongs to; how: of a list for several; next: the place of the next turn."""

    token: str
    who: str
    pipeline: str = ""
    how: How = "average"
    next: int = 0
    people: tuple[Person, ...] = ()

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
    people = []
    for key in kept["people"]:
        row = shelf.dialogue(_id(token, key))
        if row is not None:
            lines = tuple(Line(one["at"], one["role"], one["text"], tuple(one["items"]), one["about"])
                          for one in row["turns"])  # fmt: skip
            people.append(Person(key, row["name"], row["user"], row["state"], lines))
    # where all were erased: the same new key at every look, until something is kept under it
    people = people or [Person(f"{kept['people'][-1]}x", "", None, {})]
    how = kept["how"] if kept["how"] in HOWS else HOWS[0]
    return Room(token, who, kept["pipeline"], how, kept["next"], tuple(people))


def keep_room(shelf: Shelf, room: Room) -> None:
    """Write the room's own row."""
    body = {"who": room.who, "pipeline": room.pipeline, "how": room.how, "next": room.next,
            "people": [one.key for one in room.people]}  # fmt: skip
    shelf.put_dialogue(_id(room.token), None, body)


def keep_person(shelf: Shelf, room: Room, key: str) -> None:
    """Write a person's row. Raises StateError for one who was erased."""
    one = room.person(key)
    turns = [{"at": line.at, "role": line.role, "text": line.text, "items": list(line.items), "about": dict(line.about)}
             for line in one.lines[-MOST_TURNS:]]  # fmt: skip
    body = {"name": one.name, "user": one.user, "state": dict(one.state), "turns": turns}
    shelf.put_dialogue(_id(room.token, key), one.user, body)


def keep_all(shelf: Shelf, room: Room) -> None:
    """Write every row of a room."""
    for one in room.people:
        keep_person(shelf, room, one.key)
    keep_room(shelf, room)


def said(room: Room, key: str, text: str) -> Room:
    """The room after somebody said something."""
    one = room.person(key)
    line = Line(room.next, "user", text)
    return replace(room, next=room.next + 2).with_person(replace(one, lines=(*one.lines, line)))


def answered(room: Room, key: str, line: Line, state: Mapping[str, Any]) -> Room:
    """The room after an answer to somebody."""
    one = room.person(key)
    forgotten = [item for item in one.state.get(FORGOTTEN, ()) if item not in line.items]
    state = {**state, FORGOTTEN: forgotten}
    lines = (*(old for old in one.lines if old.at != line.at), line)
    return room.with_person(replace(one, lines=lines, state=state))


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
