"""Answers in pairs: lines "known item - candidate", both halves grounded in lists that were shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hexarec.parts.ground import ParseReport, Titles, json_lists

_ENTRY = re.compile(r"\[\s*\d{1,4}\.\s*([^\[\]]+(?:\[\w{1,4}\])?[^\[\]]*)\]")
_DASH = re.compile(r"\s+[-–—]+\s+|\s*(?:->|→|＝>|=>)\s*")
_STRICT = ("exact", "normalised")


@dataclass(frozen=True)
class Pair:
    """Places of a known item (-1 for none) and of a candidate in the lists that were shown."""

    left: int
    right: int


def paired(answer: str, known: Titles, options: Titles, requested: int) -> tuple[list[Pair], ParseReport]:
    """The pairs of an answer, best first, each candidate once, and the report on the candidates.

    An entry is cut at each of its dashes in turn, since titles hold dashes too; the cut with a candidate on its right
    and a known item on its left wins, then one with a candidate alone. A handle outranks a title.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    read = _grounded(lines, known, options, requested)
    # one line may hold the whole list, in brackets or as JSON; several that name something are the list
    for entries in (_ENTRY.findall(answer), *json_lists(answer)) if read[1].matched <= 1 else ():
        other = _grounded(entries, known, options, requested)
        read = other if other[1].matched > read[1].matched else read
    return read


def _grounded(entries: Sequence[str], known: Titles, options: Titles, requested: int) -> tuple[list[Pair], ParseReport]:
    made: list[Pair] = []
    methods: dict[str, int] = {}
    outside = duplicates = 0
    for entry in entries:
        found = _read(entry, known, options, {pair.right for pair in made})
        if found is None:
            outside += bool(_DASH.search(entry))
            continue
        pair, method = found
        if any(one.right == pair.right for one in made):
            duplicates += 1
            continue
        made.append(pair)
        methods[method] = methods.get(method, 0) + 1
    kept = made[:requested]
    report = ParseReport(
        requested, len(kept), methods, outside, duplicates, max(requested - len(made), 0), invalid_format=int(not made)
    )
    return kept, report


def _read(entry: str, known: Titles, options: Titles, used: set[int]) -> tuple[Pair, str] | None:
    best: tuple[int, Pair, str] | None = None
    for left, right in _cuts(entry):
        found = _candidate(right, options, used)
        if found is None:
            continue
        beside = known.find(left) if left else None
        # a strict title on both sides says that the cut is right
        worth = 2 * (beside is not None) + (beside is not None and beside[1] in _STRICT) + (found[1] != "fuzzy")
        if best is None or worth > best[0]:
            best = worth, Pair(beside[0] if beside else -1, found[0]), found[1]
    return None if best is None else best[1:]


def _cuts(entry: str) -> Iterator[tuple[str, str]]:
    """(left, right) at each dash, then the whole entry as a candidate alone."""
    for dash in _DASH.finditer(entry):
        yield entry[: dash.start()].strip(" []"), entry[dash.end() :].strip()
    yield "", entry


def _candidate(text: str, options: Titles, used: set[int]) -> tuple[int, str] | None:
    place = options.handle(text)
    return (place, "handle") if place is not None else options.find(text, used)
