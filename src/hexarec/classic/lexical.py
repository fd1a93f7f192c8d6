"""Lexical: items whose words match what a request says, or the titles of the last liked items.

Source:  Robertson and Zaragoza 2009 (BM25); as a zero-shot baseline in Hou et al. 2023, arXiv:2305.08845, table 2.
Idea:    the written request, else the last liked titles, is the query; every item's text is a document.
Differs: idf is Lucene's, which is never negative.
Cost:    one pass over the postings of the query's words.
Needs:   item text.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hexarec.classic._shared import Floats
from hexarec.core import Catalog, Dataset, Lists, OptionError, Queries, at_least, best, ready, rescored, same_lineage
from hexarec.parts.bm25 import BM25
from hexarec.parts.render import documents, present_fields, titles


@dataclass
class Lexical:
    """BM25 over item text."""

    fields: Sequence[str] = ("title",)
    """What of an item is indexed; those the catalog lacks are left out."""
    last: int = 10
    """Liked history titles that make the query when nothing is asked in words."""
    k1: float = 1.5
    """Saturation of repeated words."""
    b: float = 0.75
    """Weight of document length."""
    reads_text: ClassVar[bool] = True

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Index the catalog. Raises OptionError when it has none of the fields."""
        at_least(self, last=1, k1=0, b=0)
        if not present_fields(data.catalog, self.fields):
            have = ", ".join(["title", "text", *data.catalog.attributes])
            raise OptionError(f"the catalog has none of the fields {list(self.fields)}", hint=f"it has {have}")
        self.key_ = data.catalog.key
        self.index_ = BM25(self.k1, self.b).build(self._documents(data.catalog, 0))
        return self

    def _documents(self, catalog: Catalog, first: int) -> list[str]:
        rows = np.arange(first, len(catalog))
        return documents(catalog, rows, present_fields(catalog, self.fields), catalog.lang)

    def extend(self, catalog: Catalog) -> Self:
        """New items become findable by their words."""
        same_lineage(self.key_, catalog.key)
        made = copy.copy(self)
        made.index_ = self.index_.extend(self._documents(catalog, len(self.index_.tokens_)))
        return made

    def words(self, queries: Queries) -> list[str]:
        """The query text of each question."""
        recent = queries.history.where(queries.history.liked).last(self.last)
        named = titles(queries.catalog, recent.item, queries.catalog.lang)
        out = [" ".join(named[low:high]) for low, high in zip(recent.offsets[:-1], recent.offsets[1:], strict=True)]
        if queries.text is not None:
            out = [asked or own for asked, own in zip(queries.text, out, strict=True)]
        return out

    def _scores(self, queries: Queries) -> Floats:
        scores = self.index_.scores(self.words(queries))
        scores[scores <= 0.0] = -np.inf  # no word in common is no match, not a weak one
        return scores

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """At most k permitted items that share a word with the query."""
        ready(self, queries)
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """Candidates by BM25; those without a word in common stand last."""
        ready(self, queries)
        return rescored(queries, candidates, self._scores, "lexical")
