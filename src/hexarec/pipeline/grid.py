"""The grid of paradigms and stages, generated from the table of contents for README and docs."""

from __future__ import annotations

from collections.abc import Iterable

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


def grid(rows: Iterable[Card] | None = None) -> str:
    """Paradigm x stage as a Markdown table: every method in each cell it serves; stages nobody serves are left out.

    rows: cards, by default all methods and baselines. Combinators, which have no stage of their own, have no cell.
    """
    if rows is None:
        from hexarec.pipeline.build import cards

        rows = cards().values()
    known = list(rows)
    stages = [stage for stage in STAGES if any(stage in card.stages for card in known)]
    lines = ["| paradigm | " + " | ".join(stages) + " |", "|" + "---|" * (len(stages) + 1)]
    for number, name in PARADIGMS.items():
        mine = [card for card in known if number in card.paradigms]
        lines.append(_line(f"{number} {name}", mine, stages))
    lines.append(_line(BASELINES, [card for card in known if not card.paradigms], stages))
    return "\n".join(lines) + "\n"


def _line(name: str, mine: Iterable[Card], stages: Iterable[str]) -> str:
    mine = list(mine)
    cells = [", ".join(f"`{card.name}`" for card in mine if stage in card.stages) for stage in stages]
    return "| " + " | ".join([name, *cells]) + " |"
