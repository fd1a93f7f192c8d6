"""Several different answers to one prompt, with their odds: by beams where the engine has them, by draws elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hexarec.core import CapabilityError, OptionError, track
from hexarec.lm.base import Completion, Hypothesis, LanguageModel, Prompt
from hexarec.parts.render import clean

How = Literal["auto", "beams", "draws"]
HOW = ("auto", "beams", "draws")
BLOCK = 64  # prompts between two looks at deadline and cancel
_QUOTES = "\"'“”‘’«»`*_ "


@dataclass(frozen=True)
class Said:
    """The answers to one prompt. answers: different lines that say something, the likeliest first.

    raw: every answer as it came, empty and equal ones too. fault: why none came, else "".
    """

    answers: tuple[Hypothesis, ...] = ()
    raw: tuple[str, ...] = ()
    fault: str = ""


def check_how(lm: LanguageModel, how: How, name: str) -> None:
    """Raise OptionError for an unknown way, CapabilityError for a model without words, or without beams to give."""
    if how not in HOW:
        raise OptionError(f"how is {how!r}", hint=f"use one of {', '.join(HOW)}")
    if "text" not in lm.can:
        raise CapabilityError(f"{name} needs text, which {lm.name} lacks", hint="see `hexarec models list`")
    if how == "beams" and not hasattr(lm, "beam"):
        raise CapabilityError(f"{lm.name} has no beams", hint='hf: has them; how="draws" asks any model several times')


def several(
    lm: LanguageModel, prompts: Sequence[Prompt], n: int, *, how: How = "auto", temperature: float = 0.8
) -> list[Said]:
    """For each prompt at most n different answers of one line each.

    Beams carry the summed log-probability of each answer. Draws are the likeliest answer and n - 1 at `temperature`,
    each with the log of the share of draws that said it; an answer drawn more often stands first. Raises as the model
    does.
    """
    if n < 1:
        return [Said() for _ in prompts]
    beams = how == "beams" or (how == "auto" and hasattr(lm, "beam"))
    made: list[Said] = []
    for start in track(range(0, len(prompts), BLOCK), f"{n} answers of {lm.name}"):
        part = prompts[start : start + BLOCK]
        made += _beams(lm, part, n) if beams else _draws(lm, part, n, temperature)
    return made


def _beams(lm: Any, prompts: Sequence[Prompt], n: int) -> list[Said]:
    asked = [replace(one, sample=replace(one.sample, stop=("\n",))) for one in prompts]
    found: list[list[Hypothesis]] = lm.beam(asked, n)
    return [_distinct(own, tuple(one.text for one in own)) for own in found]


def _draws(lm: LanguageModel, prompts: Sequence[Prompt], n: int, temperature: float) -> list[Said]:
    made = lm.generate([_draw(prompt, turn, temperature) for prompt in prompts for turn in range(n)])
    return [_counted(made[i * n : (i + 1) * n]) for i in range(len(prompts))]


def line(text: str) -> str:
    """The first line of an answer that says something, without marks and quotes; "" where none does."""
    for one in text.rpartition("</think>")[2].splitlines():
        if bare := clean(one.strip(_QUOTES)).strip(_QUOTES):
            return bare
    return ""


def _draw(prompt: Prompt, turn: int, temperature: float) -> Prompt:
    """The first is the likeliest answer, so that fewer draws are the first of more."""
    sample = replace(prompt.sample, temperature=temperature if turn else 0.0)
    return replace(prompt, seed=prompt.seed + turn, sample=sample)


def _counted(made: Sequence[Completion]) -> Said:
    good = [one.text for one in made if one.good]
    if not good:
        return Said(fault=made[0].error or "the model refused")
    lines = [line(text) for text in good]
    odds = {text: math.log(lines.count(text) / len(made)) for text in lines}
    drawn = [Hypothesis(text, odds[text]) for text in dict.fromkeys(lines)]
    return _distinct(sorted(drawn, key=lambda one: -one.logprob), tuple(good))


def _distinct(found: Sequence[Hypothesis], raw: tuple[str, ...]) -> Said:
    """The first of those that read alike, each as one line."""
    kept: dict[str, Hypothesis] = {}
    for one in found:
        if text := line(one.text):
            kept.setdefault(text.casefold(), replace(one, text=text))
    return Said(tuple(kept.values()), raw, "" if kept else "the model wrote nothing")
