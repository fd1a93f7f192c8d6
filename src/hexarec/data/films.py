"""The bundled data: a catalog of real films in our own words, and users that are simulated.

Nothing here was observed: the catalog's facts (title, year, director, country) are real, its sentences are ours, and
every event comes from the process below. The data set carries `simulated = True`.

The process, for `users` people over two years, all draws from `core.rng(seed, ...)`:

1. Six archetypes have tastes over genres and over keywords (sparse, positive). A person is a mix of two of them,
   leaning on the first, with a little noise, plus a shift by age band, so that demographics matter but do not decide.
2. A person has a favourite era (a year and a width) and a weight for popularity between 0 and 1.
3. A film has a fixed popularity (Zipf-like over a random order, a little higher for newer films) and a quality.
4. Events come in sessions of one to five films some days apart; a session has a mood: one genre counts double.
5. For three people in ten the two archetypes swap weights at a moment of their own (drift).
6. The next film is drawn without repetition by a logit choice over utility = genres + keywords + era + popularity.
7. The rating is a step function of utility and quality with noise, 1 to 5; liked means 4 or more.
8. One film in twenty comes out in the last eighth of the period (`since`), so it has few or no events: cold items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import KINDS, Catalog, Dataset, IdTable, Interactions, Item, Users, rng, strings

Floats = NDArray[np.float64]
START = 1_672_531_200.0  # 2023-01-01 UTC
DAY = 86_400.0
DAYS = 730
ARCHETYPES = 6
AGES = ("under 25", "25-39", "40-59", "60 and over")
GENDERS = ("female", "male", "not stated")
NAME = "films"
GENRES_ZH = {
    "action": "动作",
    "adventure": "冒险",
    "animation": "动画",
    "comedy": "喜剧",
    "crime": "犯罪",
    "documentary": "纪录",
    "drama": "剧情",
    "family": "家庭",
    "fantasy": "奇幻",
    "history": "历史",
    "horror": "恐怖",
    "music": "音乐",
    "mystery": "悬疑",
    "romance": "爱情",
    "science-fiction": "科幻",
    "thriller": "惊悚",
    "war": "战争",
    "western": "西部",
}


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The film catalog: title and text in English and Chinese, year, director, country, genres, keywords."""
    folder = resources.files("hexarec.data") / "bundled"
    rows = [json.loads(line) for line in (folder / "films.jsonl").read_text("utf-8").splitlines()]
    items = [
        Item(
            id=row["id"],
            title=row["title"],
            text=row["text"],
            attributes={
                "year": row["year"],
                "director": row["director"],
                "country": row["country"],
                "genres": tuple(row["genres"]),
                "keywords": tuple(row["keywords"]),
            },
            titles={"zh": row["title_zh"]},
            texts={"zh": row["text_zh"]},
        )
        for row in rows
    ]
    made = Catalog.of(items)
    genres_zh = strings("、".join(GENRES_ZH[g] for g in item.attributes["genres"]) for item in items)
    return made.with_text("genres", "zh", genres_zh, {"maker": "hexarec"})


def _one_hot(column: NDArray[Any]) -> Floats:
    words = sorted({word for value in column for word in value})
    place = {word: i for i, word in enumerate(words)}
    out = np.zeros((len(column), len(words)))
    for row, value in enumerate(column):
        out[row, [place[word] for word in value]] = 1.0
    return out


@dataclass(frozen=True)
class _World:
    """The fixed side of the simulation; u = users, i = items, g = genres, w = keywords."""

    genres: Floats  # (i, g)
    keywords: Floats  # (i, w)
    year: Floats  # (i,)
    popularity: Floats  # (i,)
    quality: Floats  # (i,)
    since: Floats  # (i,)
    like_genre: Floats  # (archetypes, g)
    like_keyword: Floats  # (archetypes, w)


