"""Two lists of one user side by side, and the lists of a run read back from its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import DataError, Lists, OptionError
from hexarec.core.atomic import write_text
from hexarec.eval.cells import CellStore
from hexarec.eval.tasks import Round

QUESTIONS = "questions.json"


@dataclass(frozen=True)
class Entry:
    """An item at its place. move: places it rose from the other list to this one, None = it is only here."""

    item: str
    move: int | None
    liked: bool


@dataclass(frozen=True)
class Place:
    """One row of the comparison; a shorter list has None."""

    place: int
    left: Entry | None
    right: Entry | None


def aligned(left: Sequence[str], right: Sequence[str], liked: Collection[str] = ()) -> list[Place]:
    """Both lists by place, each item with its move against the other list and whether it was liked afterwards."""
    entries = [_entries(left, right, liked), _entries(right, left, liked)]
    depth = max(len(left), len(right))
    rows = [[side[i] if i < len(side) else None for side in entries] for i in range(depth)]
    return [Place(i + 1, *row) for i, row in enumerate(rows)]


def _entries(own: Sequence[str], other: Sequence[str], liked: Collection[str]) -> list[Entry]:
    before = {item: place for place, item in enumerate(other)}
    return [
        Entry(item, before[item] - place if item in before else None, item in liked) for place, item in enumerate(own)
    ]


@dataclass(frozen=True, eq=False)
class RunLists:
    """The lists of a run by system and seed, and the questions they answer: users, what each liked, item names."""

    folder: Path
    lists: Mapping[tuple[str, int], Lists]
    users: Sequence[str]
    liked: Sequence[Sequence[str]]
    ids: Sequence[str]
    titles: Sequence[str]

    @property
    def systems(self) -> list[str]:
        """Names of the systems, sorted."""
        return sorted({system for system, _ in self.lists})

    def row(self, user: str) -> int:
        """The place of a user's question. Raises DataError with some users the run has."""
        if user not in self._rows:
            some = ", ".join(self.users[:5])
            raise DataError(f"the run asked nothing about user {user!r}", file=str(self.folder), hint=f"try {some}")
        return self._rows[user]

    def of(self, system: str, user: str, seed: int | None = None) -> list[str]:
        """The item ids of one list, best first. Raises OptionError for an unknown system or seed."""
        if system not in self.systems:
            raise OptionError(
                f"{self.folder} holds no lists of {system!r}", hint=f"systems: {', '.join(self.systems) or 'none'}"
            )
        seeds = sorted(one for name, one in self.lists if name == system)
        if seed is not None and seed not in seeds:
            raise OptionError(f"{system!r} was not run with seed {seed}", hint=f"seeds: {seeds}")
        made = self.lists[system, seeds[0] if seed is None else seed]
        return [self.ids[row] for row in made[self.row(user)].items.tolist()]

    def titled(self, item: str) -> str:
        """The title of an item; its id when it has none."""
        return self._titles.get(item) or item

    @cached_property
    def _titles(self) -> dict[str, str]:
        return dict(zip(self.ids, self.titles, strict=True))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.users)}


def write_questions(folder: str | Path, asked: Round) -> Path:
    """Keep beside the cells of a run whom they are about."""
    catalog = asked.queries.catalog
    about: dict[str, Any] = {
        "title": asked.title,
        "questions": asked.key,
        "key": catalog.key,
        "users": asked.queries.user_ids(),
        "liked": [catalog.ids(one.items[one.fields.get("gain", np.ones(len(one.items))) > 0]) for one in asked.truth],
        "ids": catalog.items.ids.tolist(),
        "titles": [str(title) for title in catalog.titles],
    }
    place = Path(folder) / QUESTIONS
    return write_text(place, json.dumps(about, ensure_ascii=False))


def check_questions(folder: str | Path, asked: Round) -> None:
    """Raise OptionError when the folder holds a run that asked something else; one that cannot be read is none."""
    try:
        about = json.loads((Path(folder) / QUESTIONS).read_text("utf-8"))
        title, key = str(about["title"]), about.get("questions")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    # runs of before the key was kept are known by their title and users
    if key == asked.key or (key is None and title == asked.title and about.get("users") == asked.queries.user_ids()):
        return
    why = "; the data have changed" if title == asked.title else ""
    raise OptionError(
        f"{folder} holds a run of {title!r}, and this one asks {asked.title!r}{why}",
        hint="take another --out, or an empty folder without --resume",
    )


def read_run(folder: str | Path) -> RunLists:
    """Questions and finished cells of a run; of two cells of one system and seed the newer. Raises DataError."""
    place = Path(folder)
    try:
        about = json.loads((place / QUESTIONS).read_text("utf-8"))
        names = {name: about[name] for name in ("users", "liked", "ids", "titles")}
        if len(names["users"]) != len(names["liked"]) or len(names["ids"]) != len(names["titles"]):
            raise ValueError("its columns differ in length")
    except FileNotFoundError:
        raise DataError("no questions are kept here", file=str(place), hint="hexarec bench keeps them") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"damaged: {error}", file=str(place / QUESTIONS), hint="run the bench again") from None
    store = CellStore(place, resume=True, n_items=len(names["ids"]))
    files = [one for one in (place / "cells").glob("*.npz") if "-" not in one.stem]
    lists: dict[tuple[str, int], Lists] = {}
    for file in sorted(files, key=lambda one: (one.stat().st_mtime_ns, one.name)):
        cell = store.finished(file.stem)
        if cell is not None and cell.lists.key == about["key"] and len(cell.lists) == len(names["users"]):
            lists[cell.system, cell.seed] = cell.lists
    if not lists:
        raise DataError("no finished cell is kept here", file=str(place), hint="run the bench, or go on with --resume")
    return RunLists(place, lists, **names)


def without_lists_of(folder: str | Path, erased: Callable[[str], bool]) -> bool:
    """Delete lists and questions of a finished run that asked about somebody erased; its report, of means, stays.

    Whether it did. Questions that cannot be read are deleted as well.
    """
    place = Path(folder)
    try:
        users = json.loads((place / QUESTIONS).read_text("utf-8"))["users"]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, RecursionError):
        users = None
    if users is not None and not any(erased(user) for user in users):
        return False
    shutil.rmtree(place / "cells", ignore_errors=True)
    (place / QUESTIONS).unlink(missing_ok=True)
    return True


def most_changed(left: RunLists, a: str, right: RunLists, b: str, n: int = 5, depth: int = 10) -> list[str]:
    """Users both runs asked about whose first `depth` items differ most, the largest difference first."""
    theirs = set(right.users)
    common = [user for user in left.users if user in theirs]
    lost = [len(set(left.of(a, user)[:depth]) - set(right.of(b, user)[:depth])) for user in common]
    return [common[i] for i in np.argsort(-np.array(lost), kind="stable")[:n]] if common else []
