"""Contracts: what every stage promises, checked on a tiny world. For our rows and for anybody's.

    from hexarec.data.worlds import world
    from hexarec.testing import check
    for verdict in check(MyRetriever(), world("trap")):
        print(verdict)

Which contracts apply follows from the verbs a stage has. The stage is given as its options say, not fitted; the
contracts fit copies of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hexarec.core import stages_of
from hexarec.data.worlds import World
from hexarec.testing import _life, _lists, _talk, _visits, _words
from hexarec.testing._asking import Broken

Check = Callable[[Any, World], None]
LISTS = ("retrieve", "rank", "control")


@dataclass(frozen=True)
class Contract:
    """One promise. It concerns stages that serve any of `verbs` and have all of `methods`; `lm`: that ask a model."""

    name: str
    check: Check
    verbs: tuple[str, ...] = LISTS
    methods: tuple[str, ...] = ()
    lm: bool = False

    def concerns(self, stage: Any) -> bool:
        """Whether a stage makes this promise."""
        served = not self.verbs or bool(set(self.verbs) & set(stages_of(stage)))
        able = all(callable(getattr(stage, name, None)) for name in self.methods)
        return served and able and (not self.lm or _words.speaks(stage))


ROWS: tuple[Contract, ...] = (
    Contract("catalog rows", _lists.catalog_rows),
    Contract("at most k", _lists.at_most_k),
    Contract("best first", _lists.best_first),
    Contract("permutation", _lists.permutation, ("rank",)),
    Contract("picks", _lists.picks, ("control",)),
    Contract("fields follow", _lists.fields_follow, ("rank", "control")),
    Contract("exclusions", _lists.exclusions, ("retrieve",)),
    Contract("filters", _lists.filters, ("retrieve",)),
    Contract("tombstones", _lists.tombstones, ("retrieve",)),
    Contract("not yet out", _lists.not_yet_out, ("retrieve",)),
    Contract("strangers", _lists.strangers),
    Contract("user rows", _lists.user_rows),
    Contract("newcomers", _lists.newcomers),
    Contract("nothing given", _lists.nothing_given, ("rank", "control")),
    Contract("nobody asks", _lists.nobody_asks),
    Contract("batch is single", _lists.batch_is_single),
    Contract("lineage", _lists.lineage),
    Contract("before fit", _lists.before_fit, methods=("fit",)),
    Contract("same seed", _life.same_seed),
    Contract("input untouched", _life.input_untouched, ()),
    Contract("options kept", _life.options_kept, ()),
    Contract("comes back", _life.comes_back, (*LISTS, "explain", "react")),
    Contract("extends", _life.extends, LISTS, ("extend",)),
    Contract("forgets", _life.forgets),
    Contract("no future", _life.no_future),
    Contract("no future at fit", _life.no_future_at_fit, methods=("fit",)),
    Contract("enriches", _life.enriches, ("enrich",)),
    Contract("backbone", _life.backbone, ("backbone",)),
    Contract("explains", _words.explains, ("explain",)),
    Contract("converses", _talk.converses, ("converse",)),
    Contract("reacts", _visits.reacts, ("react",)),
    Contract("any words", _words.any_words, (*LISTS, "explain", "converse", "react"), lm=True),
)
"""Every contract, with the stages it concerns."""

CONTRACTS: dict[str, Check] = {row.name: row.check for row in ROWS}
"""The checks by name; each raises `Broken` (an AssertionError) with what it found."""


@dataclass(frozen=True)
class Verdict:
    """What became of one contract: kept, or the reason why not."""

    contract: str
    kept: bool
    reason: str = ""

    def __str__(self) -> str:
        return f"{'kept  ' if self.kept else 'BROKEN'}  {self.contract}{': ' + self.reason if self.reason else ''}"


def contracts_of(stage: Any) -> list[str]:
    """The names of the contracts that concern a stage."""
    return [row.name for row in ROWS if row.concerns(stage)]


def check(stage: Any, world: World) -> list[Verdict]:
    """A verdict on every contract that concerns the stage. An error of any kind breaks the contract it arose in."""
    verdicts = []
    for name in contracts_of(stage):
        try:
            CONTRACTS[name](stage, world)
        except Broken as found:
            verdicts.append(Verdict(name, False, str(found)))
        except Exception as error:
            verdicts.append(Verdict(name, False, f"{type(error).__name__}: {error}"))
        else:
            verdicts.append(Verdict(name, True))
    return verdicts
