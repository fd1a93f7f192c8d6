"""One typed row of a table of contents: what a method is, where it runs, what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

DATA_NEEDS = frozenset({"ratings", "text", "reviews", "exposures", "graph", "dialogues"})
MODEL_NEEDS = frozenset(
    {"json", "choice", "trie", "label", "score", "hidden", "vectors", "weights", "encoder", "torch"}
)


@dataclass(frozen=True)
class Card:
    """A method or baseline.

    where: "module:Class". paper: citation with arXiv id. sections: of the survey. paradigms: 1 to 6 (empty for a
    baseline). stages: verbs it serves. needs: data it fits on and model capabilities. fidelity: paper = the described
    algorithm and recipe; reduced = the same at smaller scale; inferred = the paper withholds detail, the module's
    `Differs:` line says what we chose. tiny: builds it on doubles from a tiny world, for the contracts.
    """

    name: str
    where: str
    paper: str
    title: str
    stages: tuple[str, ...]
    sections: tuple[str, ...] = ()
    paradigms: frozenset[int] = frozenset()
    needs: frozenset[str] = frozenset()
    fidelity: Literal["paper", "reduced", "inferred"] = "paper"
    tiny: Callable[[], Any] | None = None

    def load(self) -> type:
        """The class itself, imported now."""
        module, _, name = self.where.partition(":")
        made: type = getattr(importlib.import_module(module), name)
        return made

    def make_tiny(self) -> Any:
        """An object for the contracts: `tiny()`, or the class with its default options."""
        return self.tiny() if self.tiny is not None else self.load()()
