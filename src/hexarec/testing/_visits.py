"""Promises about simulated users: visits are JSON, judgements name shown items by id, and who has left stays away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hexarec.core import Lists, Reply, Words, ragged
from hexarec.data.worlds import World
from hexarec.testing._asking import elsewhere, few, grown, hold, pool, ready

PAGES, SHOWN = 4, 3
State = Mapping[str, Any]


def reacts(stage: Any, world: World) -> None:
    """One visit a page, as JSON; judged are shown items by id; who left stays away; a visit needs no other visit."""
    made, visits = ready(stage, world.data), opened(world)
    first = visits
    for page in range(1, PAGES + 1):
        shown = page_of(world, page)
        after = made.react(visits, shown)
        sound_visits(after, visits, shown, world, f"page {page}")
        alone = [made.react([one], shown.take(np.array([i])))[0] for i, one in enumerate(visits)]
        hold(alone == after, f"page {page}: a visit alone goes on otherwise than in a batch")
        hold(made.react(visits, shown) == after, f"page {page}: the same visits go on otherwise the second time")
        visits = json.loads(json.dumps(after))
    hold(made.react([], page_of(world, 1).take(slice(0, 0))) == [], "no visits: visits all the same")
    again = made.react(first, page_of(world, 1))
    hold(again[0].get("page") == 1, "a new visit does not begin at page 1")
    _unusual(made, world)


def _unusual(made: Any, world: World) -> None:
    """Empty pages, replies in place of lists, a state of another kind, new items, and another lineage."""
    visits, catalog = opened(world), world.data.catalog
    empty = Lists.empty(catalog.key, len(visits))
    sound_visits(made.react(visits, empty), visits, empty, world, "an empty page")
    shown = page_of(world, 1)
    replies = [Reply(Words("These?"), tuple(catalog.ids(one.items)), "recommend") for one in shown]
    sound_visits(made.react(visits, replies), visits, shown, world, "replies")
    odd = [{"user": 7, "page": "x", "memory": 3, "judged": [None], "tally": {"a": 1}, "seed": None, "lang": ""}]
    one = shown.take(slice(0, 1))
    sound_visits(made.react(odd, one), odd, one, world, "a state of another kind")
    data = grown(world.data)
    new = Lists.of(data.catalog.key, [[data.n_items - 1, 0]])
    after = made.react([{}], new)[0]
    hold({judged["item"] for judged in after["judged"]} <= set(data.catalog.ids(new.items)), "new items: others judged")
    foreign = replace(one, key=elsewhere(world.data).catalog.key)
    try:
        made.react(visits[:1], foreign)
    except Exception as error:
        hold(type(error).__name__ == "LineageError", f"another lineage raises {type(error).__name__}")
    else:
        hold(False, "rows of another lineage are taken for ours")


def opened(world: World) -> list[State]:
    """New visits: known users, one of them in Chinese, a stranger, and nobody."""
    users = world.data.users.ids.ids[:3].tolist()
    return [
        *({"user": name} for name in users),
        {"user": users[0], "lang": "zh", "seed": 5},
        {"user": "a stranger"},
        {},
    ]


def page_of(world: World, page: int) -> Lists:
    """Some items for each of the opened visits, other ones on each page."""
    drawn = pool(few(world))
    n = len(opened(world))
    places = ragged.positions(drawn.offsets)
    some = drawn.where((places >= SHOWN * (page - 1)) & (places < SHOWN * page))
    return some.take(np.arange(n) % len(some))


def sound_visits(after: Sequence[State], before: Sequence[State], shown: Lists, world: World, what: str) -> None:
    """Raise Broken unless there is one well-formed visit for each page."""
    hold(len(after) == len(before), f"{what}: {len(after)} visits for {len(before)} pages")
    for i, (now, then) in enumerate(zip(after, before, strict=True)):
        try:
            again = json.loads(json.dumps(dict(now), allow_nan=False))
        except (TypeError, ValueError) as error:
            hold(False, f"{what}: a visit is not JSON ({error})")
        hold(again == dict(now), f"{what}: a visit does not survive JSON")
        if then.get("exited") is True:
            hold(dict(now) == dict(then), f"{what}: somebody who had left goes on")
            continue
        hold(isinstance(now.get("exited"), bool), f"{what}: a visit does not say whether it ended")
        hold(isinstance(now.get("page"), int) and now["page"] >= 1, f"{what}: a visit does not say its page")
        names = [one.get("item") for one in now.get("judged", ())]
        own = set(world.data.catalog.ids(shown[i].items))
        hold(set(names) <= own, f"{what}: judged {sorted(set(map(str, names)) - own)}, which was not shown")
        hold(len(set(names)) == len(names), f"{what}: an item is judged twice")
        hold(all(isinstance(one.get("liked"), bool) for one in now["judged"]), f"{what}: a judgement without liked")
        if now["exited"]:
            score = now.get("satisfaction")
            hold(isinstance(score, int | float) and 1 <= score <= 10, f"{what}: satisfaction {score!r} at the end")
