"""What is served as data: counts, health with its figures, items and users one by one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from hexarec.core import Catalog
from hexarec.core.interactions import NOT_LIKED
from hexarec.data.health import Health, check
from hexarec.parts.render import value_text
from hexarec.serve.errors import MissingError
from hexarec.serve.live.search import grounder_of, searched
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.page.figures import Axis, Figure, Series
from hexarec.serve.page.values.lists import Card, cards_of, facts_of
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow

T = Callable[..., str]
PAGE = 50
PAST = 200
"""Newest events of a user that are shown."""
COMMON = 8
"""Values of an attribute in a profile."""
_HEALTH: WeakKeyDictionary[Tenant, tuple[tuple[int, ...], Health]] = WeakKeyDictionary()


# -------------------------------------------------------------------------------------------------------- health
def health_of(tenant: Tenant) -> Health:
    """The health of everything stored; worked out again when items, their words or events have changed."""
    with tenant.reporting:
        tenant.refresh()
        kept = _HEALTH.get(tenant)
        if kept is None or kept[0] != tenant.state:
            kept = _HEALTH[tenant] = (tenant.state, check(tenant.data()))
        return kept[1]


def health_figures(health: Health, t: T) -> list[Figure]:
    """The plots of the health report."""
    return [_FIGURES[name](x.tolist(), y.tolist(), t) for name, (x, y) in health.curves.items()]


def _ranked(what: str, x: list[float], y: list[float], t: T) -> Figure:
    title = t(f"data.figure.per_{what}")
    return Figure(
        f"events-per-{what}", title, Axis(t(f"data.figure.rank_{what}"), log=True), Axis(t("data.events"), log=True), x,
        (Series(t("data.events"), y, kind="points"),),
    )  # fmt: skip


def _lorenz(x: list[float], y: list[float], t: T) -> Figure:
    return Figure(
        "lorenz", t("data.figure.lorenz"), Axis(t("data.figure.share_items")), Axis(t("data.figure.share_events")), x,
        (Series(t("data.figure.events_held"), y), Series(t("data.figure.even"), x)),
    )  # fmt: skip


def _histogram(name: str, axis: str, unit: str, edges: list[float], counts: list[float], t: T) -> Figure:
    time = axis == "time"
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    return Figure(
        name, t(f"data.figure.{axis}"), Axis(t(f"data.figure.{axis}_axis"), unit, time=time),
        Axis(t("data.events" if time else "data.items")), middles,
        (Series(t("data.events" if time else "data.items"), counts, kind="bars"),),
    )  # fmt: skip


_FIGURES: dict[str, Callable[[list[float], list[float], T], Figure]] = {
    "events per user": partial(_ranked, "user"), "events per item": partial(_ranked, "item"), "lorenz": _lorenz,
    "events over time": partial(_histogram, "events-over-time", "time", ""),
    "text length": partial(_histogram, "text-length", "length", ""),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------- items
@dataclass(frozen=True)
class ItemPage:
    """Some items. after: the id to go on from, "" at the end."""

    cards: Sequence[Card]
    events: Mapping[str, int]
    after: str


def item_page(tenant: Tenant, words: str, after: str, lang: str) -> ItemPage:
    """Items whose title in any language holds the words, then those whose text does; without words all, by id."""
    if tenant.empty:
        return ItemPage((), {}, "")
    if words.strip():
        held = grounder_of(tenant).holding(words, PAGE)
        ids = list(dict.fromkeys([*held, *(str(one["item_id"]) for one in searched(tenant, words, PAGE))]))[:PAGE]
        return ItemPage(cards_of(tenant.catalog, ids, lang), tenant.popularity, "")
    rows = tenant.shelf.find_items(after, PAGE)
    cards = cards_of(tenant.catalog, [row.id for row in rows], lang)
    return ItemPage(cards, tenant.popularity, rows[-1].id if len(rows) == PAGE else "")


@dataclass(frozen=True)
class ItemTold:
    """One item with all its words. rank: its place by events, from 1; words: (language, title, text)."""

    row: ItemRow
    title: str
    words: Sequence[tuple[str, str, str]]
    attributes: Sequence[tuple[str, str]]
    events: int
    rank: int
    of: int


def item_told(tenant: Tenant, item_id: str, lang: str) -> ItemTold:
    """One item. Raises MissingError."""
    row = tenant.shelf.item(item_id)
    if row is None:
        raise MissingError(f"no item {item_id[:80]!r}")
    own = str(tenant.settings.get("lang", "en"))
    langs = dict.fromkeys([own, *row.titles, *row.texts])
    words = [
        (one, row.titles.get(one, row.title if one == own else ""), row.texts.get(one, row.text if one == own else ""))
        for one in langs
    ]
    counts = tenant.popularity
    events = counts.get(item_id, 0)
    rank = 1 + sum(n > events for n in counts.values())
    return ItemTold(row, row.titles.get(lang) or row.title or item_id, words, _stated(row.attributes), events, rank,
                    tenant.shelf.count("items"))  # fmt: skip


def _stated(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, value_text(tuple(v) if isinstance(v, list) else v) or "") for name, v in attributes.items()]


# --------------------------------------------------------------------------------------------------------- users
@dataclass(frozen=True)
class Done:
    """One event of a user. title: of its item; level: like, dislike or ""."""

    event: EventRow
    title: str
    level: str


@dataclass(frozen=True)
class UserTold:
    """One user: what they stated, what they like most by attribute (value, events), and their newest events."""

    row: UserRow
    attributes: Sequence[tuple[str, str]]
    profile: Sequence[tuple[str, Sequence[tuple[str, int]]]]
    past: Sequence[Done]
    first: float | None


def user_told(tenant: Tenant, user_id: str, lang: str) -> UserTold:
    """One user. Raises MissingError for one that stated nothing and did nothing."""
    stated = tenant.shelf.user(user_id)
    past = tenant.shelf.histories([user_id], most=PAST, source=None).get(user_id, [])
    if stated is None and not past:
        raise MissingError("no such user", hint="the id must be exact; search by its beginning")
    titles, like = _titles(tenant, past, lang), tenant.settings.get("like")
    done = [Done(one, titles.get(one.item, one.item), _level(one, like)) for one in reversed(past)]
    row = stated or UserRow(user_id)
    profile = [] if tenant.empty else _profile(tenant.catalog, done, lang)
    return UserTold(row, _stated(row.attributes), profile, done, past[0].time if past else None)


def _titles(tenant: Tenant, past: Sequence[EventRow], lang: str) -> dict[str, str]:
    ids = list(dict.fromkeys(one.item for one in past))
    return {} if tenant.empty else {card.id: card.title for card in cards_of(tenant.catalog, ids, lang)}


def _level(event: EventRow, like: Any) -> str:
    if event.kind in NOT_LIKED:
        return "dislike"
    known = like is not None and event.value is not None and not math.isnan(event.value)
    return ("like" if event.value >= like else "dislike") if known else "like"


def _profile(catalog: Catalog, done: Sequence[Done], lang: str) -> list[tuple[str, list[tuple[str, int]]]]:
    """The commonest values of each attribute among what was liked; attributes in which nothing recurs are left out."""
    rows = [int(row) for row in catalog.rows([one.event.item for one in done if one.level == "like"]) if row >= 0]
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in facts_of(catalog, row, lang, most=20):
            counts.setdefault(name, Counter()).update(part.strip() for part in re.split("[、,]", value))
    return [(name, one.most_common(COMMON)) for name, one in counts.items() if one.most_common(1)[0][1] > 1]


def user_page(tenant: Tenant, beginning: str) -> list[str]:
    """Ids of users that begin like this."""
    return tenant.shelf.people(beginning.strip(), PAGE)
