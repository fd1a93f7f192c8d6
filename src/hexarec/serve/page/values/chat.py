"""What the chat shows: turns with items as cards from the catalog, chips of what the talk has come to, and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hexarec.core import Catalog, Reply
from hexarec.parts.attributes import value_words
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.live.together import Together
from hexarec.serve.page.talks import Line, Person, Room
from hexarec.serve.page.values.lists import Card, cards_of
from hexarec.serve.page.values.waterfall import named
from hexarec.serve.talking import Talked


@dataclass(frozen=True)
class Chip:
    """One thing the talk has come to, that can be clicked away: slot and value as the form sends them."""

    slot: str
    value: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Bubble:
    """One turn as it is shown. said: a key of words under chat in the place of the text; waiting: no answer yet.

    places: for each item each member's name and place, in a group. cost: milliseconds, calls, tokens, dollars.
    """

    at: int
    mine: bool
    person: Person
    text: str = ""
    said: str = ""
    relaxed: bool = False
    cards: tuple[Card, ...] = ()
    places: tuple[tuple[tuple[str, int | None], ...], ...] = ()
    degraded: tuple[Mapping[str, str], ...] = ()
    cost: Mapping[str, float] | None = None
    waiting: bool = False


def talkers(tenant: Tenant) -> list[str]:
    """The pipelines that can hold a conversation."""
    return sorted(name for name, one in tenant.served.items() if one.current.pipeline.converse_ is not None)


def picked(tenant: Tenant, wanted: str) -> str:
    """The pipeline of a talk: the wanted one, else the default when it can talk, else the first that can."""
    if wanted in tenant.served:
        return wanted
    usual, able = tenant.recommender().current.name, talkers(tenant)
    return usual if usual in able or not able else able[0]


def bubbles(room: Room, catalog: Catalog, lang: str) -> list[Bubble]:
    """The whole talk; behind a turn that nobody answered yet stands one that waits."""
    made, lines = [], room.lines()
    answers = {line.at for _, line in lines if line.role == "assistant"}
    for person, line in lines:
        if line.role == "user":
            made.append(Bubble(line.at, True, person, line.text))
            if line.at + 1 not in answers:
                made.append(Bubble(line.at + 1, False, person, waiting=True))
        else:
            made.append(bubble_of(room, person, line, catalog, lang))
    return made


def bubble_of(room: Room, person: Person, line: Line, catalog: Catalog, lang: str) -> Bubble:
    """An answer: its text, and its items as the catalog has them; places of those who left are not shown."""
    about = line.about
    names = {one.key: one.name or one.key for one in room.people}
    reasons, places = about.get("reasons", {}), about.get("places", {})
    cards = cards_of(catalog, line.items, lang)
    return Bubble(
        line.at, False, person, line.text, about.get("said", ""), bool(about.get("relaxed")),
        tuple(replace(card, rank=place, reason=str(reasons.get(card.id, ""))) for place, card in enumerate(cards, 1)),
        tuple(tuple((names[key], at) for key, at in places.get(card.id, ()) if key in names) for card in cards),
        tuple(about.get("degraded", ())), about.get("cost"),
    )  # fmt: skip


def chips_of(person: Person, catalog: Catalog, lang: str) -> dict[str, list[Chip]]:
    """Likes, dislikes and constraints of a person, each as chips."""
    talk = person.talk
    names = named(catalog, [*talk.liked, *talk.disliked, *talk.seen], lang)
    made = {slot: [Chip(slot, (item,), names[item]) for item in getattr(talk, slot)]
            for slot in ("liked", "disliked", "seen")}  # fmt: skip
    for slot in ("wanted", "unwanted"):
        made[slot] = [Chip(slot, (name, value), value_words(catalog, name, lang).get(value, value))
                      for name, value in getattr(talk, slot)]  # fmt: skip
    first, last = talk.years
    years = f"{first or '…'}–{last or '…'}"
    made["years"] = [Chip("years", (), years)] if first or last else []
    return made


def line_of(at: int, made: Talked, seconds: float) -> Line:
    """The turn that a reply becomes: of a list the sentence in front stays text, its items become cards."""
    reply = made.reply
    cost = {"seconds": seconds, "calls": int(made.spent.get("calls", 0)), "dollars": made.spent.get("cost", 0.0),
            "tokens": int(made.spent.get("tokens_in", 0) + made.spent.get("tokens_out", 0))}  # fmt: skip
    about: dict[str, Any] = {"act": reply.act, "degraded": [dict(one) for one in made.degraded], "cost": cost}
    text = reply.words.text
    if made.listed:
        text, about["said"] = "", "listed" if reply.items else "found_nothing"
    elif reply.act == "recommend" and reply.items:
        text, about["reasons"] = text.partition("\n")[0], reasons_in(reply)
    return Line(at, "assistant", text, tuple(reply.items), about)


def reasons_in(reply: Reply) -> dict[str, str]:
    """The reason behind each title of a list, by item id: what stands between its span and the end of the line."""
    text, made = reply.words.text, {}
    for one in reply.words.spans:
        if one.item is not None:
            made[one.item] = text[one.stop :].partition("\n")[0].lstrip(" -–—:：")
    return made


def group_line(at: int, made: Together, keys: Sequence[str], seconds: float) -> Line:
    """The turn that a list for several becomes; keys: of the people, whose names stand in their own rows."""
    given = [one.given for one in made.answers]
    degraded = list({tuple(sorted(entry.items())): entry for one in given for entry in one.degraded}.values())
    about = {
        "act": "recommend", "said": "group" if made.items else "found_nothing", "relaxed": made.relaxed,
        "degraded": degraded,
        "places": {item: [[key, place] for key, place in zip(keys, own, strict=True)]
                   for item, own in zip(made.items, made.places, strict=True)},
        "cost": {"seconds": seconds, "calls": sum(one.calls for one in given),
                 "tokens": sum(one.tokens for one in given), "dollars": sum(one.dollars for one in given)},
    }  # fmt: skip
    return Line(at, "assistant", "", made.items, about)
