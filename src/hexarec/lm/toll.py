"""What a call may cost before it is sent: tokens as guessed, as they are likely, and the most a server can count.

Tokens of a server are guessed from the text. A budget that trusts the guess is overrun by every call in flight, so
`Guarded` sets the most aside, or sends one request alone, which is then all that can overrun it.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hexarec.core.run import current
from hexarec.lm.base import Ints, Prompt

FORMAT = 16  # tokens of a chat format around one turn: its marks, its role, a line of its own
_TURNS: weakref.WeakValueDictionary[int, threading.Lock] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()


def _none() -> Ints:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Need:
    """What a call takes: requests; for each of its texts the guessed tokens and the bytes; turns; the most tokens out.

    Without texts nobody limits its tokens in, and they are not known.
    """

    requests: int
    out: int = 0
    guessed: Ints = field(default_factory=_none)
    size: Ints = field(default_factory=_none)
    turns: int = 0

    @classmethod
    def of(cls, prompts: Sequence[Prompt], texts: Sequence[str], guessed: Ints, out: int) -> Need:
        """The need of prompts whose words, and whatever else is read, are `texts`."""
        size = np.array([len(text.encode("utf-8", "replace")) for text in texts], np.int32)
        turns = sum(len(prompt.turns) + 1 for prompt in prompts)
        return cls(len(prompts), out, np.asarray(guessed, np.int32), size, turns)


class Toll:
    """By how much a server counts more tokens than are guessed; learned from its answers, safe from several threads.

    `factor` is the largest ratio seen, at least 1; `proven` says whether any answer was seen at all.
    """

    def __init__(self) -> None:
        self.factor, self.proven = 1.0, False
        self._lock = threading.Lock()

    def learn(self, used: int, need: Need) -> None:
        """Hear how many tokens in a server counted for a need."""
        plain = int(need.guessed.sum())
        with self._lock:
            self.proven = self.proven or used > 0
            if plain:
                self.factor = max(self.factor, used / plain)

    def likely(self, need: Need) -> int:
        """The tokens in that a need probably takes: as guessed, by the largest ratio seen."""
        return int(self._each(need).sum())

    def most(self, need: Need) -> int:
        """The most tokens in: a tokenizer makes no more of a text than its bytes in UTF-8, a chat format adds some."""
        return int(np.maximum(self._each(need), need.size).sum()) + FORMAT * need.turns

    def _each(self, need: Need) -> Ints:
        return np.asarray(np.ceil(need.guessed * self.factor), np.int32)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Be the only call that may overrun the budget around it; waits for the one before. Raises as `Run.check` does."""
    work = current()
    limited = [one for one in work.around() if one.budget.tokens is not None or one.budget.cost is not None]
    with _LOCK:
        # that of the outermost budget: one for all models that spend it; it lives as long as somebody waits for it
        turn = _TURNS.setdefault(id(limited[-1]), threading.Lock())
    while not turn.acquire(timeout=0.05):
        work.check()
    try:
        yield
    finally:
        turn.release()
