"""What title comes next: the question in one wording for tuning and for asking, and tuning on the cases of a log.

No question is cut: where one does not fit the model's window, its oldest events are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core import CapabilityError, Catalog, DataError, Dataset, Lists, OptionError, Queries, holdout, rng
from hexarec.lm.base import LanguageModel, Prompt, Sample, Turn
from hexarec.parts.domain import domain_words
from hexarec.parts.nexts import next_rows
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import numbered, titles

if TYPE_CHECKING:
    from hexarec.parts.train.kept import State

Rows = NDArray[np.int32]
Names = Callable[[Catalog, Rows, str], Sequence[str]]
FORMAT = 64  # tokens that a chat format may add to the words of a prompt


@dataclass(frozen=True)
class NextTitle:
    """The question about what follows a history.

    prompts: has the pieces `ask` (slots noun, verb, act, history) and `none`, which stands for an empty history.
    history: newest liked events shown. length: most tokens of the answer; so many are kept free in the window. names:
    how items read.
    """

    lm: LanguageModel
    prompts: Prompts
    domain: str
    history: int
    length: int
    names: Names = titles

    def asked(self, queries: Queries, adapter: str = "", seed: int = 0) -> list[Prompt]:
        """One prompt for each question, answered with the adapter in a folder where one is named."""
        recent = queries.history.where(queries.history.liked).last(self.history)
        rows = [recent.item[slice(*recent.offsets[i : i + 2])] for i in range(len(queries))]
        made = [self._prompt(queries, i, rows[i], adapter, seed) for i in range(len(queries))]
        while long := [i for i in self._beyond(made) if len(rows[i]) > 1]:
            for i in long:
                rows[i] = rows[i][1:]
                made[i] = self._prompt(queries, i, rows[i], adapter, seed)
        return made

    def _beyond(self, made: Sequence[Prompt]) -> list[int]:
        room = self.lm.window - self.length - FORMAT
        found: list[int] = np.flatnonzero(self.lm.count([one.text for one in made]) > room).tolist() if made else []
        return found

    def _prompt(self, queries: Queries, i: int, rows: Rows, adapter: str, seed: int) -> Prompt:
        lang = queries.lang[i]
        shown = numbered(self.names(queries.catalog, rows, lang)) or self.prompts.text(lang, "none")
        text = self.prompts.text(lang, "ask", history=shown, **domain_words(self.domain, lang))
        return Prompt(
            turns=(Turn("user", text),),
            adapter=adapter or None,
            seed=int(queries.seed[i]) + seed,
            sample=Sample(max_tokens=self.length),
            whose=int(queries.user[i]),
        )

    def taught(self, queries: Queries, items: Rows) -> tuple[list[Prompt], list[str]]:
        """The prompts of questions, and how the item that answers each reads; without items of which nothing reads."""
        read = [self.names(queries.catalog, items[i : i + 1], queries.lang[i])[0] for i in range(len(queries))]
        some = np.array([bool(text) for text in read], bool)
        return self.asked(queries.take(some)), [text for text in read if text]


def cases(data: Dataset, most: int, seed: int) -> tuple[Queries, Rows]:
    """At most `most` liked events that follow another of their user, drawn, in the order of time: question and item.

    An item that its user met before, liked or not, is no next one.
    """
    log, rows = data.interactions, next_rows(data)
    rows = rows[rng(seed, "next title").permutation(len(rows))[:most]]
    rows = rows[np.argsort(log.time[rows], kind="stable")]
    return data.queries(log.user[rows], now=log.time[rows]), log.item[rows]


@dataclass(frozen=True, eq=False)
class Held:
    """What may be learned from, and questions about the time after it with what was liked then."""

    train: Dataset
    queries: Queries
    truth: Lists

    @classmethod
    def of(cls, data: Dataset, share: float, most: int, seed: int) -> Held:
        """The cut of `core.holdout`, with at most `most` questions that have a history, drawn; with 0 all is learned.

        Raises OptionError for an impossible share.
        """
        if not most or not len(data.interactions):
            return cls(data, data.queries([]), Lists.empty(data.catalog.key, 0))
        cut = holdout(data, share)
        rows = np.flatnonzero((cut.truth.lengths > 0) & (cut.queries.history.lengths > 0))
        rows = np.sort(rng(seed, "held").permutation(rows)[:most])
        return cls(cut.train, cut.queries.take(rows), cut.truth.take(rows))


@dataclass(frozen=True)
class Recipe:
    """How a model is tuned on next titles; the words are those of `LoRA`, `Plan` and `Form`.

    start: folder of an adapter to go on from. With epochs 0 nothing is tuned.
    """

    epochs: int
    examples: int
    r: int
    alpha: float
    dropout: float
    targets: Sequence[str]
    batch: int
    rate: float
    patience: int
    loss_on: Literal["answer", "all"]
    start: str

    @classmethod
    def of(cls, stage: Any) -> Recipe:
        """That of a stage whose options have these names."""
        return cls(**{one.name: getattr(stage, one.name) for one in fields(cls)})

    def check(self, lm: LanguageModel, name: str) -> None:
        """Raise OptionError for impossible numbers, CapabilityError for a model that cannot be tuned as asked."""
        if self.epochs < 0 or self.patience < 0 or min(self.examples, self.r, self.batch) < 1:
            raise OptionError("epochs and patience are at least 0, examples, r and batch at least 1")
        if self.loss_on not in ("answer", "all"):
            raise OptionError(f"loss_on is {self.loss_on!r}", hint="use answer or all")
        if (self.epochs or self.start) and "weights" not in lm.can:
            what = "epochs=0 asks a model as it is" if self.epochs else "leave start out"
            raise CapabilityError(
                f"{name} needs weights to tune, which {lm.name} lacks", hint=f"an hf: model has them; {what}"
            )

    def learn(self, ask: NextTitle, held: Held, about: Mapping[str, Any], seed: int) -> State | None:
        """The adapter tuned on cases of `held.train`, validated by the loss on the held questions; None with 0 epochs.

        Raises DataError where nobody liked two items one after the other.
        """
        if not self.epochs:
            return None
        from hexarec.parts.train.answers import Taught, tune_answers
        from hexarec.parts.train.kinds import LoRA
        from hexarec.parts.train.loop import Plan

        queries, items = cases(held.train, self.examples, seed)
        if not len(items):
            raise DataError(
                f"{held.train.name}: nobody liked two items one after the other, so no title follows another",
                hint="epochs=0 asks a model as it is",
            )
        right = held.truth.items[held.truth.offsets[:-1]]
        return tune_answers(
            ask.lm,
            LoRA(self.r, self.alpha, self.dropout, tuple(self.targets)),
            Taught(*ask.taught(queries, items)),
            Taught(*ask.taught(held.queries, right)),
            plan=Plan(self.epochs, self.batch, self.rate, patience=self.patience),
            loss_on=self.loss_on,
            start=self.start,
            about=about,
            seed=seed,
        )

    def adapter(self, state: State | None) -> str:
        """The folder of the adapter to ask with: what was tuned, else `start`, else "" for none."""
        if state is None:
            return self.start
        from hexarec.parts.train.kept import placed

        return placed(state)
