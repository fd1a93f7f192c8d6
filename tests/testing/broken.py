"""For each promise a child of a good stage that breaks it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hexarec.core import Evidence, StateError, ragged

from .planted import Good, Speaking


class Trusting(Speaking):
    """Breaks `any words`: takes the letters of an answer as they come."""

    def order(self, answer, shown):
        return [ord(letter) - ord("A") for letter in answer if letter.isupper()]


class Inventing(Good):
    """Breaks `catalog rows`."""

    def retrieve(self, queries, k):
        made = super().retrieve(queries, k)
        return replace(made, items=np.where(made.items == 0, len(queries.catalog), made.items).astype(np.int32))


class Doubling(Good):
    """Breaks `catalog rows`: the first item stands twice."""

    def control(self, queries, ranked, k):
        made = super().control(queries, ranked, k)
        return replace(made, items=np.where(ragged.positions(made.offsets) == 1, made.items[0], made.items))


class Generous(Good):
    """Breaks `at most k`."""

    def retrieve(self, queries, k):
        return super().retrieve(queries, k + 1)


class WorstFirst(Good):
    """Breaks `best first`."""

    def rank(self, queries, candidates):
        made = super().rank(queries, candidates)
        return made.at(ragged.order_within(made.offsets, made.scores), made.offsets)


class Dropping(Good):
    """Breaks `permutation`."""

    def rank(self, queries, candidates):
        return super().rank(queries, candidates).top_k(11)


class Adding(Good):
    """Breaks `picks`: puts in an item of its own."""

    def control(self, queries, ranked, k):
        made = super().control(queries, ranked, k)
        return replace(made, items=np.where(ragged.positions(made.offsets) == 0, 41, made.items).astype(np.int32))


class Forgetful(Good):
    """Breaks `fields follow`: moves the items, not the columns beside them."""

    def rank(self, queries, candidates):
        return replace(super().rank(queries, candidates), fields=candidates.fields)


class Repeating(Good):
    """Breaks `exclusions`."""

    def retrieve(self, queries, k):
        none = np.zeros(len(queries) + 1, np.int64)
        return super().retrieve(queries.excluding(np.zeros(0, np.int32), none), k)


class Unfiltered(Good):
    """Breaks `filters`."""

    def retrieve(self, queries, k):
        return super().retrieve(replace(queries, where=None, filters=()), k)


class Undead(Good):
    """Breaks `tombstones`."""

    def retrieve(self, queries, k):
        alive = np.ones(len(queries.catalog), bool)
        return super().retrieve(replace(queries, catalog=replace(queries.catalog, alive=alive)), k)


class Hasty(Good):
    """Breaks `not yet out`."""

    def retrieve(self, queries, k):
        since = np.full(len(queries.catalog), -np.inf)
        return super().retrieve(replace(queries, catalog=replace(queries.catalog, since=since)), k)


class Aloof(Good):
    """Breaks `strangers`: knows nobody it has not met."""

    def users(self, queries):
        made = super().users(queries)
        if (queries.user_rows(self.users_.users) < 0).any():
            raise KeyError("who is that?")
        return made


class ByRow(Good):
    """Breaks `user rows`: takes the row numbers of any user table for its own."""

    def users(self, queries):
        own = self.users_.values.toarray()[queries.user]
        return np.hstack([np.ones((len(queries), 1), np.float32), self.bonus * own]).astype(np.float32)


class Closed(Good):
    """Breaks `newcomers`: looks up every candidate, new ones too."""

    def rank(self, queries, candidates):
        assert len(self.counts_[candidates.items]) == len(candidates.items)
        return super().rank(queries, candidates)


class Hungry(Good):
    """Breaks `nothing given`: needs a best candidate."""

    def rank(self, queries, candidates):
        assert candidates.items.max() >= 0
        return super().rank(queries, candidates)


class Crowded(Good):
    """Breaks `nobody asks`: needs a first question."""

    def retrieve(self, queries, k):
        assert queries.user[0] is not None
        return super().retrieve(queries, k)


class Sociable(Good):
    """Breaks `batch is single`: scores depend on who else asks."""

    def scores(self, queries):
        return super().scores(queries) - np.float32(len(queries))


class Anywhere(Good):
    """Breaks `lineage`."""

    def checked(self, queries):
        if not hasattr(self, "key_"):
            raise StateError("not fitted")


class Eager(Good):
    """Breaks `before fit`: makes something up."""

    def rank(self, queries, candidates):
        return super().rank(queries, candidates) if hasattr(self, "key_") else candidates


class Moody(Good):
    """Breaks `same seed`: draws without one."""

    def fit(self, data, *, seed=0):
        super().fit(data)
        self.counts_ = self.counts_ + np.random.default_rng().random(len(self.counts_), np.float32)
        return self


class Scribbling(Good):
    """Breaks `input untouched`: sorts the caller's candidates."""

    def rank(self, queries, candidates):
        made = super().rank(queries, candidates)
        candidates.scores[:] = -candidates.scores
        return made


class Tuning(Good):
    """Breaks `options kept`: writes what it learned over an option."""

    def fit(self, data, *, seed=0):
        self.bonus = float(len(data.interactions))
        return super().fit(data)


