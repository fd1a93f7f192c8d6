"""The grid of paradigms and stages, generated from the table of contents for README and docs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hexarec.core import STAGES, Card

PARADIGMS = {
    1: "prompt-based ranking",
    2: "feature and semantic enhancement",
    3: "structure fusion and parameter-efficient tuning",
    4: "generative recommendation",
    5: "conversation and agents",
    6: "planning and feedback control",
}
BASELINES = "baselines"


@dataclass(frozen=True)
class Line:
    """One line of the grid: a paradigm (0 for the baselines), and the names in each of its cells."""

    number: int
    name: str
    cells: tuple[tuple[str, ...], ...]


def table(rows: Iterable[Card] | None = None) -> tuple[list[str], list[Line]]:
    """The stages that somebody serves, and a line for each paradigm with the methods in each cell.

    rows: cards, by default all methods and baselines. Combinators, which have no stage of their own, have no cell.
    """
    if rows is None:
        from hexarec.pipeline.build import cards

        rows = cards().values()
    known = list(rows)
    stages = [stage for stage in STAGES if any(stage in card.stages for card in known)]
    lines = []
    for number, name in [*PARADIGMS.items(), (0, BASELINES)]:
        mine = [card for card in known if (number in card.paradigms if number else not card.paradigms)]
        cells = tuple(tuple(card.name for card in mine if stage in card.stages) for stage in stages)
        lines.append(Line(number, name, cells))
    return stages, lines


def grid(rows: Iterable[Card] | None = None) -> str:
    """The table as Markdown."""
    stages, lines = table(rows)
    made = ["| paradigm | " + " | ".join(stages) + " |", "|" + "---|" * (len(stages) + 1)]
    for line in lines:
        cells = [", ".join(f"`{name}`" for name in cell) for cell in line.cells]
        made.append("| " + " | ".join([f"{line.number or ''} {line.name}".strip(), *cells]) + " |")
    return "\n".join(made) + "\n"
