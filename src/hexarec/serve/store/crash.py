"""Named points at which a test lets the process die, to see that nothing acknowledged is lost."""

from __future__ import annotations

import os
from collections import Counter

POINTS = (
    "commit.begin",  # the write lock is held, nothing is written
    "commit.act",  # one caller's rows are written, none are committed
    "commit.before",
    "commit.after",  # on disk, nobody was told
    "commit.told",
    "put.written",  # a document's version is written, not yet active
    "activate.cleared",  # no version is active, inside the transaction
    "activate.set",
    "erase.tombstones",
    "erase.rows",  # passed once for every table
    "erase.done",
    "scrub.before",
    "scrub.vacuumed",
    "scrub.after",
    "migrate.begin",
    "migrate.step",  # passed once for every revision
    "migrate.before",
    "migrate.after",
)
"""Every point, in the order of the code."""

_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """End the process at once, as kill -9 would, when CRASH_AT is `name` or `name:n` and this is the n-th passing."""
    wanted = os.environ.get("CRASH_AT")
    if wanted is None:
        return
    at, _, turn = wanted.partition(":")
    if at == name:
        _passed[name] += 1
        if _passed[name] == int(turn or 1):
            os._exit(137)
