"""A system in plain words: every option that is not its default, by a dotted name; for the manifest and for diffs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import IdTable, PerUser, digest, option_names
from hexarec.core.options import is_stage, options_digest
from hexarec.eval.standins import is_encoder, is_lm
from hexarec.lm.address import without_secrets

MOST = 200
"""Characters of a value that are kept."""
MANY = 32
"""Parts of an option from which on they are data rather than a choice: told by their number and a hash alone."""
_ROOT = r"(?:/|~[/\\]|[A-Za-z]:[\\/]|\\\\)"
_PATH = re.compile(rf"((?:--?[\w-]+=|-[A-Za-z]|\w+=|\w\w+:|#)*)({_ROOT}.*)", re.DOTALL)
_INSIDE = re.compile(r"(?<![\w.~/\\:])" + _ROOT + r"(?:[^\s/\\'\",;:]+[/\\])+([^\s/\\'\",;:]*)")
_ADDRESS = re.compile(r"\b(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def options_told(system: Any) -> dict[str, str]:
    """Option -> value as text: `rank_by` -> `Window`, `rank_by.ranker.rounds` -> `1`; models by their spec."""
    made: dict[str, str] = {}
    _into(made, "", system)
    return made


def local_cut(text: str) -> str:
    """A text without what is the business of one machine alone: of an absolute path the last name stays.

    Also behind an option (`--config=/a/b`, `-c/a/b`) or the kind of a model (`gguf:/a/b`). Addresses lose user,
    password and query.
    """
    text = without_secrets(text)
    if _ADDRESS.search(text):
        before, mark, model = text.partition("#")
        return before + mark + (local_cut(model) if model else "")
    if found := _PATH.fullmatch(text):
        return found[1] + _last(found[2])
    return _INSIDE.sub(r"\1", text)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _into(made: dict[str, str], name: str, value: Any) -> None:
    if is_lm(value) or is_encoder(value):
        made[name] = local_cut(str(value.spec))
    elif is_stage(value) and not isinstance(value, IdTable | PerUser):
        made[name or "system"] = type(value).__name__
        defaults = {one.name: one.default for one in dataclasses.fields(value)}
        for option in option_names(value):
            inner = getattr(value, option)
            if not _same(inner, defaults[option]):
                _into(made, f"{name}.{option}" if name else option, inner)
    elif (parts := _parts(value)) is not None and any(is_stage(one) or is_lm(one) for _, one in parts):
        if len(parts) >= MANY:
            made[name] = _counted(len(parts), parts[0][1], value)
            return
        for place, one in parts:
            _into(made, f"{name}.{place}", one)
    else:
        text = _plain(value)
        made[name] = text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, by place from 1 or by key; None for anything else."""
    if isinstance(value, Mapping):
        return [(local_cut(str(name)), one) for name, one in value.items()]
    if isinstance(value, Set):
        value = sorted(value, key=repr)  # the order of a set differs from process to process
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    return [(str(n), one) for n, one in enumerate(value, 1)] if isinstance(value, list | tuple) else None


def _leaves(value: Any) -> int:
    parts = _parts(value)
    return 1 if parts is None else sum(_leaves(one) for _, one in parts)


def _plain(value: Any) -> str:
    """A value as text; containers of many parts, and objects of some length, by their number and a hash."""
    parts = _parts(value)
    if parts is not None:
        many = max(len(parts), _leaves(value))
        return _counted(many, parts[0][1], value) if many >= MANY else str(_cut(value))
    return str(_cut(getattr(value, "id", value)))


def _cut(value: Any) -> Any:
    """A value with each string in it cut to what other machines may know; data by its size and a hash."""
    if isinstance(value, str | Path):
        return local_cut(str(value))
    if isinstance(value, Mapping):
        return {local_cut(str(name)): _cut(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_cut, value))
    if (parts := _parts(value)) is not None:
        return [_cut(one) for _, one in parts]
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes, {digest(bytes(value))}"
    if is_lm(value) or is_encoder(value):
        return local_cut(str(value.spec))
    if not isinstance(value, np.generic) and (is_stage(value) or hasattr(value, "__len__") or hasattr(value, "shape")):
        return f"{type(value).__name__}, {digest(repr(value))}"
    return value if value is None or isinstance(value, bool | int | float | np.generic) else local_cut(str(value))


def _counted(many: int, first: Any, value: Any) -> str:
    held = value if isinstance(value, list | tuple | dict | np.ndarray) else [one for _, one in _parts(value) or ()]
    return f"{many} x {type(first).__name__}, {options_digest(held)}"


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except ValueError:  # of arrays nobody can say it in one word
        return False
