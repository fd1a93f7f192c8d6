"""The form that runs one method on the data of the server: its models, its options, and what comes of them."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from starlette.datastructures import FormData

from hexarec.core import Card, OptionError, option_names
from hexarec.core.cards import MODEL_NEEDS
from hexarec.eval.alone import config_of, measurable
from hexarec.eval.floors import FLOORS
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.lm.kinds import KINDS
from hexarec.lm.models import installed
from hexarec.pipeline.build import checked
from hexarec.serve.jobs.allowed import ENCODERS, MODELS, PLACES
from hexarec.serve.page.values.methods import options_said

NONE = "none"
DOUBLE = "fake:overlap"
"""The double that stands in the list for all hand-written ones."""
EMBEDDED = {"gguf:smollm2": "smollm2", "hf:smollm2": "smollm2", "minilm": "minilm"}
MOST_USERS, MOST_K = 5_000, 100


@dataclass(frozen=True)
class Choice:
    """A model that may be chosen. why: a key of words under methods that says why it cannot be, "" when it can."""

    value: str
    why: str = ""


@dataclass(frozen=True)
class Field:
    """One field of the form: an option of the method. choices: its values, where they are few."""

    name: str
    kind: Literal["choice", "number", "text"]
    default: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """What is asked before a method is measured: models by option, whether they may be left out, other options."""

    models: Mapping[str, tuple[Choice, ...]]
    fields: tuple[Field, ...]


def form_of(card: Card, endpoints: Sequence[str]) -> Form | None:
    """The form; None for what makes no lists and so cannot be measured by itself."""
    if not measurable(card):
        return None
    cls = card.load()
    hints = typing.get_type_hints(cls)
    defaults = {one["name"]: one["default"] for one in options_said(cls)}
    models: dict[str, tuple[Choice, ...]] = {}
    fields = []
    for name in option_names(cls):
        kinds = _kinds(hints[name])
        if LanguageModel in kinds or Encoder in kinds:
            some = (Choice(NONE),) if type(None) in kinds else ()
            models[name] = (*some, *(_lms(card, endpoints) if LanguageModel in kinds else _encoders()))
        elif name not in PLACES and (field := _field(name, hints[name], defaults[name])):
            fields.append(field)
    return Form(models, tuple(fields))


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) or (hint,)


def _lms(card: Card, endpoints: Sequence[str]) -> list[Choice]:
    wanted = (card.needs & MODEL_NEEDS) - {"encoder", "torch"}
    made = []
    for spec in [*MODELS[:2], *(one for one in endpoints if ":" in one and not one.endswith(":")), DOUBLE]:
        kind = KINDS.get(spec.partition(":")[0])
        if kind is not None:
            lacking = wanted - kind.can - kind.maybe
            made.append(Choice(spec, "lacks" if lacking else _absent(spec)))
    return made


def _encoders() -> list[Choice]:
    return [Choice(spec, _absent(spec)) for spec in ENCODERS[:2]]


def _absent(spec: str) -> str:
    return "not_installed" if spec in EMBEDDED and EMBEDDED[spec] not in installed() else ""


def _field(name: str, hint: Any, default: str) -> Field | None:
    kinds = [one for one in _kinds(hint) if one is not type(None)]
    if typing.get_origin(hint) is Literal:
        return Field(name, "choice", default.strip("'"), tuple(map(str, typing.get_args(hint))))
    if kinds == [bool]:
        return Field(name, "choice", default, ("True", "False"))
    if kinds in ([int], [float]):
        return Field(name, "number", default)
    return Field(name, "text", default.strip("'")) if kinds == [str] else None


def system_name(card: Card) -> str:
    """The name of a method in the table of its run; a floor of the same name keeps its own."""
    return f"{card.name}-alone" if card.name in FLOORS else card.name


def wanted_run(card: Card, form: Form, given: FormData) -> dict[str, Any]:
    """The arguments of a bench, from the form. Raises OptionError that names the field."""
    hints = typing.get_type_hints(card.load())
    options: dict[str, Any] = {}
    for name, choices in form.models.items():
        value = str(given.get(f"option.{name}", "")) or next((one.value for one in choices if not one.why), "")
        if value not in {one.value for one in choices}:
            raise OptionError(f"{name}: {value[:80]!r} is not offered here", hint="choose one of the list")
        if value != NONE:
            options[name] = value
    for field in form.fields:
        value = str(given.get(f"option.{field.name}", "")).strip()
        if value and value != field.default:
            options[field.name] = checked(f"{card.name}.{field.name}", value[:200], hints[field.name])
    users, k = (_whole(given, name, most) for name, most in (("max_users", MOST_USERS), ("k", MOST_K)))
    config = config_of(card, options)
    return {"pipeline": system_name(card), "config": config, "max_users": users, "k": k}


def _whole(given: FormData, name: str, most: int) -> int:
    text = str(given.get(name, "")).strip()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise OptionError(f"{name}: {text[:40]!r} is no whole number from 1 to {most:,}")
    return int(text)
