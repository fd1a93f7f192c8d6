"""A pipeline as a TOML file of about twenty lines, read and written.

[pipeline]
name = "home"
depth = 100

[use.lm]            # named once, referred to as "@lm"; a value or a table with `use`
model = "gguf:smollm2"   # and, of any model: price_in, price_out (dollars a million tokens), rate_per_minute

[use.ease]
use = "ease"
regularization = 200

[[retrieve]]
use = "@ease"
weight = 1.0

[rank]
use = "llmrank"
lm = "@lm"

[[control]]
use = "mmr"

[explain]
use = "because"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from hexarec.core import OptionError
from hexarec.lm.address import without_secrets
from hexarec.lm.open import open_encoder, shared_lm
from hexarec.pipeline.build import build, checked
from hexarec.pipeline.pipeline import Pipeline

SLOTS = ("enrich", "retrieve", "rank", "control", "explain", "converse")
MANY = frozenset({"enrich", "retrieve", "control"})
TOP = ("pipeline", "use", *SLOTS)
OTHERS = frozenset({"data", "split", "bench", "serve"})  # sections of the same file that others read
A_NAME = {"use": "ease", "model": "gguf:smollm2", "encoder": "minilm"}
A_MODEL = f'write lm = "{A_NAME["model"]}", or a table with use, model or encoder'


def default_config() -> dict[str, Any]:
    """The default pipeline that the package ships."""
    text = (resources.files("hexarec.pipeline") / "default.toml").read_text("utf-8")
    return tomllib.loads(text)


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises OptionError naming the file and the place of the fault."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))  # some editors begin a file with a mark
    except FileNotFoundError:
        raise OptionError(f"there is no file {path}", hint="hexarec init writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{path}: {error}") from None


def read_pipeline(path: str | Path) -> Pipeline:
    """The pipeline of a TOML file. Raises OptionError for anything it does not know, with a suggestion."""
    told = read_toml(path)
    with in_file(path):
        return pipeline_from(told)


@contextmanager
def in_file(path: str | Path) -> Iterator[None]:
    """Within, an OptionError also names this file."""
    try:
        yield
    except OptionError as error:
        named = error.message.startswith(f"{path}: ")
        raise OptionError(error.message if named else f"{path}: {error.message}", hint=error.hint) from None


def tables_of_use(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of [use] as tables; a string is a model. Raises OptionError for anything else."""
    named = config.get("use", {})
    if not isinstance(named, Mapping):
        raise OptionError(f"[use] = {without_secrets(repr(named))} is not a table of names", hint=A_MODEL)
    for name, one in named.items():
        if not isinstance(one, str | Mapping):
            raise OptionError(
                f"[use.{name}] is not a table but {without_secrets(repr(one))}", hint=A_MODEL.replace("lm", name)
            )
    return {name: {"model": one} if isinstance(one, str) else dict(one) for name, one in named.items()}


