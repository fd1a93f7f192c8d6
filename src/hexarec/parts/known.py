"""What is known of users between two questions: their newest events and what their profile says, forgettable by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Dataset, Event, PerUser, ragged
from hexarec.parts.render import clean, value_text


@dataclass
class Known:
    """The newest `last` events and the named attributes of each user."""

    last: int
    fields: Sequence[str] = ()

    def fit(self, data: Dataset) -> Known:
        """Take in the log and the user table."""
        log, n = data.interactions, data.n_users
        lengths = np.diff(log.offsets)
        last = min(self.last, int(lengths.max(initial=1)))
        rows = np.zeros((n, last, 3))  # item + 1 (0 = none), rating, liked
        newest = ragged.positions(log.offsets) >= np.repeat(lengths - last, lengths)
        place = ragged.positions(ragged.kept(log.offsets, newest))
        user = ragged.segments(log.offsets)[newest]
        rows[user, place] = np.column_stack([log.item[newest] + 1.0, log.value[newest], log.liked[newest]])
        known = lengths > 0
        self.names_ = [name for name in self.fields if name in data.users.attributes]
        columns = [[value_text(value) for value in data.users.attributes[name].tolist()] for name in self.names_]
        self.values_ = [sorted({one for one in column if one}) for column in columns]
        codes = np.zeros((n, len(self.names_)), np.int32)  # place + 1 in the values, 0 = none
        for at, (column, values) in enumerate(zip(columns, self.values_, strict=True)):
            number = {value: place for place, value in enumerate(values, 1)}
            codes[:, at] = [number.get(one, 0) for one in column]
        self.recent_ = PerUser.of(data.users.ids, rows, known)
        self.traits_ = PerUser.of(data.users.ids, codes, (codes > 0).sum(1) > 0)
        return self

    def events(self, user: str | None, ids: NDArray[Any]) -> list[Event]:
        """A user's events, oldest first; `ids` are the item ids by catalog row."""
        row = -1 if user is None else int(self.recent_.users.rows([user])[0])
        if user is None or row < 0 or not self.recent_.known[row]:
            return []
        made = []
        for place, (item, value, liked) in enumerate(np.asarray(self.recent_.values)[row].tolist()):
            if item:
                kind = "like" if liked else "dislike"
                made.append(Event(user, str(ids[int(item) - 1]), float(place), kind, value))
        return made

    def profile(self, user: str | None) -> str:
        """The attributes as words: "age: 24, occupation: student"; "" where nothing is known."""
        row = -1 if user is None else int(self.traits_.users.rows([user])[0])
        if row < 0 or not self.traits_.known[row]:
            return ""
        codes = np.asarray(self.traits_.values)[row].tolist()
        pairs = zip(self.names_, codes, self.values_, strict=True)
        return ", ".join(f"{name}: {clean(values[code - 1], 40)}" for name, code, values in pairs if code)


def met_items(data: Dataset) -> PerUser:
    """Which items each user has any event of: csr float32 (n_users, n_items) of ones."""
    met = data.interactions.matrix(data.n_items, liked=False)
    met.data[:] = 1.0
    return PerUser.of(data.users.ids, met)


def met_by(table: PerUser, user: str | None) -> NDArray[np.int64]:
    """The rows of what a user met; none of one who is not known."""
    row = -1 if user is None else int(table.users.rows([user])[0])
    if row < 0 or not table.known[row]:
        return np.zeros(0, np.int64)
    values: Any = table.values
    return np.asarray(values.indices[values.indptr[row] : values.indptr[row + 1]], np.int64)
