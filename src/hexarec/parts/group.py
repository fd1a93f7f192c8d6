"""One list for several people: each one's list counts by places, and the group's list is made of them.

Source: Masthoff 2011, "Group Recommender Systems: Combining Individual Models", in Recommender Systems Handbook; least
misery: O'Connor et al. 2001, PolyLens, ECSCW.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, OptionError, ragged

How = Literal["average", "least_misery", "most_pleasure"]
HOWS: tuple[How, ...] = ("average", "least_misery", "most_pleasure")


def aggregated(members: Lists, how: How, k: int) -> Lists:
    """One list of at most k items from one list per member of a group.

    An item has for each member the share of their list that stands at or behind it, 0 where it is missing (Borda's
    count in [0, 1]). average: the mean of these; least_misery: the smallest; most_pleasure: the largest; equal ones by
    the mean, then by row. Raises OptionError for another way, or for nobody.
    """
    if how not in HOWS or not len(members):
        raise OptionError(f"how is {how!r} for {len(members)} people", hint=f"use one of {', '.join(HOWS)}")
    items = np.unique(members.items)
    points = np.zeros((len(members), len(items)))
    who = ragged.segments(members.offsets)
    points[who, np.searchsorted(items, members.items)] = _points(members)
    mean = points.mean(0)
    score = {"average": mean, "least_misery": points.min(0, initial=1.0), "most_pleasure": points.max(0, initial=0.0)}
    order = np.lexsort((items, -mean, -score[how]))[:k]
    return Lists.of(members.key, [items[order].tolist()], [score[how][order].tolist()])


def _points(members: Lists) -> NDArray[np.float64]:
    """The share of a list at or behind each of its places."""
    size = np.repeat(members.lengths, members.lengths)
    made: NDArray[np.float64] = 1.0 - ragged.positions(members.offsets) / np.maximum(size, 1)
    return made