def pipeline_from(config: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a parsed configuration. Raises OptionError, also for values of a shape nobody expects."""
    try:
        return _pipeline_from(config)
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise OptionError(f"not understood: {error}", hint="docs/pipeline.md describes the format") from None


def _pipeline_from(config: Mapping[str, Any]) -> Pipeline:
    for name in config:
        if name not in TOP and name not in OTHERS:
            close = difflib.get_close_matches(name, TOP, n=1)
            hint = f"did you mean [{close[0]}]? " if close else ""
            raise OptionError(f"unknown section [{name}]", hint=f"{hint}sections: {', '.join(TOP)}")
    uses: dict[str, Any] = {}
    named = tables_of_use(config)
    for name, table in named.items():
        _in_order(name, table, list(named), uses)
        uses[name] = _named(name, table, uses)
    slots: dict[str, list[Any]] = {}
    weights: list[float] = []
    for slot in SLOTS:
        tables = config.get(slot, [])
        tables = tables if isinstance(tables, list) else [tables]
        if slot not in MANY and len(tables) > 1:
            raise OptionError(f"[{slot}] is one stage, not {len(tables)}", hint="use cascade or window to combine")
        slots[slot] = [_stage(slot, table, uses) for table in tables]
        if slot == "retrieve":
            weights = [checked("[retrieve] weight", table.get("weight", 1.0), float) for table in tables]
    own = config.get("pipeline", {})
    if not isinstance(own, Mapping):
        raise OptionError(f"[pipeline] = {own!r} is not a table", hint="it has name and depth")
    unknown = set(own) - {"name", "depth"}
    if unknown:
        raise OptionError(f"[pipeline] has no {', '.join(sorted(unknown))}", hint="it has name and depth")
    own = {key: checked(f"[pipeline] {key}", value, {"name": str, "depth": int}[key]) for key, value in own.items()}
    return Pipeline(
        retrieve_by=tuple(slots["retrieve"]),
        rank_by=next(iter(slots["rank"]), None),
        control_by=tuple(slots["control"]),
        explain_by=next(iter(slots["explain"]), None),
        converse_by=next(iter(slots["converse"]), None),
        enrich_by=tuple(slots["enrich"]),
        weights=tuple(weights) if any(w != 1.0 for w in weights) else (),
        **own,
    )


def _in_order(name: str, table: Any, names: Sequence[str], uses: Mapping[str, Any]) -> None:
    """Raise OptionError for a reference to an entry of [use] that is made later, or to the entry itself."""
    for one in references(table):
        if one in names and one not in uses:
            raise OptionError(
                f"[use.{name}] refers to @{one}, which comes later or leads back to it",
                hint=f"write [use.{one}] above [use.{name}]; two that need each other cannot be made",
            )


def references(value: Any) -> list[str]:
    """The names behind "@" anywhere in a value."""
    if isinstance(value, str):
        return [value[1:]] if value.startswith("@") else []
    if isinstance(value, Mapping):
        return [name for one in value.values() for name in references(one)]
    return [name for one in value for name in references(one)] if isinstance(value, list) else []


def _named(name: str, table: Mapping[str, Any], uses: Mapping[str, Any]) -> Any:
    """One entry of [use]: a model ("model = ..."), an encoder ("encoder = ..."), a stage ("use = ...")."""
    for key in ("use", "model", "encoder"):
        if not isinstance(table.get(key, ""), str):
            raise OptionError(f"[use.{name}] {key} = {table[key]!r} is no name", hint=f'write {key} = "{A_NAME[key]}"')
    if "use" in table:
        return build(table["use"], {key: value for key, value in table.items() if key != "use"}, uses)
    rest = {key: value for key, value in table.items() if key not in ("model", "encoder")}
    if len(table) != len(rest) + 1:
        raise OptionError(f"[use.{name}] needs one of use, model, encoder")
    if "encoder" in table:
        return open_encoder(table["encoder"], **rest)
    return shared_lm(table["model"], **rest)


def _stage(slot: str, table: Any, uses: Mapping[str, Any]) -> Any:
    if not isinstance(table, Mapping) or "use" not in table:
        raise OptionError(f'[{slot}] needs use = "..."', hint="hexarec methods list names what there is")
    if not isinstance(table["use"], str):
        raise OptionError(f"[{slot}] use = {table['use']!r} is no name", hint='write use = "popular", one table each')
    rest = {key: value for key, value in table.items() if key not in ("use", "weight")}
    if table["use"].startswith("@"):
        if rest:
            raise OptionError(f"[{slot}] refers to {table['use']}: its options stand in [use]")
        if table["use"][1:] not in uses:
            raise OptionError(f"[{slot}] refers to {table['use']}, which [use] does not name")
        made = uses[table["use"][1:]]
    else:
        made = build(table["use"], rest, uses)
    if not callable(getattr(made, slot, None)):
        raise OptionError(f"{table['use']!r} cannot {slot}", hint=f"hexarec methods list --stage {slot}")
    return made
