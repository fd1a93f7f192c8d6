"""Lexical search: bm25s with one tokeniser for English and Chinese."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_RUNS = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:'[^\W_{_CJK}]+)?")
STOP = frozenset(
    "a an and are as at be but by for from has have he her his in into is it its of on or she that the their they "
    "this to was were who will with".split()
)


def tokenise(text: str) -> list[str]:
    """Words, case folded, without English stop words; Chinese, Japanese and Korean runs as overlapping pairs.

    A single such character stands as itself. "三体 Alien" -> ["三体", "alien"].
    """
    out: list[str] = []
    for run in _RUNS.findall(unicodedata.normalize("NFKC", text).casefold()):
        if re.match(rf"[{_CJK}]", run):
            out += [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]
        elif run not in STOP:
            out.append(run.removesuffix("'s"))
    return out


@dataclass
class BM25:
    """BM25 over documents; k1 and b as in Robertson, idf as in Lucene (bm25s method "lucene").

    Learned state is the document tokens; the index is rebuilt from them on load.
    """

    k1: float = 1.5
    b: float = 0.75

    def build(self, documents: Sequence[str]) -> BM25:
        """Index the documents, in order."""
        self.tokens_ = [tokenise(document) for document in documents]
        self._index_cache: Any = None
        return self

    def extend(self, documents: Sequence[str]) -> BM25:
        """A new index with documents appended; bm25s cannot grow in place, so it is rebuilt from tokens."""
        made = BM25(self.k1, self.b)
        made.tokens_ = self.tokens_ + [tokenise(document) for document in documents]
        return made

    def weighed(self, k1: float, b: float) -> BM25:
        """The same documents under other weights."""
        made = BM25(k1, b)
        made.tokens_ = self.tokens_
        return made

    @property
    def _index(self) -> Any:
        if getattr(self, "_index_cache", None) is None:
            import bm25s

            logging.getLogger("bm25s").setLevel(logging.ERROR)
            index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
            corpus = [tokens or [""] for tokens in self.tokens_]
            index.index(corpus, show_progress=False)
            self._index_cache = index
        return self._index_cache

    def scores(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """(n, n_documents) float32; zeros for a query without known words."""
        out = np.zeros((len(queries), len(self.tokens_)), np.float32)
        if not any(self.tokens_):
            return out
        for row, query in enumerate(queries):
            tokens = tokenise(query)
            if tokens:
                out[row] = self._index.get_scores(tokens)
        return out
