"""How a list came about, stage by stage: times, costs, who found what, what moved and by which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from hexarec.core import Catalog, option_names
from hexarec.eval.standins import is_encoder, is_lm
from hexarec.parts.render import titles
from hexarec.pipeline.pipeline import Pipeline, name_of
from hexarec.serve.live.given import Given

Kind = Literal["up", "down", "same", "new", "gone"]
SHOWN = 10
"""Places of a list within which moves are told."""


@dataclass(frozen=True)
class Move:
    """Where an item stands now and where it stood: 1 is the first place, None is none. by: places gained."""

    title: str
    kind: Kind
    now: int | None
    was: int | None

    @property
    def by(self) -> int:
        """Places gained; below 0 lost."""
        return (self.was or 0) - (self.now or 0) if self.kind in ("up", "down") else 0


@dataclass(frozen=True)
class Stage:
    """One step. start, share: of the whole time; rule: options of the method; model: the language model it holds.

    why: reasons of what degraded. asked: requests to models. moves: of the first places. rule_of: options as pairs.
    """

    stage: str
    method: str
    n_in: int
    n_out: int
    seconds: float
    start: float
    share: float
    calls: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    dollars: float
    status: str
    why: tuple[str, ...]
    rule: tuple[tuple[str, str], ...]
    model: str
    weight: float | None
    asked: tuple[Mapping[str, str], ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Overlap:
    """Items that pairs of retrievers both found: a row for each retriever; alone: what nobody else found."""

    names: tuple[str, ...]
    common: tuple[tuple[int, ...], ...]
    alone: tuple[int, ...]
    together: int


def stages_of(given: Given, pipeline: Pipeline, catalog: Catalog, lang: str, k: int) -> list[Stage]:
    """The steps of a whole trace, in order."""
    whole = sum(step["seconds"] for step in given.trace) or 1.0
    held = _held(pipeline)
    made, start, place = [], 0.0, dict.fromkeys(held, 0)
    for step in given.trace:
        own = held.get(step["stage"], [])
        stage = own[place[step["stage"]]] if place.get(step["stage"], 0) < len(own) else None
        if step["stage"] in place:
            place[step["stage"]] += 1
        why = [one["why"] for one in given.degraded if (one["stage"], one["method"]) == (step["stage"], step["method"])]
        moves = moves_of(step["before"], step["after"], catalog, lang, k) if _moved(step) else ()
        made.append(
            Stage(
                step["stage"], step["method"], step["n_in"], step["n_out"], step["seconds"], start / whole,
                step["seconds"] / whole, step["lm_calls"], step["tokens_in"], step["tokens_cached"], step["tokens_out"],
                step["cost"], step["status"], tuple(why), rule_of(stage), model_of(stage),
                getattr(stage, "weight_", None), tuple(step.get("asked", ())), tuple(moves),
            )
        )  # fmt: skip
        start += step["seconds"]
    return made


def _moved(step: Mapping[str, Any]) -> bool:
    return bool(step.get("before") is not None and step.get("after") is not None)


def _held(pipeline: Pipeline) -> dict[str, list[Any]]:
    return {
        "retrieve": list(pipeline.retrieve_), "rank": [pipeline.rank_], "control": list(pipeline.control_),
        "explain": [pipeline.explain_],
    }  # fmt: skip


def moves_of(before: Sequence[str], after: Sequence[str], catalog: Catalog, lang: str, k: int) -> list[Move]:
    """What changed within the first k places: the items there now in order, then those that left."""
    was = {item: place for place, item in enumerate(before, 1)}
    now = list(after)[:k]
    gone = [item for item in list(before)[:k] if item not in set(now)]
    names = named(catalog, [*now, *gone], lang)
    made = [Move(names[item], _kind(place, was.get(item)), place, was.get(item)) for place, item in enumerate(now, 1)]
    return made + [Move(names[item], "gone", None, was[item]) for item in gone]


def _kind(now: int, was: int | None) -> Kind:
    if was is None:
        return "new"
    return "same" if was == now else "up" if was > now else "down"


def named(catalog: Catalog, items: Sequence[str], lang: str) -> dict[str, str]:
    """Titles by id; an item that the catalog lacks is called by its id."""
    rows = [int(row) for row in catalog.rows(list(items))]
    known = [(item, row) for item, row in zip(items, rows, strict=True) if row >= 0]
    found = dict(zip([one[0] for one in known], titles(catalog, [one[1] for one in known], lang), strict=True))
    return {item: found.get(item, item) for item in items}


def overlap_of(given: Given) -> Overlap | None:
    """Who found what, where several retrievers answered."""
    steps = [one for one in given.trace if one["stage"] == "retrieve" and one.get("after") is not None]
    found = [set(one["after"]) for one in steps]
    if len(found) < 2:
        return None
    common = tuple(tuple(len(one & other) for other in found) for one in found)
    others = [set().union(*(two for j, two in enumerate(found) if j != i)) for i in range(len(found))]
    alone = tuple(len(one - rest) for one, rest in zip(found, others, strict=True))
    return Overlap(tuple(one["method"] for one in steps), common, alone, len(set().union(*found)))


def candidates_of(given: Given) -> list[str]:
    """The list as it is, then what the last stage before control gave, in its order: what sliders may choose from."""
    steps = [one for one in given.trace if one["stage"] in ("retrieve", "rank", "control")]
    last = next((one["before"] for one in steps if one["stage"] == "control" and one.get("before")), None)
    last = last or next((one["after"] for one in reversed(steps) if one.get("after")), [])
    return list(dict.fromkeys([*given.items, *last]))


def rule_of(stage: Any) -> tuple[tuple[str, str], ...]:
    """The options of a stage that are plain values: by which rule it works."""
    if stage is None or not is_dataclass(stage):
        return ()
    values = [(one.name, getattr(stage, one.name)) for one in fields(stage)]
    return tuple((name, str(value)) for name, value in values if isinstance(value, str | int | float) and value != "")


def model_of(stage: Any, depth: int = 4) -> str:
    """The name of the language model that a stage holds, however deep; "" without one."""
    if stage is None or isinstance(stage, str | int | float) or is_encoder(stage) or depth < 0:
        return ""
    if is_lm(stage):
        return str(stage.name)
    if isinstance(stage, list | tuple):
        return next((name for one in stage if (name := model_of(one, depth - 1))), "")
    if not is_dataclass(stage):
        return ""
    return next((name for one in option_names(stage) if (name := model_of(getattr(stage, one), depth - 1))), "")


def names_of(pipeline: Pipeline) -> list[str]:
    """The stages of a pipeline by name, in order."""
    stages = [*pipeline.retrieve_, pipeline.rank_, *pipeline.control_, pipeline.explain_]
    return [name_of(one) for one in stages if one is not None]