def _world(films: Catalog, seed: int) -> _World:
    draw = rng(seed, "films", "world")
    n = len(films)
    genres, keywords = _one_hot(films.attributes["genres"]), _one_hot(films.attributes["keywords"])
    year = films.attributes["year"].astype(np.float64)
    place = np.argsort(draw.random(n) + 0.004 * (2023 - year)) + 1.0
    rank = np.empty(n)
    rank[place.astype(int) - 1] = np.arange(1, n + 1)
    since = np.full(n, -np.inf)
    late = np.argsort(draw.random(n))[: n // 20]
    since[late] = START + DAY * DAYS * (7 / 8 + draw.random(len(late)) / 8)
    like_genre = draw.random((ARCHETYPES, genres.shape[1])) ** 4
    like_keyword = draw.random((ARCHETYPES, keywords.shape[1])) ** 6
    return _World(
        genres / np.sqrt(genres.sum(1, keepdims=True)),
        keywords / np.sqrt(keywords.sum(1, keepdims=True)),
        year,
        -np.log(rank) / np.log(n),
        draw.normal(0.0, 0.5, n),
        since,
        like_genre / like_genre.std(1, keepdims=True),
        like_keyword / like_keyword.std(1, keepdims=True),
    )


@dataclass(frozen=True)
class _People:
    """The people; u rows."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    lean: Floats  # weight of the first archetype, before drift
    drift_at: Floats  # when the two swap, inf for most
    era: Floats
    era_width: Floats
    popular: Floats
    events: NDArray[np.int64]
    age: NDArray[np.int64]
    gender: NDArray[np.int64]
    start: Floats


def _people(n: int, seed: int) -> _People:
    draw = rng(seed, "films", "people")
    age = (draw.random(n)[:, None] > np.array([0.25, 0.6, 0.85])).sum(1)
    # a shift by age: older people lean towards the higher archetypes and earlier eras
    first = ((draw.random(n) + 0.08 * age) * ARCHETYPES).astype(np.int64) % ARCHETYPES
    second = (first + 1 + (draw.random(n) * (ARCHETYPES - 1)).astype(np.int64)) % ARCHETYPES
    drifting = draw.random(n) < 0.3
    start = START + DAY * DAYS * 0.7 * draw.random(n)
    end = START + DAY * DAYS
    return _People(
        first=first,
        second=second,
        lean=0.65 + 0.3 * draw.random(n),
        drift_at=np.where(drifting, start + (end - start) * (0.3 + 0.4 * draw.random(n)), np.inf),
        era=np.clip(2012 - 14 * age + draw.normal(0, 12, n), 1925, 2023),
        era_width=10 + 25 * draw.random(n),
        popular=draw.random(n),
        events=np.clip(np.exp(draw.normal(3.35, 0.65, n)), 5, 160).astype(np.int64),
        age=age,
        gender=(draw.random(n)[:, None] > np.array([0.46, 0.92])).sum(1),
        start=start,
    )


def _utility(world: _World, people: _People, who: NDArray[np.int64], now: Floats, mood: NDArray[np.int64]) -> Floats:
    """(len(who), i): how much these people would like every film at their own moment."""
    lean = np.where(now >= people.drift_at[who], 1.0 - people.lean[who], people.lean[who])[:, None]
    first, second = people.first[who], people.second[who]
    genre = lean * world.like_genre[first] + (1 - lean) * world.like_genre[second]
    word = lean * world.like_keyword[first] + (1 - lean) * world.like_keyword[second]
    genre[np.arange(len(mood)), mood] *= 2.0
    era = -(((world.year[None, :] - people.era[who][:, None]) / people.era_width[who][:, None]) ** 2) / 2
    taste = 1.1 * genre @ world.genres.T + 0.55 * word @ world.keywords.T
    fame = 3.0 * people.popular[who][:, None] * world.popularity
    return np.asarray(taste + np.maximum(era, -2.0) + 1.2 * world.quality + fame)


def _simulate(films: Catalog, n: int, seed: int) -> tuple[dict[str, Any], _People, Floats]:
    world, people = _world(films, seed), _people(n, seed)
    draw = rng(seed, "films", "events")
    now = people.start.copy()
    mood = (draw.random(n) * world.genres.shape[1]).astype(np.int64)
    left = np.ones(n, np.int64)
    seen = np.zeros((n, len(films)), bool)
    pace = (START + DAY * DAYS - people.start) / people.events
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("user", "item", "time", "value")}
    for step in range(int(people.events.max())):
        users = np.flatnonzero((people.events > step) & (now < START + DAY * DAYS))
        # drawn for everybody, used for those still active: one person's films do not depend on another's length
        luck = draw.random(seen.shape)[users]
        utility = _utility(world, people, users, now[users], mood[users])
        wish = utility * 1.15 - np.log(-np.log(luck))
        wish[seen[users] | (world.since[None, :] > now[users, None])] = -np.inf
        picked = wish.argmax(1)
        seen[users, picked] = True
        felt = utility[np.arange(len(users)), picked] - np.median(utility, axis=1) + draw.normal(0, 0.8, len(users))
        value = 1 + (felt[:, None] > np.array([-0.4, 0.6, 1.6, 2.9])).sum(1)
        for name, column in (("user", users), ("item", picked), ("time", np.floor(now[users])), ("value", value)):
            columns[name].append(column)
        left -= 1
        over = left <= 0
        mood = np.where(over, (draw.random(n) * world.genres.shape[1]).astype(np.int64), mood)
        left = np.where(over, 1 + (draw.random(n) * 5).astype(np.int64), left)
        # inside a session films follow within a day or two; between sessions the person's own pace
        gap = np.where(over, pace * 3.0 * draw.random(n) * 1.6, 0.2 * DAY + DAY * draw.random(n))
        now = now + gap
    return {name: np.concatenate(parts) for name, parts in columns.items()}, people, world.since


def load(users: int = 1_200, seed: int = 7) -> Dataset:
    """The simulated film data set; the same for the same arguments."""
    films = catalog()
    columns, people, since = _simulate(films, users, seed)
    value = columns["value"].astype(np.float32)
    columns |= {
        "value": value,
        "liked": value >= 4,
        "kind": np.full(len(value), KINDS.index("rate"), np.int8),
    }
    log = Interactions.of(columns, users, like_rule="value >= 4")
    who = Users(
        IdTable.of(f"u{row + 1:04d}" for row in range(users)),
        {
            "gender": strings(GENDERS[code] for code in people.gender),
            "age": strings(AGES[code] for code in people.age),
        },
    )
    return Dataset(
        replace(films, since=since),
        log,
        who,
        name=NAME,
        simulated=True,
        meta={
            "source": "films: real films in our own words, simulated users",
            "licence": "Apache-2.0",
            "seed": seed,
            "languages": ("en", "zh"),
        },
    )
