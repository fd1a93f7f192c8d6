"""One method as a whole pipeline, so that a bench can measure it by itself."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from hexarec.core import CapabilityError, Card, option_names, stages_of

RETRIEVER = "ease"
WINDOW = 20
"""Candidates that a ranker sees of what the retriever finds."""
STAND_FOR: dict[str, Any] = {"Backbone": {"use": "ials", "factors": 32}}
"""What fills a required option that holds another stage, by the name of its type."""


def over(cls: type, stage: Mapping[str, Any], found: Mapping[str, Any], window: int | None) -> dict[str, Any]:
    """The slots of a pipeline in which the stage orders, or picks from, what a retriever finds; {} if it does neither.

    A simulated user orders by what it picks (`picked`). window: how many of the first candidates a ranker sees.
    """
    slot = slot_of(cls)
    if not slot:
        return {}
    if slot == "control":
        return {"retrieve": [found], slot: [stage]}
    inner = stage["use"] if str(stage["use"]).startswith("@") else stage  # inside another stage a name stands alone
    if slot == "react":
        stage = inner = {"use": "picked", "people": inner}
    ranker = stage if window is None else {"use": "window", "ranker": inner, "size": window}
    return {"retrieve": [found], "rank": ranker}


def slot_of(cls: type) -> str:
    """The verb by which a stage works on what a retriever finds: rank, control or react; "" for none of them."""
    return next((one for one in ("rank", "control", "react") if callable(getattr(cls, one, None))), "")


def measurable(card: Card) -> bool:
    """Whether a ranking can measure the method: it finds, orders or picks items, and is no combinator."""
    return bool({"retrieve", "rank", "control"} & set(card.stages))


def config_of(card: Card, options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a pipeline around one method: its retriever, else the method over EASE.

    options: its own, models by name; a required option that holds a stage is filled. Raises CapabilityError for a
    method that makes no lists.
    """
    cls = card.load()
    if not measurable(card):
        can = ", ".join(stages_of(cls)) or "nothing"
        raise CapabilityError(f"{card.name} makes no lists: it can {can}", hint="hexarec methods show tells more")
    stage = {"use": card.name, **_filled(cls, options), **options}
    slots = {"retrieve": [stage]} if "retrieve" in card.stages else over(cls, stage, {"use": RETRIEVER}, WINDOW)
    return {"pipeline": {"name": card.name}, **slots}


def _filled(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    fields = getattr(cls, "__dataclass_fields__", {})
    hints = typing.get_type_hints(cls)
    made = {}
    for name in option_names(cls):
        needed = not _has_default(fields[name]) and name not in options
        kind = getattr(hints[name], "__name__", "")
        if needed and kind in STAND_FOR:
            made[name] = STAND_FOR[kind]
    return made


def _has_default(field: Any) -> bool:
    import dataclasses

    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
