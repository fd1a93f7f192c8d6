"""A list for several people who talk together: each one's list by the pipeline, and the group's made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hexarec.core import Catalog, Filter, Lists
from hexarec.parts.group import How, aggregated
from hexarec.parts.said import lexicon_of
from hexarec.parts.talk import Talk
from hexarec.serve.answering import Answered
from hexarec.serve.live.asks import Ask
from hexarec.serve.store.rows import EventRow

DEPTH = 50
"""Places of each one's list that count."""
Answer = Callable[[Ask], Awaitable[Answered]]


@dataclass(frozen=True)
class Member:
    """One of a group: who they are in the store, and what the talk has come to."""

    user: str | None
    talk: Talk


@dataclass(frozen=True)
class Together:
    """The group's list. places: for each item the place in each member's list, None where it is missing there.

    relaxed: nothing fitted all wishes, so they gave way; refusals never do.
    """

    items: tuple[str, ...]
    places: tuple[tuple[int | None, ...], ...]
    relaxed: bool
    answers: tuple[Answered, ...]


async def together(
    answer: Answer, catalog: Catalog, members: Sequence[Member], said: str, how: How, k: int, lang: str
) -> Together:
    """What suits all of them now. Nobody is shown what anybody refused, hid, liked already or was just shown."""
    asked = lexicon_of(catalog).read(said).asked
    for wishes in (True, False):
        where = _where(members, catalog, wishes=wishes)
        made = await asyncio.gather(*(answer(ask) for ask in asks_of(members, asked, where, lang)))
        lists = Lists.of(catalog.key, [_rows(catalog, one) for one in made])
        if len(lists.items) or not any(one.talk.wanted or any(one.talk.years) for one in members):
            break
    items = tuple(catalog.ids(aggregated(lists, how, k).items))
    found = [one.given.items for one in made]
    places = tuple(tuple(own.index(item) + 1 if item in own else None for own in found) for item in items)
    return Together(items, places, not wishes, tuple(made))


def asks_of(members: Sequence[Member], asked: str, where: Filter | None, lang: str) -> list[Ask]:
    """The question of each member: their own past, the wish of the turn, and what none of them is to be shown.

    asked: the turn without what it refuses, see `parts.said`.
    """
    hidden = tuple(dict.fromkeys(item for one in members for item in one.talk.excluded()))
    made = []
    for one in members:
        spoken = [("like", item) for item in one.talk.liked] + [("dislike", item) for item in one.talk.disliked]
        past = tuple(EventRow("", item, 1e10 + place, kind) for place, (kind, item) in enumerate(spoken))
        made.append(Ask(user=one.user, history=past, exclude=hidden, where=where, text=one.talk.need(asked) or None,
                        k=DEPTH, lang=lang))  # fmt: skip
    return made


def _where(members: Sequence[Member], catalog: Catalog, *, wishes: bool) -> Filter | None:
    parts = [part for one in members if (part := one.talk.filters(catalog, wishes=wishes)) is not None]
    return None if not parts else parts[0] if len(parts) == 1 else Filter("and", parts=tuple(parts))


def _rows(catalog: Catalog, made: Answered) -> list[int]:
    return [row for row in catalog.rows(list(made.given.items)).tolist() if row >= 0]
