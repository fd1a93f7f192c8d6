"""A simulated user played by a model that is only asked for single labels: yes or no, or a number.

Each item is judged by itself, behind the same words, so its place on the page means nothing. Numbers are drawn from
what the model holds likely, not averaged: an average of ratings is never a 1 or a 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hexarec.core import degrade
from hexarec.lm.base import LanguageModel, Prompt
from hexarec.parts.ask import handles_for, log_odds
from hexarec.parts.domain import domain_words
from hexarec.parts.prompts import Prompts
from hexarec.parts.ratings import Rater, Scale, chances, expected
from hexarec.parts.render import handled
from hexarec.parts.visit import Judged, Mood, Scene

GRADES = Scale(0, 9)  # one token each in every tokenizer; the interview adds 1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelMind:
    """Decides by labels. bias: taken from the log-odds of suiting. likes: a rating from here on is a like.

    prompts: has the pieces suits, number, rate, content, leave, stay, grade, fresh, tired, weary, yes and no.
    """

    lm: LanguageModel
    prompts: Prompts
    domain: str
    scale: Scale
    likes: float
    bias: float = 0.0

    def odds(self, scenes: Sequence[Scene]) -> list[Floats]:
        """Log-odds of suiting, without the bias: (items,) of each scene, NaN where the model gave no number."""
        texts = [self._text(one, "suits", title=line) for one in scenes for line in one.lines]
        flat = self._yes(texts, [one.visit.lang for one in scenes for _ in one.lines])
        return np.split(flat, np.cumsum([len(one.lines) for one in scenes])[:-1]) if scenes else []

    def judge(self, scenes: Sequence[Scene]) -> list[list[Judged]]:
        """What suits by its log-odds; of that as many as the model says, best first; a rating drawn for each."""
        odds = self.odds(scenes)
        suits = [np.where(np.isnan(row), False, row > self.bias) for row in odds]
        taken = self._taken(scenes, odds, suits)
        ratings = self._ratings(scenes, taken)
        made = []
        for i, one in enumerate(scenes):
            values = [ratings.get((i, n), float("nan")) for n in range(len(one.ids))]
            made.append([
                Judged(item, bool(suits[i][n]), n in taken[i], values[n], values[n] >= self.likes)
                for n, item in enumerate(one.ids)
            ])  # fmt: skip
        return made

    def _taken(self, scenes: Sequence[Scene], odds: list[Floats], suits: list[NDArray[np.bool_]]) -> list[list[int]]:
        made: list[list[int]] = [[] for _ in scenes]
        sizes = [min(int(row.sum()), 9) for row in suits]
        for size in sorted(set(sizes) - {0}):
            group = [i for i, own in enumerate(sizes) if own == size]
            texts = []
            for i in group:
                lines = [line for line, good in zip(scenes[i].lines, suits[i], strict=True) if good]
                options = handled(lines, handles_for(len(lines)))
                texts.append(self._text(scenes[i], "number", options=options, n=size))
            drawn = self._drawn(texts, Scale(0, size), [scenes[i] for i in group], ["number"] * len(group))
            for i, number in zip(group, drawn, strict=True):
                best = np.argsort(-np.where(suits[i], odds[i], -np.inf), kind="stable")
                made[i] = best[: size if np.isnan(number) else int(number)].tolist()
        return made

    def _ratings(self, scenes: Sequence[Scene], taken: Sequence[Sequence[int]]) -> dict[tuple[int, int], float]:
        jobs = [(i, n) for i, own in enumerate(taken) for n in own]
        rater = Rater(self.lm, "label", self.scale, self.prompts)
        texts = [
            rater.prompts_for(scenes[i].before, [scenes[i].lines[n]], scenes[i].visit.lang)[0].text for i, n in jobs
        ]
        drawn = self._drawn(
            texts, self.scale, [scenes[i] for i, _ in jobs], ["rating " + scenes[i].ids[n] for i, n in jobs]
        )
        return dict(zip(jobs, drawn.tolist(), strict=True))

    def _drawn(self, texts: Sequence[str], scale: Scale, scenes: Sequence[Scene], words: Sequence[str]) -> Floats:
        """A number of the scale for each text, drawn by visit and words; NaN where the model gave none."""
        rows = chances(self.lm, [Prompt.user(text, max_tokens=1) for text in texts], scale)
        points = np.array([one.visit.draw(word) for one, word in zip(scenes, words, strict=True)])
        made = scale.low + (np.cumsum(rows, axis=1)[:, :-1] <= points[:, None]).sum(1).astype(np.float64)
        made[np.isnan(rows).any(1)] = np.nan
        _lost(made)
        return np.asarray(made)

    def feel(self, scenes: Sequence[Scene]) -> list[Mood]:
        """Content by the sign of its log-odds; leaves by a draw from the odds of leaving against those of staying.

        Both are asked, so that a liking for yes cancels. No number: content, and stays.
        """
        langs = [one.visit.lang for one in scenes]
        content = self._yes([self._text(one, "content") for one in scenes], langs)
        sides = [
            self._yes([self._text(one, piece, tired=tired(self.prompts, one)) for one in scenes], langs)
            for piece in ("leave", "stay")
        ]
        leaves = 1.0 / (1.0 + np.exp(np.clip((sides[1] - sides[0]) / 2.0, -30, 30)))
        return [
            Mood(not good < 0, bool(one.visit.draw("leaves") < chance))
            for one, good, chance in zip(scenes, content, leaves, strict=True)
        ]

    def interview(self, scenes: Sequence[Scene]) -> list[tuple[float, str]]:
        """The mean grade under the model's odds, 1 to 10; 5.5 where it gave none."""
        prompts = [Prompt.user(self._text(one, "grade"), max_tokens=1) for one in scenes]
        grades = expected(self.lm, prompts, GRADES)
        _lost(grades)
        return [(5.5 if np.isnan(grade) else round(1.0 + float(grade), 2), "") for grade in grades]

    def _yes(self, texts: Sequence[str], langs: Sequence[str]) -> Floats:
        pairs = [(self.prompts.text(lang, "yes"), self.prompts.text(lang, "no")) for lang in langs]
        made = log_odds(self.lm, texts, pairs)
        _lost(made)
        return made

    def _text(self, scene: Scene, piece: str, **slots: str | int) -> str:
        words = domain_words(self.domain, scene.visit.lang)
        return self.prompts.text(scene.visit.lang, piece, condition=scene.before, **words, **slots)


def tired(prompts: Prompts, scene: Scene) -> str:
    """How tired the pages have made: a little above two of them, very above four."""
    page = scene.visit.page
    return prompts.text(scene.visit.lang, "fresh" if page <= 2 else "tired" if page <= 4 else "weary")


def _lost(values: Floats) -> None:
    if lost := int(np.isnan(values).sum()):
        degrade(f"{lost} of {len(values)} answers of a simulated user: the model gave no number")
