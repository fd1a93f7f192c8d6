"""Listings by id that come in pieces: how a caller asks for one, and where the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from hexarec.serve.http.shapes import MOST_ITEMS
from hexarec.serve.store.rows import ItemRow, UserRow

After = Annotated[str, Query(max_length=512)]
Most = Annotated[int, Query(ge=1, le=MOST_ITEMS)]


def next_of(rows: Sequence[ItemRow | UserRow], most: int) -> str | None:
    """The id behind which the next piece begins, None when this one is not full: nothing follows it."""
    return rows[-1].id if len(rows) == most else None
