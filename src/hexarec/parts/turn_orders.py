"""The candidates of turns in the order in which a model puts them, and how far that order is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hexarec.core import OptionError
from hexarec.metrics import Measured
from hexarec.parts.ask import Ask
from hexarec.parts.biascurves import order_agreement
from hexarec.parts.lastturn import LastTurn
from hexarec.parts.turn_candidates import Candidates, CandidateSources
from hexarec.parts.turnprompt import TurnPrompts


@dataclass(frozen=True)
class TurnOrders:
    """sources: where candidates come from. ask: how the model orders them, None = as found. seed, name: of scores."""

    sources: CandidateSources
    prompts: TurnPrompts
    ask: Ask | None
    seed: int
    name: str

    def ordered(self, turns: Sequence[LastTurn]) -> list[Candidates]:
        """The candidates of each turn, scored under `name`; those the model is not asked about as they were found."""
        found = [self.sources.candidates(turn) for turn in turns]
        if self.ask is None:
            return found
        asking = [one.asking(self.prompts, self.ask, self.seed) for one in found]
        asked = iter(self.ask(self.prompts.room.lm, [one.question for one in asking if one.question is not None]))
        return [one.ordered(None if one.question is None else next(asked), self.name) for one in asking]

    def agreement(self, turns: Sequence[LastTurn], shuffles: int) -> Measured:
        """Mean Kendall's tau between the model's orders of the same candidates, shuffled so often; see `ChatRec`.

        Raises OptionError where no model is asked, and for less than two shuffles.
        """
        if self.ask is None or not isinstance(shuffles, int) or shuffles < 2:
            raise OptionError("agreement compares orders of a model", hint="a backend that asks it, 2 shuffles or more")
        asking = [self.sources.candidates(turn).asking(self.prompts, self.ask, self.seed) for turn in turns]
        questions = [one.question for one in asking if one.question is not None and len(one.question.options) > 1]
        return order_agreement(replace(self.ask, rounds=shuffles), self.prompts.room.lm, questions)
