"""Parts of an evaluation by name, `recall@10[cold]`: fewer truth items, or fewer users; and the evaluation by name.

Item slices keep the whole list and only some truth items: `cold` (no training event), `warm` (some), `head` (the most
popular items that together make up half of the training events), `tail` (warm, not head). User slices keep some
questions: `cold_users` (fewer than 5 history events; `cold_users:3` for another bound), `warm_users`, `history:2-9`
and `history:10-` (history length, both ends included). Labelled pairs have two of their own: `warm_pairs` (user and
item have at least 3 training events each; `warm_pairs:1` for another bound) and `cold_pairs`, the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.core.lists import Lists
from hexarec.core.queries import Queries
from hexarec.metrics.lists import MEASURES, Floats, Ties, hits
from hexarec.metrics.names import Metric, parse

COLD_USER = 5
ITEM_SLICES = ("cold", "warm", "head", "tail")
USER_SLICES = ("cold_users", "warm_users", "history")
WARM_PAIR = 3
PAIR_FORM = re.compile(r"(warm|cold)_pairs(?::(\d+))?")
USER_FORM = re.compile(r"(?:(cold_users|warm_users)(?::(\d+))?|history:(\d+)-(\d*))")


@dataclass(frozen=True, eq=False)
class Slice:
    """A part: the truth left (one list per question, as before) and the questions that count, (n,) bool."""

    name: str
    truth: Lists
    mask: NDArray[np.bool_]

    def values(self, values: Floats) -> Floats:
        """The per-question values with NaN outside the part."""
        return np.where(self.mask, values, np.nan)


def item_classes(counts: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Masks (n_items,) of `cold`, `warm`, `head` and `tail` from training events per item.

    An item is in the head if the items strictly more popular than it make up less than half of the events: equally
    popular items share a class.
    """
    levels, inverse, members = np.unique(counts, return_inverse=True, return_counts=True)
    mass = (levels * members)[::-1]
    above = (np.cumsum(mass) - mass)[::-1][inverse]
    cold = counts <= 0
    head = ~cold & (2 * above < counts.sum())
    return {"cold": cold, "warm": ~cold, "head": head, "tail": ~cold & ~head}


def slice_of(
    name: str, truth: Lists, *, queries: Queries | None = None, counts: NDArray[np.int64] | None = None
) -> Slice:
    """The part called `name`; "" is everything.

    counts: (n_items,) training events per item, for item slices; items beyond it have none. queries: for user slices.
    Raises OptionError for an unknown name, DataError when what the slice needs is not given.
    """
    some = truth.lengths > 0
    if not name:
        return Slice(name, truth, some)
    if name in ITEM_SLICES:
        if counts is None:
            raise DataError(f"the slice {name!r} needs training counts", field="counts")
        wide = max(len(counts), int(truth.items.max(initial=-1)) + 1)
        padded = np.concatenate([counts, np.zeros(wide - len(counts), np.int64)])
        left = truth.where(item_classes(padded)[name][truth.items])
        return Slice(name, left, left.lengths > 0)
    low, high = _bounds(name)
    if queries is None:
        raise DataError(f"the slice {name!r} needs the queries", field="queries")
    if len(queries) != len(truth):
        raise DataError(f"{len(queries)} queries for {len(truth)} truth lists")
    length = queries.history.lengths
    return Slice(name, truth, some & (length >= low) & (length <= high))


def _bounds(name: str) -> tuple[int, float]:
    """History lengths, both included, of a user slice."""
    form = USER_FORM.fullmatch(name)
    if form is None:
        raise OptionError(
            f"no slice is called {name!r}",
            hint=f"item slices: {', '.join(ITEM_SLICES)}; user slices: cold_users:5, warm_users:5, history:2-9",
        )
    which, bound, low, high = form.groups()
    if which is None:
        return int(low), int(high) if high else np.inf
    border = int(bound) if bound else COLD_USER
    return (0, border - 1) if which == "cold_users" else (border, np.inf)


def pair_mask(name: str, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which labelled pairs are in the part called `name`, (m,) bool, from the training events of their users and items.

    Raises OptionError for another name. Source of the bound: CoLLM (arXiv 2310.19488, section 5.2.2).
    """
    form = PAIR_FORM.fullmatch(name)
    if form is None:
        raise OptionError(f"no part of labelled pairs is called {name!r}", hint="take warm_pairs:3 or cold_pairs:3")
    warm = np.minimum(users, items) >= (int(form[2]) if form[2] else WARM_PAIR)
    return np.asarray(warm if form[1] == "warm" else ~warm)


def evaluate(
    lists: Lists,
    truth: Lists,
    metrics: Iterable[str | Metric],
    *,
    queries: Queries | None = None,
    counts: NDArray[np.int64] | None = None,
    ties: Ties = "expected",
) -> dict[str, Floats]:
    """List metrics by name, canonical name -> (n,) values, NaN where a question does not count.

    One set of hits per slice serves all its metrics. Raises OptionError for a name that is not a list metric.
    """
    wanted = [parse(metric) for metric in metrics]
    for one in wanted:
        if one.family != "list":
            raise OptionError(f"{one} is not measured on lists and truth", hint=f"list metrics: {', '.join(MEASURES)}")
    out: dict[str, Floats] = {}
    for name in dict.fromkeys(one.slice for one in wanted):
        mine = [one for one in wanted if one.slice == name]
        part = slice_of(name, truth, queries=queries, counts=counts)
        found = hits(lists, part.truth, max(one.k for one in mine), ties)
        for one in mine:
            values = MEASURES[one.name](found, one.k)
            out[str(one)] = part.values(values) if name else values
    return {str(one): out[str(one)] for one in wanted}
