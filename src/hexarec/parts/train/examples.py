"""Training examples as token ids: the prompt by the same `Tokens` as at inference, loss on the answer only.

A prompt that is written twice is a prompt that differs (TALLRec's and GenRec's code have one template for training and
another for inference), so an example holds the `Prompt` that will be asked. Nothing is ever cut: an example that does
not fit is dropped and counted, or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import DataError, OptionError
from hexarec.core.ids import digest
from hexarec.lm.base import Floats, Prompt
from hexarec.lm.engine import label_forms, stands_bare
from hexarec.lm.hf.tokens import Tokens


@dataclass(frozen=True)
class Example:
    """A prompt and the answer it should get."""

    prompt: Prompt
    answer: str


@dataclass(frozen=True)
class Pair:
    """A prompt, an answer that is preferred and one that is not."""

    prompt: Prompt
    chosen: str
    rejected: str


@dataclass(frozen=True, eq=False)
class Line:
    """One example as ids; token t is predicted from the state at t - 1.

    ids: int64 (t,). loss: bool (t,), whether a token is trained on. slots: int64 (m,), the places that vectors fill.
    vectors: float32 (m, d) of the prompt, None where a bridge makes them. labels: int64 (n_labels,), the token of each
    label in this prompt; empty without labels, and where one is not a single token. source: the number of the example.
    """

    ids: NDArray[np.int64]
    loss: NDArray[np.bool_]
    slots: NDArray[np.int64]
    vectors: Floats | None
    labels: NDArray[np.int64]
    source: int


@dataclass(frozen=True)
class Form:
    """How examples become ids.

    window: most tokens of prompt and answer. over: drop an example that is longer, and count it, or refuse it. end:
    whether the token that ends an answer follows and is learned. loss_on: the answer, or all tokens (but slots).
    labels: the answers there are; where each is one token, a goal may read their columns only.
    """

    window: int = 2048
    over: Literal["drop", "refuse"] = "drop"
    end: bool = True
    loss_on: Literal["answer", "all"] = "answer"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.window < 2 or self.over not in ("drop", "refuse") or self.loss_on not in ("answer", "all"):
            raise OptionError(f"window {self.window}, over {self.over!r} or loss_on {self.loss_on!r} is impossible")


FORM = Form()


@dataclass(frozen=True, eq=False)
class Encoded:
    """Examples as ids. `dropped` counts those that did not fit; `key` is a hash of all examples and the form."""

    lines: list[Line]
    dropped: int
    key: str
    form: Form = FORM

    def __len__(self) -> int:
        return len(self.lines)


def encode(examples: Sequence[Example], tokens: Tokens, form: Form = FORM, name: str = "hf") -> Encoded:
    """The examples as ids, in order, without those that do not fit `form.window`.

    Raises DataError for an empty answer, an answer that is no label, slots that do not match the vectors, and for a
    too long example when those are refused; ModelError for labels that share their tokens.
    """
    lines = []
    for source, example in enumerate(examples):
        line = _line(example, source, tokens, form, name)
        if len(line.ids) <= form.window:
            lines.append(line)
        elif form.over == "refuse":
            raise DataError(
                f"example {source} has {len(line.ids)} tokens, the window {form.window}",
                hint="render less history, or widen the window",
            )
    return Encoded(lines, len(examples) - len(lines), key_of(examples, form), form)


def key_of(examples: Sequence[Example], form: Form) -> str:
    """A hash of prompts, answers and form; it stands in checkpoints and manifests."""
    return digest([[one.prompt.digest(), one.answer] for one in examples], repr(form))


def answer_ids(prompt: Prompt, answer: str, tokens: Tokens) -> list[int]:
    """The tokens of an answer that is none of given labels.

    A single token has a space before it where a label would: after a letter or mark, not after white space or Chinese.
    Anything longer stands as it is, as `score` reads it.
    """
    form, ids = label_forms([answer], prompt.ending, tokens.text, "answer")[0]
    usual = form.startswith(" ") != stands_bare(prompt.ending)
    return ids if usual and len(ids) == 1 else list(tokens.text(answer))


def _line(example: Example, source: int, tokens: Tokens, form: Form, name: str) -> Line:
    prompt, answer = example.prompt, example.answer
    if not answer.strip():
        raise DataError(f"example {source} has an empty answer")
    read, places = tokens.read(prompt, slots=True)
    start, slots = np.array(read or [tokens.end], np.int64), np.array(places, np.int64)
    if prompt.vectors is not None and len(prompt.vectors) != len(slots):
        raise DataError(f"example {source} has {len(slots)} slots for {len(prompt.vectors)} vectors")
    columns, said = _answer(prompt, answer, source, tokens, form, name)
    ids = np.concatenate([start, said, [tokens.end] if form.end else []]).astype(np.int64)
    loss = np.arange(len(ids)) >= (len(start) if form.loss_on == "answer" else 1)
    loss[slots] = False
    return Line(ids, loss, slots, prompt.vectors, np.array(columns, np.int64), source)


def _answer(
    prompt: Prompt, answer: str, source: int, tokens: Tokens, form: Form, name: str
) -> tuple[list[int], list[int]]:
    """The tokens of all labels, and of the answer."""
    if not form.labels:
        return [], answer_ids(prompt, answer, tokens)
    if answer not in form.labels:
        raise DataError(f"example {source}: the answer {answer!r} is none of the labels {list(form.labels)}")
    read = [ids for _, ids in label_forms(form.labels, prompt.ending, tokens.text, name)]
    columns = [ids[0] for ids in read] if all(len(ids) == 1 for ids in read) else []
    return columns, read[form.labels.index(answer)]
