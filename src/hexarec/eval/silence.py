"""Whether anything came from the models inside a stage: a server that is down must not look like users who say no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hexarec.core import Lists, ModelError, Queries, UserModel, current, run
from hexarec.eval.standins import is_lm, swapped
from hexarec.lm.base import Completion, Constraint, Floats, Prompt, ScoreRow
from hexarec.parts.rollout import Rollout, rollout

T = TypeVar("T")


@dataclass
class Heard:
    """Answers asked for and answers that came. error: what the last one that did not come said."""

    asked: int = 0
    came: int = 0
    error: str = ""

    def listening(self, stage: T) -> T:
        """The stage, what it learned included, over models whose answers are counted here."""
        return swapped(stage, lambda model: Listened(model, self) if is_lm(model) else model)

    def check(self, who: str) -> None:
        """Raise ModelError when answers were asked for and none came."""
        if self.asked and not self.came:
            raise ModelError(
                f"none of {self.asked} answers of {who} came{f': {self.error}' if self.error else ''}",
                hint="hexarec models test NAME says whether the model answers; nothing of this was kept",
            )

    def take(self, came: Sequence[bool], error: str = "") -> None:
        """Count the answers of one call."""
        self.asked += len(came)
        self.came += sum(came)
        self.error = error or self.error


class Listened:
    """A language model as it is, its answers counted: a failed one, and one without any number, did not come."""

    def __init__(self, lm: Any, heard: Heard) -> None:
        self.lm, self.heard = lm, heard

    def __getattr__(self, name: str) -> Any:
        if name in ("lm", "heard"):
            raise AttributeError(name)
        return getattr(self.lm, name)

    def generate(self, prompts: Sequence[Prompt], within: Constraint | None = None) -> list[Completion]:
        """The inner model's completions."""
        made: list[Completion] = self.lm.generate(prompts, within)
        failed = [one for one in made if one.finish == "error"]
        self.heard.take([one.finish != "error" for one in made], str(failed[-1].error or "") if failed else "")
        return made

    def label(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> Floats:
        """The inner model's table."""
        made: Floats = self.lm.label(prompts, labels)
        self.heard.take([not np.isnan(row).all() for row in made])
        return made

    def score(self, prompts: Sequence[Prompt], choices: Sequence[Sequence[str]]) -> list[ScoreRow]:
        """The inner model's rows."""
        made: list[ScoreRow] = self.lm.score(prompts, choices)
        self.heard.take([bool((~np.isnan(one.logprobs)).any()) for one in made])
        return made


def heard_rollout(
    shown: Lists, queries: Queries, people: UserModel, *, pages: int, per_page: int
) -> tuple[Rollout, int]:
    """What came of the visits, and how often a user's model said nothing of use; a note tells the first reason.

    Raises ModelError when answers were asked for and none came.
    """
    heard, lost, outer = Heard(), list[str](), current().complain

    def complained(reason: str) -> None:
        lost.append(reason)
        outer(reason)

    with run(complain=complained):
        rolled = rollout(shown, queries, heard.listening(people), pages=pages, per_page=per_page)
    heard.check("the simulated users")
    if lost:
        current().emit({"kind": "note", "text": f"{len(lost)} steps of simulated users failed, first: {lost[0]}"})
    return rolled, len(lost)
