"""A language model as a policy over the titles of a catalog: it answers, imitates and prefers; see `parts.selfplay`.

Answers are found inside the trie of the titles by the served engine under the adapter as it stands, so what is learned
from, what is asked and what is answered is one prompt and one way of writing a title. The reference of a preference is
the policy as it is when `prefer` is called: its log-probabilities are computed once, before the first step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Queries
from hexarec.lm.base import LanguageModel, Prompt, Sample, Trie
from hexarec.parts.nexts import Nexts
from hexarec.parts.train.dpo import dpo, encode_pairs, reference
from hexarec.parts.train.examples import Example, Form, Pair, encode
from hexarec.parts.train.kept import State, kept, tunable_base
from hexarec.parts.train.kinds import Kind
from hexarec.parts.train.loop import Curve, Plan
from hexarec.parts.train.sft import sft
from hexarec.parts.train.tunable import Tunable

Ask = Callable[[Queries], list[Prompt]]
LONGEST = 128  # tokens of a drawn title


@dataclass(frozen=True)
class Tuning:
    """How the policy learns: what is tuned, the plan of the first learning and that of a round, and DPO's beta."""

    kind: Kind
    first: Plan
    round: Plan
    beta: float


class TitlePolicy:
    """A tunable model that is asked by `ask` and says one of `titles`, which are all different, one line each."""

    def __init__(
        self, lm: LanguageModel, titles: Sequence[str], ask: Ask, tuning: Tuning, *, start: str = "", seed: int = 0
    ) -> None:
        self._lm, self._titles, self._ask, self._tuning = lm, tuple(titles), ask, tuning
        self._tunable = Tunable(tunable_base(lm), tuning.kind, start=start or None, seed=seed)
        self._form, self._trie = Form(window=lm.window), lm.trie(self._titles)  # type: ignore[attr-defined]
        self.dropped = 0
        """Examples that did not fit the window so far."""

    def answers(self, queries: Queries, temperature: float, seed: int) -> NDArray[np.int32]:
        """One item for each question: the greedy path among permitted titles, or a drawn title at a temperature."""
        with tempfile.TemporaryDirectory() as folder:  # nobody asks for what a round began with again
            adapter = str(self._tunable.save(Path(folder) / "now"))
            prompts = [replace(prompt, adapter=adapter) for prompt in self._ask(queries)]
            if temperature > 0:
                return self._drawn(prompts, temperature, seed)
            banned = [np.flatnonzero(row).tolist() for row in queries.forbidden(len(self._titles))]
            found = self._lm.search(prompts, self._trie, k=1, beams=1, banned=banned)  # type: ignore[attr-defined]
            return np.array([hits[0].number if hits else -1 for hits in found], np.int32)

    def _drawn(self, prompts: Sequence[Prompt], temperature: float, seed: int) -> NDArray[np.int32]:
        sample = Sample(temperature=temperature, max_tokens=LONGEST)
        asked = [replace(prompt, seed=seed + n, sample=sample) for n, prompt in enumerate(prompts)]
        place = {title: number for number, title in enumerate(self._titles)}
        said = self._lm.generate(asked, Trie(self._titles))
        return np.array([place.get(one.text, -1) if one.good else -1 for one in said], np.int32)

    def begin(self, pairs: Nexts, seed: int) -> float:
        """The supervised learning before the first round; the mean loss of its last pass in nats a token."""
        return self._sft(pairs, self._tuning.first, seed)

    def imitate(self, pairs: Nexts, seed: int) -> float:
        """One pass of supervised learning on the titles alone; its mean loss in nats a token."""
        return self._sft(pairs, self._tuning.round, seed)

    def _sft(self, pairs: Nexts, plan: Plan, seed: int) -> float:
        examples = [Example(p, self._titles[i]) for p, i in zip(self._ask(pairs.queries), pairs.item, strict=True)]
        data = encode(examples, self._tunable.tokens, self._form)
        self.dropped += data.dropped
        return _mean(sft(self._tunable, data, plan=plan, seed=seed), len(data), plan)

    def prefer(self, pairs: Nexts, rejected: NDArray[np.int32], seed: int) -> float:
        """One pass of preferences, measured from the policy as it is now; its mean loss in nats."""
        asked = zip(self._ask(pairs.queries), pairs.item, rejected, strict=True)
        both = [Pair(prompt, self._titles[one], self._titles[other]) for prompt, one, other in asked]
        chosen, worse = encode_pairs(both, self._tunable, self._form)
        self.dropped += chosen.dropped
        plan = self._tuning.round
        anchors = reference(self._tunable, chosen, worse, start=True)
        curve, _ = dpo(self._tunable, chosen, worse, plan=plan, beta=self._tuning.beta, given=anchors, seed=seed)
        return _mean(curve, len(chosen), plan)

    def state(self, **about: Any) -> State:
        """The adapter as it is now."""
        return kept(self._tunable, **about)

    def detach(self) -> None:
        """Give the base back. The policy is of no use after it."""
        self._tunable.detach()


def _mean(curve: Curve, rows: int, plan: Plan) -> float:
    """The mean loss of the last pass over so many rows; a step counts by its rows."""
    sizes = np.diff([*range(0, rows, plan.batch), rows])
    return float(np.average(curve.losses[-len(sizes) :], weights=sizes))
