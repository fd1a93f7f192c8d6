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
from hexarec.lm.address import without_secrets
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.lm.open import open_encoder, shared_lm
from hexarec.parts.prompts import Prompts

COMBINATORS = {
    "fuse": ("hexarec.pipeline.combine:Fuse", "Several retrievers as one"),
    "window": ("hexarec.pipeline.combine:Window", "A ranker on the first candidates only"),
    "cascade": ("hexarec.pipeline.combine:Cascade", "Rankers from cheap to dear"),
    "blend": ("hexarec.pipeline.combine:Blend", "A ranker mixed with the retrieval score"),
    "picked": ("hexarec.pipeline.picked:Picked", "What simulated users pick from a page stands first"),
}
MODEL_FIELDS = {"lm": shared_lm, "encoder": open_encoder}
MODELS: dict[type, tuple[str, str, str]] = {
    LanguageModel: ("language model", "generate", 'name one ("gguf:smollm2"), or a model of [use] ("@lm")'),
    Encoder: ("encoder", "encode", 'name one ("minilm"), or an encoder of [use] ("@text_encoder")'),
}
"""What a model is called, the verb it is known by, and how one is given."""
OBJECTS: dict[type, str] = {
    Prompts: "leave it out for the wording that comes with the method; in Python give hexarec.parts.prompts.Prompts; "
    'a service that keeps a prompt (PUT /v1/prompts/NAME) takes prompts = "prompt:NAME"'
}
"""How values are given that no text stands for."""
MOST_NAMED = 12


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
    if not isinstance(name, str):  # a file may hold anything
        raise OptionError(f"use = {name!r} is no name", hint='write use = "popular"')
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(f"no method {_written(name)}", hint=f"{hint}see hexarec methods list")
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
    if _refers(value):
        return _taken(where, _made(where, value, uses), hint, value)
    if key in MODEL_FIELDS and isinstance(value, str):
        return MODEL_FIELDS[key](value)
    if isinstance(value, list | tuple) and any(_refers(one) for one in value):
        return _taken(where, [_made(where, one, uses) if _refers(one) else one for one in value], hint, value)
    return _taken(where, value, hint, value)


def _refers(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("@")) or (isinstance(value, Mapping) and "use" in value)


def _made(where: str, value: Any, uses: Mapping[str, Any]) -> Any:
    """What "@name" or {use = "name", ...} stands for. Raises OptionError naming the field."""
    if isinstance(value, Mapping):
        if not isinstance(value["use"], str):
            raise OptionError(f"{where}: use = {value['use']!r} is no name", hint='write { use = "popular" }')
        return build(value["use"], {key: one for key, one in value.items() if key != "use"}, uses)
    if value[1:] not in uses:
        close = difflib.get_close_matches(value[1:], uses, n=1)
        hint = f"did you mean '@{close[0]}'?" if close else f"[use] has {', '.join(uses) or 'nothing'}"
        raise OptionError(f"{where}: nothing is called {value!r}", hint=hint)
    return uses[value[1:]]


def _taken(where: str, value: Any, hint: Any, given: Any) -> Any:
    """The value as its option takes it: stages and models by what they can do, the rest by `checked`."""
    parts = typing.get_args(hint) or (hint,)
    asked = [one for one in parts if getattr(one, "_is_protocol", False)]
    if not asked:
        return checked(where, value, hint, given)
    if typing.get_origin(hint) is Sequence:
        if not isinstance(value, list | tuple):
            raise OptionError(f"{where}: {_called(given)} is no list", hint=_instead(asked, given))
        for one, said in zip(value, given, strict=True):
            _able(where, one, asked, said)
        return value
    if value is not None or type(None) not in parts:
        _able(where, value, asked, given)
    return value


def _able(where: str, value: Any, asked: Sequence[type], given: Any) -> None:
    """Raise OptionError unless the value has the verbs of one of the protocols."""
    if isinstance(value, str) or not any(_has(value, one) for one in asked):
        kind = MODELS[asked[0]][0] if asked[0] in MODELS else asked[0].__name__.lower()
        raise OptionError(f"{where}: {_called(given)} is no {kind}", hint=_instead(asked, given))


def _has(thing: Any, protocol: type) -> bool:
    verbs = MODELS[protocol][1:2] if protocol in MODELS else [name for name in vars(protocol) if name[0] != "_"]
    return all(callable(getattr(thing, verb, None)) for verb in verbs)


def _called(given: Any) -> str:
    """How a value was written, shortened; a table with `use` by the name in it."""
    said = _written(given["use"] if isinstance(given, Mapping) and "use" in given else given)
    return said if len(said) <= 60 else said[:57] + "..."


def _written(given: Any) -> str:
    """A value as it was written, without the password of an address."""
    return without_secrets(repr(given))


def _instead(asked: Sequence[type], given: Any) -> str:
    """What to write where a value has not the verbs that are asked for."""
    if asked[0] in MODELS:
        return MODELS[asked[0]][2]
    able = [name for name, row in cards().items() if any(_has(row.load(), one) for one in asked)]
    if isinstance(given, str) and given in able:
        return f'write {{ use = "{given}" }}'
    more = ", ..." if len(able) > MOST_NAMED else ""
    return f"take {', '.join(able[:MOST_NAMED])}{more}; hexarec methods list names all, with what they can do"


def checked(where: str, value: Any, hint: Any, given: Any = None) -> Any:
    """The value converted to its declared type ("4" -> 4). Raises OptionError naming the field, and it as `given`."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    given = value if given is None else given
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return _instance(where, value, hint, given)
    try:
        made = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionError(f"{where} = {_written(given)}: {first['msg'].lower()}") from None
    if isinstance(made, float) and not math.isfinite(made):
        raise OptionError(f"{where} = {_written(given)}: input should be a finite number")
    return tuple(made) if isinstance(made, list) and isinstance(value, tuple) else made


def _instance(where: str, value: Any, hint: Any, given: Any) -> Any:
    """The value, where its type is a class without a schema and it is one of its objects."""
    if not isinstance(hint, type) or isinstance(value, hint):
        return value
    raise OptionError(f"{where} = {_written(given)}: input should be {hint.__name__}", hint=OBJECTS.get(hint, ""))


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
