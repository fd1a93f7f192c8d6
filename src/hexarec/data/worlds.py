"""Seven tiny worlds whose right answer is known: the stage on which a paper's claim is an executable sentence.

checkerboard: taste is a pattern (even users, even items). cold: only text tells, the answers have no events. twins:
texts come in identical pairs with different audiences, only ids tell. order: the last item alone decides the next.
trap: the popular is wrong. complements: what goes with the last item, not what resembles it. drift: taste turns at a
known time, only recent events count.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hexarec.core import (
    Catalog,
    Dataset,
    IdTable,
    Interactions,
    Item,
    Lists,
    OptionError,
    Queries,
    Users,
    rng,
    truth_of,
)

TOPICS = ("ocean", "robot", "jazz", "desert", "castle", "kitchen")
TOPICS_ZH = ("海洋", "机器人", "爵士", "沙漠", "城堡", "厨房")
Events = list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class World:
    """A data set to learn from, questions, and the items that are right for each (`truth`, gain 1)."""

    name: str
    data: Dataset
    queries: Queries
    truth: Lists


def _world(name: str, items: list[Item], past: list[list[int]], right: list[list[int]]) -> World:
    """past[u]: item rows in time order, one an hour; right[u]: the answers for u, asked after the last event."""
    catalog = Catalog.of(items, key=f"world:{name}:{len(items)}")
    lengths = np.array([len(row) for row in past])
    user = np.repeat(np.arange(len(past)), lengths)
    item = np.array([one for row in past for one in row], np.int32)
    time = np.concatenate([np.arange(n) + max(lengths) - n for n in lengths]) * 3600.0
    users = Users(IdTable.of(f"u{row:03d}" for row in range(len(past))))
    log = Interactions.of({"user": user, "item": item, "time": time}, len(past))
    data = Dataset(catalog, log, users, name=f"world:{name}", simulated=True)
    asked = np.array([row for row, answers in enumerate(right) if answers], np.int64)
    queries = data.queries(asked, now=float(max(lengths)) * 3600.0)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in right])]).astype(np.int64)
    flat = np.array([one for row in right for one in row], np.int32)
    return World(name, data, queries, truth_of(queries, offsets, flat, asked))


def _topic_items(n: int, first: int = 0) -> list[Item]:
    """n items; item i is about topic i % 6, said in its title and text in both languages."""
    made = []
    for i in range(first, first + n):
        topic, zh = TOPICS[i % len(TOPICS)], TOPICS_ZH[i % len(TOPICS)]
        made.append(
            Item(
                f"i{i:03d}",
                f"{topic.title()} story {i}",
                f"A {topic} tale about the {topic} and its people.",
                {"genres": (topic,), "year": 1960.0 + i % 60},
                {"zh": f"{zh}故事{i}"},
                {"zh": f"一个关于{zh}的故事。"},
            )
        )
    return made


def _checkerboard(seed: int) -> World:
    items = [
        Item(f"i{i:03d}", f"Title {i}", attributes={"genres": ("even" if i % 2 == 0 else "odd",)}) for i in range(24)
    ]
    past, right = [], []
    for u in range(60):
        mine = np.arange(u % 2, 24, 2)
        order = rng(seed, "checkerboard", u).permutation(mine)
        past.append(order[:9].tolist())
        right.append(order[9:].tolist())
    return _world("checkerboard", items, past, right)


def _cold(seed: int) -> World:
    items = _topic_items(60)
    past, right = [], []
    for u in range(60):
        topic = u % 6
        warm = [i for i in range(48) if i % 6 == topic]
        past.append(rng(seed, "cold", u).permutation(warm)[:6].tolist())
        right.append([i for i in range(48, 60) if i % 6 == topic])
    return _world("cold", items, past, right)


def _twins(seed: int) -> World:
    items = []
    for i in range(32):
        topic = TOPICS[(i // 2) % 6]
        items.append(Item(f"i{i:03d}", f"{topic.title()} days {i // 2}", f"A {topic} tale.", {"genres": (topic,)}))
    past, right = [], []
    for u in range(64):
        mine = np.arange(u % 2, 32, 2)
        order = rng(seed, "twins", u).permutation(mine)
        past.append(order[:10].tolist())
        right.append(order[10:].tolist())
    return _world("twins", items, past, right)


def _order(seed: int) -> World:
    n = 20
    items = [Item(f"i{i:03d}", f"Title {i}") for i in range(n)]
    past, right = [], []
    for u in range(80):
        start = int(rng(seed, "order", u).integers(n))
        past.append([(start + step) % n for step in range(8)])
        right.append([(start + 8) % n])
    return _world("order", items, past, right)


def _trap(seed: int) -> World:
    items = _topic_items(42)
    past, right = [], []
    hits = [36, 37, 38, 39, 40, 41]
    for u in range(60):
        mine = [i for i in range(36) if i % 6 == u % 6]
        draw = rng(seed, "trap", u)
        own = draw.permutation(mine).tolist()
        seen = draw.permutation(hits)[:4].tolist()
        past.append([seen[0], own[0], seen[1], own[1], seen[2], own[2], seen[3], own[3]])
        right.append(own[4:])
    return _world("trap", items, past, right)


def _complements(seed: int) -> World:
    pairs = (
        ("bread", "butter"),
        ("tea", "honey"),
        ("pasta", "sauce"),
        ("camera", "tripod"),
        ("tent", "lantern"),
        ("paint", "brush"),
    )
    brands = ("North", "River", "Sun", "Oak")
    items = []
    for brand in brands:
        for first, second in pairs:
            items.append(
                Item(f"{brand}-{first}".lower(), f"{brand} {first}", f"{first} by {brand}", {"genres": (first,)})
            )
            items.append(
                Item(f"{brand}-{second}".lower(), f"{brand} {second}", f"{second} by {brand}", {"genres": (second,)})
            )
    past, right = [], []
    for u in range(96):
        draw = rng(seed, "complements", u)
        bought: list[int] = []
        for basket in draw.permutation(len(pairs))[:4].tolist():
            one, two = draw.integers(len(brands), size=2).tolist()
            bought += [12 * one + 2 * basket, 12 * two + 2 * basket + 1]
        target = bought[-2] % 12 + 1
        past.append(bought[:-1])
        right.append([12 * b + target for b in range(len(brands))])
    return _world("complements", items, past, right)


def _drift(seed: int) -> World:
    items = _topic_items(60)
    past, right = [], []
    for u in range(60):
        draw = rng(seed, "drift", u)
        before, after = u % 6, (u + 1 + u // 6) % 6
        after = after if after != before else (after + 1) % 6
        old = draw.permutation([i for i in range(60) if i % 6 == before]).tolist()
        new = draw.permutation([i for i in range(60) if i % 6 == after]).tolist()
        past.append(old[:7] + new[:3])
        right.append(new[3:])
    return _world("drift", items, past, right)


WORLDS: dict[str, Callable[[int], World]] = {
    "checkerboard": _checkerboard,
    "cold": _cold,
    "twins": _twins,
    "order": _order,
    "trap": _trap,
    "complements": _complements,
    "drift": _drift,
}


def world(name: str, seed: int = 0) -> World:
    """The world of that name. Raises OptionError with a suggestion for an unknown one."""
    if name not in WORLDS:
        close = difflib.get_close_matches(name, WORLDS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(f"no world {name!r}", hint=f"{hint}worlds: {', '.join(WORLDS)}")
    return WORLDS[name](seed)
