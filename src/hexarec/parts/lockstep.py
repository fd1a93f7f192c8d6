"""Multi-step methods written per query and run per batch: one round of the whole batch is one engine call."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from hexarec.core import current
from hexarec.lm.base import Completion, LanguageModel, Prompt

T = TypeVar("T")
Script = Generator[Sequence[Prompt], list[Completion], T]


def lockstep(scripts: Sequence[Script[T]], lm: LanguageModel) -> list[T]:
    """Run scripts side by side: each yields prompts, receives their completions, and returns a value at its end.

    Prompts that several scripts yield in one round are asked in one `generate` call, equal prompts once: 50 scripts of
    three steps are 3 engine calls. Results keep the order of the scripts. An error in a script ends the run.
    """
    results: dict[int, T] = {}
    waiting: dict[int, list[Prompt]] = {}
    for place, script in enumerate(scripts):
        _advance(script, None, place, waiting, results)
    while waiting:
        current().check()
        asked = [prompt for prompts in waiting.values() for prompt in prompts]
        unique = list(dict.fromkeys(asked))
        answers = dict(zip(unique, lm.generate(unique), strict=True)) if unique else {}
        round_, waiting = waiting, {}
        for place, prompts in round_.items():
            _advance(scripts[place], [answers[prompt] for prompt in prompts], place, waiting, results)
    return [results[place] for place in range(len(scripts))]


def _advance(
    script: Script[T],
    answers: list[Completion] | None,
    place: int,
    waiting: dict[int, list[Prompt]],
    results: dict[int, T],
) -> None:
    try:
        waiting[place] = list(next(script) if answers is None else script.send(answers))
    except StopIteration as end:
        results[place] = end.value
