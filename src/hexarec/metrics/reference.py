"""What a run of lists is held against: the questions, training counts, item vectors and item tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import ragged
from hexarec.core.catalog import Column
from hexarec.core.dataset import Dataset, Features
from hexarec.core.errors import DataError
from hexarec.core.lists import Lists
from hexarec.core.queries import Queries

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tags:
    """What items carry (genres, brand, supplier): matrix (n_items, n_tags) csr of ones, and the names, sorted."""

    matrix: csr_array
    names: tuple[str, ...]

    @classmethod
    def of(cls, column: Column) -> Tags:
        """From a catalog column of str, numbers or tuples of str; None, NaN and () carry nothing."""
        from scipy.sparse import csr_array

        values = [_tags(value) for value in column.tolist()]
        flat = [tag for row in values for tag in row]
        names, codes = np.unique(np.array(flat, dtype=object).astype(str), return_inverse=True)
        offsets = ragged.offsets_of(np.array([len(row) for row in values], np.int64))
        made = csr_array((np.ones(len(flat)), codes, offsets), shape=(len(values), len(names)))
        return cls(made, tuple(names.tolist()))

    def shares(self) -> csr_array:
        """Each item's mass of 1 split equally over its tags; an item without tags has none."""
        made = self.matrix.copy()
        made.data = 1.0 / np.repeat(np.maximum(np.diff(made.indptr), 1), np.diff(made.indptr))
        return made


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, tuple | list):
        return tuple(dict.fromkeys(str(one) for one in value if one))
    return () if value is None or value != value or value == "" else (str(value),)


@dataclass(frozen=True, eq=False)
class Reference:
    """The facts that metrics of a whole run need beside the lists.

    queries: one per list; their catalog and history. counts: (n_items,) training events per item. vectors: item
    vectors for distances. tags: item tags for tag distances and calibration.
    """

    queries: Queries
    counts: NDArray[np.int64]
    vectors: Features | None = None
    tags: Tags | None = None

    @classmethod
    def of(cls, train: Dataset, queries: Queries, *, vectors: str = "", tags: str = "") -> Reference:
        """From the training data; vectors: name of a feature table of items; tags: name of a catalog attribute."""
        for name, known in ((vectors, train.features), (tags, queries.catalog.attributes)):
            if name and name not in known:
                raise DataError(f"there is no {name!r}; there is {', '.join(known) or 'nothing'}")
        return cls(
            queries,
            train.interactions.counts(len(queries.catalog)),
            train.features[vectors] if vectors else None,
            Tags.of(queries.catalog.attributes[tags]) if tags else None,
        )

    def check(self, lists: Lists) -> None:
        """Raise unless there is one list per question, of the catalog's lineage."""
        lists.same(Lists.empty(self.queries.catalog.key, len(self.queries)))

    def popularity(self) -> Floats:
        """Training events per catalog row, (n_items,); 0 for items newer than the training data."""
        made = np.zeros(max(len(self.queries.catalog), len(self.counts)))
        made[: len(self.counts)] = self.counts
        return made

    def need_vectors(self) -> Features:
        """The item vectors, or DataError."""
        if self.vectors is None:
            raise DataError("this metric needs item vectors", field="vectors", hint="Reference.of(..., vectors=NAME)")
        return self.vectors

    def need_tags(self) -> Tags:
        """The item tags, or DataError."""
        if self.tags is None:
            raise DataError("this metric needs item tags", field="tags", hint="Reference.of(..., tags=ATTRIBUTE)")
        return self.tags


def first(lists: Lists, k: int) -> Lists:
    """The top k of each list, without a copy where no list is longer."""
    return lists if int(lists.lengths.max(initial=0)) <= k else lists.top_k(k)


def segment_means(offsets: NDArray[np.int64], values: Floats) -> Floats:
    """The mean of each segment's values, (n,), NaN for an empty segment."""
    lengths = np.diff(offsets)
    total = np.bincount(ragged.segments(offsets), values, minlength=len(lengths))
    return np.asarray(np.where(lengths > 0, total / np.maximum(lengths, 1), np.nan))
