"""A small stage that keeps every promise, to plant violations in (see broken.py).

It scores an item by its likes, plus two for each time this very user liked it: enough to need every contract.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hexarec.core import (
    Evidence,
    Features,
    PerUser,
    Reasons,
    Reply,
    StateError,
    Words,
    best,
    rescored,
    same_lineage,
)
from hexarec.lm.base import Prompt
from hexarec.parts.ground import Titles, ground_list
from hexarec.parts.render import handled, titles


@dataclass
class Good:
    """Keeps every promise."""

    bonus: float = 2.0

    def fit(self, data, *, seed=0):
        self.key_ = data.catalog.key
        self.ids_ = data.catalog.items.ids
        self.counts_ = data.interactions.counts(data.n_items, liked=True).astype(np.float32)
        self.users_ = PerUser.of(data.users.ids, data.interactions.matrix(data.n_items))
        return self

    def extend(self, catalog):
        same_lineage(self.key_, catalog.key)
        made, more = copy.copy(self), len(catalog) - len(self.counts_)
        made.counts_ = np.append(self.counts_, np.zeros(more, np.float32))
        own = self.users_.values
        made.users_ = replace(self.users_, values=csr_array((own.data, own.indices, own.indptr),
                                                            shape=(own.shape[0], len(catalog))))  # fmt: skip
        return made

    def checked(self, queries):
        if not hasattr(self, "key_"):
            raise StateError("not fitted")
        same_lineage(self.key_, queries.catalog.key)

    def scores(self, queries):
        self.checked(queries)
        return (self.users(queries) @ self.items().T)[:, : len(queries.catalog)]

    def users(self, queries):
        own = self.users_.dense(queries)[0].astype(np.float32)
        return np.hstack([np.ones((len(queries), 1), np.float32), self.bonus * own]).astype(np.float32)

    def items(self):
        return np.hstack([self.counts_[:, None], np.eye(len(self.counts_), dtype=np.float32)])

    def retrieve(self, queries, k):
        return best(queries, self.scores, k)

    def rank(self, queries, candidates):
        return rescored(queries, candidates, self.scores, "good")

    def control(self, queries, ranked, k):
        self.checked(queries)
        same_lineage(self.key_, ranked.key)
        return ranked.top_k(k)

    def enrich(self, data):
        lengths = np.array([[len(title)] for title in data.catalog.titles], np.float32)
        return data.with_features("lengths", Features(lengths, np.ones(len(lengths), bool), {"maker": "good"}))

    def explain(self, queries, shown, desk):
        return [
            Reasons(
                tuple(self.sentence(queries, i) for _ in shown[i].items),
                evidence=tuple(self.evidence(queries, i) for _ in shown[i].items),
            )
            for i in range(len(queries))
        ]

    def converse(self, dialogues, desk):
        return [
            Reply(Words("Here is one.", "en"), self.offered(desk, one), "recommend", {"turns": len(one.turns)})
            for one in dialogues
        ]

    def offered(self, desk, dialogue):
        return tuple(desk.catalog.ids(np.flatnonzero(desk.catalog.alive)[:1]))

    def react(self, visits, shown):
        if not hasattr(self, "key_"):
            raise StateError("not fitted")
        if not isinstance(shown, list):
            same_lineage(self.key_, shown.key)
        return [self.seen(visit, page) for visit, page in zip(visits, shown, strict=True)]

    def seen(self, visit, page):
        if visit.get("exited") is True:
            return dict(visit)
        ids = page.items if isinstance(page, Reply) else self.ids_[page.items[page.items < len(self.ids_)]].tolist()
        number = visit["page"] + 1 if isinstance(visit.get("page"), int) else 1
        judged = [{"item": self.named(one), "liked": True} for one in ids]
        return {**visit, "page": number, "exited": number > 1, "judged": judged, "satisfaction": 5}

    def named(self, one):
        return one

    def sentence(self, queries, i):
        return Words("因为您喜欢它。" if queries.lang[i] == "zh" else "You liked it.", queries.lang[i])

    def evidence(self, queries, i):
        past = queries.history.item[slice(*queries.history.offsets[i : i + 2])].tolist()
        return (Evidence("history", (past[-1],)),) if past else (Evidence("popularity"),)


@dataclass
class Speaking:
    """A ranker that asks a model and keeps every promise."""

    lm: Any

    def fit(self, data, *, seed=0):
        self.key_ = data.catalog.key
        return self

    def rank(self, queries, candidates):
        if not hasattr(self, "key_"):
            raise StateError("not fitted")
        same_lineage(self.key_, queries.catalog.key)
        same_lineage(self.key_, candidates.key)
        scores = np.zeros(len(candidates.items), np.float32)
        for i, one in enumerate(candidates):
            names = titles(queries.catalog, one.items)
            handles = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(names)])
            answer = self.lm.generate([Prompt.user(handled(names, handles))])[0].text
            order = self.order(answer, Titles(tuple(names), handles))
            scores[candidates.offsets[i] + np.array(order, int)] = 1.0 / (1 + np.arange(len(order)))
        return candidates.scored(scores)

    def order(self, answer, shown):
        return ground_list(answer, shown)[0]
