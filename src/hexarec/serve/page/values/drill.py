"""One user of a run: the list of every system with what was liked afterwards, and what a model was asked and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hexarec.core import DataError
from hexarec.eval.asked import NOTE
from hexarec.eval.diff import QUESTIONS, RunLists, read_run
from hexarec.serve.page.values.runs import Run

SHOWN, SUGGESTED = 20, 12
LONGEST = 20_000
"""Letters of one prompt or answer that are shown."""


@dataclass(frozen=True)
class Item:
    """One place of a list."""

    id: str
    title: str
    liked: bool


@dataclass(frozen=True)
class Asked:
    """One question to a model: the prompt, where it was kept, and the raw answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Side:
    """One system's list; hits: how many of it were liked afterwards; facts: other notes that it left."""

    system: str
    items: Sequence[Item]
    hits: int
    asked: Sequence[Asked]
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Drill:
    """One user of a run. truth: what was liked afterwards; sides: by system."""

    user: str
    truth: Sequence[Item]
    sides: Sequence[Side]


def lists_of(run: Run) -> RunLists | None:
    """The lists of a run; None where none are kept."""
    if run.folder is None or not (run.folder / QUESTIONS).is_file():
        return None
    told = (run.folder / QUESTIONS).stat()
    try:
        return _read(run.folder, told.st_mtime_ns, run.when)
    except DataError:
        return None


@lru_cache(maxsize=4)
def _read(folder: Path, changed: int, when: float) -> RunLists:
    return read_run(folder)


def users_like(lists: RunLists, begin: str) -> list[str]:
    """Users whose id begins like this."""
    return [one for one in lists.users if one.startswith(begin)][:SUGGESTED]


def drill(run: Run, lists: RunLists, user: str) -> Drill:
    """The lists of a user by every system, in the order of the table. Raises DataError for a user not asked about."""
    row = lists.row(user)
    liked = set(lists.liked[row])
    order = [one.system for one in run.report.rows] if run.report is not None else lists.systems
    sides = [_side(lists, system, user, row, liked) for system in order if system in lists.systems]
    truth = [Item(one, lists.titled(one), True) for one in lists.liked[row]]
    return Drill(user, truth, sides)


def _side(lists: RunLists, system: str, user: str, row: int, liked: set[str]) -> Side:
    items = [Item(one, lists.titled(one), one in liked) for one in lists.of(system, user)[:SHOWN]]
    seed = min(seed for name, seed in lists.lists if name == system)
    note = lists.lists[system, seed][row].note
    return Side(system, items, sum(one.liked for one in items), _asked(note), _facts(note))


def _asked(note: Mapping[str, Any]) -> list[Asked]:
    if heard := note.get(NOTE):
        return [Asked(str(prompt)[:LONGEST], str(answer)[:LONGEST]) for prompt, answer in heard]
    answers, prompts = _texts(note.get("raw")), _texts(note.get("prompts"))  # of a run before requests were kept
    made = []
    for place in range(max(len(answers), len(prompts))):
        made.append(Asked(*("".join(part[place : place + 1])[:LONGEST] for part in (prompts, answers))))
    return made


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _facts(note: Mapping[str, Any]) -> list[tuple[str, str]]:
    kept = {name: value for name, value in note.items() if name not in (NOTE, "raw", "prompts", "orders", "rounds")}
    return [(str(name), str(value)[:500]) for name, value in kept.items()]