class Secretive(Good):
    """Breaks `comes back`: keeps something needed in an attribute that is not saved."""

    def fit(self, data, *, seed=0):
        super().fit(data)
        self._boost = self.counts_[::-1].copy() * 3
        return self

    def scores(self, queries):
        boost = getattr(self, "_boost", np.zeros_like(self.counts_)) if hasattr(self, "counts_") else 0
        made = super().scores(queries)
        return made + np.resize(boost, made.shape[1])


class Finished(Good):
    """Breaks `extends`: says it grew and did not."""

    def extend(self, catalog):
        return copy.copy(self)


class Remembering(Good):
    """Breaks `forgets`: keeps names outside the per-user table."""

    def fit(self, data, *, seed=0):
        super().fit(data)
        self.last_ = {name: int(row) for row, name in enumerate(data.users.ids.ids)}
        return self


class Clairvoyant(Good):
    """Breaks `no future`: a cache by catalog outlives the fit and grows with whatever it is shown."""

    SEEN: ClassVar[dict[str, Any]] = {}

    def fit(self, data, *, seed=0):
        super().fit(data)
        known = self.SEEN.setdefault(data.catalog.key, np.zeros_like(self.counts_))
        self.counts_ = self.SEEN[data.catalog.key] = np.maximum(known, self.counts_)
        return self


class Piling(Good):
    """Breaks `no future at fit`: fitted again, it adds to what it had learned."""

    def fit(self, data, *, seed=0):
        before = getattr(self, "counts_", 0.0)
        super().fit(data)
        self.counts_ = self.counts_ + before
        return self


class Hoarding(Clairvoyant):
    """Breaks `no future at fit`: the largest log it ever saw is what it counts."""

    SEEN: ClassVar[dict[str, Any]] = {}


class Overwriting(Good):
    """Breaks `enriches`: old rows change when the catalog grows."""

    def enrich(self, data):
        made = super().enrich(data)
        lengths = made.features["lengths"]
        return made.with_features("lengths", replace(lengths, rows=lengths.rows / np.float32(len(lengths.rows))))


class Skewed(Good):
    """Breaks `backbone`: its vectors do not say what its ranking says."""

    def items(self):
        return super().items()

    def users(self, queries):
        return -super().users(queries)

    def scores(self, queries):
        return -super().scores(queries)


class Lying(Good):
    """Breaks `explains`: names an item the person never met."""

    def evidence(self, queries, i):
        return (Evidence("history", (int(queries.exclude.max(initial=0)) % 41 + 1, 0, 1, 2)),)


class Storyteller(Good):
    """Breaks `converses`: offers an item that does not exist."""

    def offered(self, desk, dialogue):
        return ("a made-up title",)


class Listener(Good):
    """Breaks `converses`: counts its calls, so that a dialogue in a batch is answered as one later."""

    def offered(self, desk, dialogue):
        self._calls = getattr(self, "_calls", -1) + 1
        return tuple(desk.catalog.ids(np.flatnonzero(desk.catalog.alive)[[self._calls % 5]]))


class ByTitle(Good):
    """Breaks `reacts`: judges by free title."""

    def named(self, one):
        return f"the one called {one}"


class Returning(Good):
    """Breaks `reacts`: who has left comes back."""

    def seen(self, visit, page):
        return super().seen({**visit, "exited": False}, page)


class Moodswings(Good):
    """Breaks `reacts`: keeps count of the pages it saw, in any visit."""

    def seen(self, visit, page):
        self._pages = getattr(self, "_pages", 0) + 1
        return {**super().seen(visit, page), "satisfaction": 1 + self._pages % 10}


class Infected(Good):
    """Breaks `reacts`: a visit knows how many others there are."""

    def react(self, visits, shown):
        return [{**visit, "crowd": len(visits)} for visit in super().react(visits, shown)]


class Numbered(Good):
    """Breaks `reacts`: leaves numbers in a visit that JSON has not."""

    def seen(self, visit, page):
        return {**super().seen(visit, page), "score": np.float32(1.0)}


BREAKS = {
    "catalog rows": (Inventing, Doubling),
    "at most k": (Generous,),
    "best first": (WorstFirst,),
    "permutation": (Dropping,),
    "picks": (Adding,),
    "fields follow": (Forgetful,),
    "exclusions": (Repeating,),
    "filters": (Unfiltered,),
    "tombstones": (Undead,),
    "not yet out": (Hasty,),
    "strangers": (Aloof,),
    "user rows": (ByRow,),
    "newcomers": (Closed,),
    "nothing given": (Hungry,),
    "nobody asks": (Crowded,),
    "batch is single": (Sociable,),
    "lineage": (Anywhere,),
    "before fit": (Eager,),
    "same seed": (Moody,),
    "input untouched": (Scribbling,),
    "options kept": (Tuning,),
    "comes back": (Secretive,),
    "extends": (Finished,),
    "forgets": (Remembering,),
    "no future": (Clairvoyant,),
    "no future at fit": (Piling, Hoarding),
    "enriches": (Overwriting,),
    "backbone": (Skewed,),
    "explains": (Lying,),
    "converses": (Storyteller, Listener),
    "reacts": (ByTitle, Returning, Moodswings, Infected, Numbered),
    "any words": (Trusting,),
}
"""For each contract the stages that break it, and nothing else that this contract looks at."""
