"""What a key may still spend on a day, shared by all that runs for it at the same time."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

from hexarec.core import Budget, run
from hexarec.core.run import Ledger

T = TypeVar("T")


class Purse:
    """One budget of tokens and dollars; None means no limit. Its ledger has what was spent from it in all.

    Work side by side cannot overrun it together: what a model call may take is set aside before it is sent.
    """

    def __init__(self, tokens: int | None, dollars: float | None, spent: Ledger | None = None) -> None:
        self.tokens, self.dollars = tokens, dollars
        self._context, self.ledger = contextvars.Context().run(_opened, tokens, dollars)
        if spent is not None:
            self.add(spent.tokens_in + spent.tokens_out, spent.cost)

    @property
    def bounded(self) -> bool:
        """Whether there is a limit."""
        return self.tokens is not None or self.dollars is not None

    def paying(self, function: Callable[..., T], *args: object) -> T:
        """What the function returns; its calls of models are paid from this purse, and stop when it is empty."""
        return self._context.copy().run(function, *args)

    def add(self, tokens: float, dollars: float) -> None:
        """Count what was spent elsewhere."""
        self.ledger.add(tokens_out=tokens, cost=dollars)


def _opened(tokens: int | None, dollars: float | None) -> tuple[contextvars.Context, Ledger]:
    with run(budget=Budget(tokens=tokens, cost=dollars)) as work:
        return contextvars.copy_context(), work.ledger
