"""Objects by name and options: typed, checked, with "did you mean"."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from hexarec.core import Card, OptionError, option_names
from hexarec.core.options import check_options
from hexarec.lm.open import open_encoder, shared_lm

COMBINATORS = {
    "fuse": ("hexarec.pipeline.combine:Fuse", "Several retrievers as one"),
    "window": ("hexarec.pipeline.combine:Window", "A ranker on the first candidates only"),
    "cascade": ("hexarec.pipeline.combine:Cascade", "Rankers from cheap to dear"),
    "blend": ("hexarec.pipeline.combine:Blend", "A ranker mixed with the retrieval score"),
}
MODEL_FIELDS = {"lm": shared_lm, "encoder": open_encoder}


@lru_cache(maxsize=1)
def cards() -> dict[str, Card]:
    """All rows by name: methods, baselines, combinators, and what other packages registered as `hexarec.methods`."""
    from hexarec.classic import CLASSIC
    from hexarec.methods import METHODS

    made = {card.name: card for card in (*METHODS, *CLASSIC)}
    for name, (where, title) in COMBINATORS.items():
        made[name] = Card(name, where, "", title, ())
    for point in entry_points(group="hexarec.methods"):
        card = point.load()
        if not isinstance(card, Card):
            raise OptionError(f"the entry point {point.name!r} is not a Card")
        if card.name in made:
            raise OptionError(f"the entry point {point.name!r} takes the name {card.name!r}, which exists")
        made[card.name] = card
    return made


def card(name: str) -> Card:
    """The row of that name. Raises OptionError with a suggestion."""
    known = cards()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(f"no method {name!r}", hint=f"{hint}see hexarec methods list")
    return known[name]


def build(name: str, options: Mapping[str, Any] | None = None, uses: Mapping[str, Any] | None = None) -> Any:
    """A stage from its name and options. Values "@x" refer to `uses`; lm and encoder fields take model names.

    Raises OptionError for an unknown name or option, or a value of the wrong type, naming the field.
    """
    cls = card(name).load()
    given = dict(options or {})
    check_options(cls, list(given))
    hints = typing.get_type_hints(cls)
    values = {key: _value(f"{name}.{key}", key, value, hints.get(key, Any), uses or {}) for key, value in given.items()}
    try:
        return cls(**values)
    except TypeError as error:
        missing = [key for key in option_names(cls) if key not in given]
        raise OptionError(f"{name}: {error}", hint=f"options not given: {', '.join(missing) or 'none'}") from None


def _value(where: str, key: str, value: Any, hint: Any, uses: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("@"):
        if value[1:] not in uses:
            close = difflib.get_close_matches(value[1:], uses, n=1)
            hint_text = f"did you mean '@{close[0]}'?" if close else f"[use] has {', '.join(uses) or 'nothing'}"
            raise OptionError(f"{where}: nothing is called {value!r}", hint=hint_text)
        made = uses[value[1:]]
        verb = {"lm": "generate", "encoder": "encode"}.get(key)
        if verb and not hasattr(made, verb):
            raise OptionError(f"{where}: {value!r} is no {'language model' if key == 'lm' else 'encoder'}")
        return made
    if isinstance(value, Mapping) and "use" in value:
        inner = {k: v for k, v in value.items() if k != "use"}
        return build(value["use"], inner, uses)
    if key in MODEL_FIELDS and isinstance(value, str):
        return MODEL_FIELDS[key](value)
    if isinstance(value, list | tuple) and any(_refers(one) for one in value):
        return [_value(where, key, one, Any, uses) for one in value]
    return checked(where, value, hint)


def _refers(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("@")) or (isinstance(value, Mapping) and "use" in value)


def checked(where: str, value: Any, hint: Any) -> Any:
    """The value converted to its declared type ("4" -> 4). Raises OptionError naming the field."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value
    except TypeError:
        return value
    try:
        made = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(f"{where} = {value!r}: {first['msg'].lower()}") from None
    if isinstance(made, float) and not math.isfinite(made):
        raise OptionError(f"{where} = {value!r}: input should be a finite number")
    return tuple(made) if isinstance(made, list) and isinstance(value, tuple) else made


def needs_met(names: Sequence[str], have: frozenset[str]) -> list[str]:
    """Sentences on what the named methods need and the data or model lacks; empty when all is there."""
    out = []
    for name in names:
        lacking = card(name).needs - have
        if lacking:
            out.append(f"{name} needs {', '.join(sorted(lacking))}")
    return out


def resolve(kind: str, spec: str, options: Mapping[str, Any] | None = None) -> Any:
    """The language model ("lm") or encoder behind a saved reference, opened again."""
    return (open_encoder if kind == "encoder" else shared_lm)(spec, **(options or {}))
