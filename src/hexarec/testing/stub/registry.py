"""The faults by name: 63 ways in which a model, its server or this machine fails, each a real behaviour."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hexarec.core import OptionError

GROUPS = {
    "connect": "no connection, or a broken one",
    "time": "too late",
    "status": "an answer that is an error",
    "body": "an answer that does not read",
    "meaning": "an answer that reads and says nothing of use",
    "stream": "pieces of an answer",
    "machine": "this machine, not the server",
}
"""The groups of faults, with what they have in common."""
Level = Literal["address", "accept", "request", "machine"]


@dataclass(frozen=True)
class Fault:
    """One fault. `act` makes it happen: its argument depends on `level`.

    level: address (another address is served: a context manager of the url), accept (a connection, before anything is
    read), request (an `Exchange`), machine (a folder: a context manager of what `gives` names). asks: what must be
    asked to meet it. gives, for machine: the url, model or tape that is at fault. harmless: a client that does its work
    still gives a good list.
    """

    name: str
    says: str
    level: Level
    act: Callable[..., Any]
    asks: Literal["list", "label", "stream"] = "list"
    gives: Literal["url", "model", "tape", ""] = ""
    harmless: bool = False

    @property
    def group(self) -> str:
        """The word before the dot."""
        return self.name.partition(".")[0]

    @property
    def where(self) -> Literal["server", "machine"]:
        """Whether the stub server can show it, or a test must do it to this machine."""
        return "machine" if self.level == "machine" else "server"


FAULTS: dict[str, Fault] = {}
"""All faults by name, in the order of their groups; filled by `hexarec.testing.stub`."""


def fault(name: str, says: str, level: Level = "request", **more: Any) -> Callable[[Callable[..., Any]], Any]:
    """Register the decorated function as the fault `name`."""

    def kept(act: Callable[..., Any]) -> Callable[..., Any]:
        FAULTS[name] = Fault(name, says, level, act, **more)
        return act

    return kept


def named(name: str) -> Fault:
    """The fault of this name. Raises OptionError with the nearest real one."""
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.4)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise OptionError(f"there is no fault {name!r}", hint=f"{guess}`hexarec stub --faults` lists them")
    return FAULTS[name]
