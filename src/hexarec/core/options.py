"""Options and learned state of stages: what the walker, the builder and the memo all read."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import threading
import typing
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from hexarec.core.dataset import Dataset
from hexarec.core.errors import OptionError, StateError
from hexarec.core.ids import IdTable, digest, same_lineage
from hexarec.core.lists import Lists
from hexarec.core.peruser import PerUser
from hexarec.core.queries import Queries
from hexarec.core.run import current

S = TypeVar("S")
_KINDS: dict[Any, tuple[Any, str]] = {
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "a finite number"),
    bool: (bool, "true or false"),
}


def option_names(stage: Any) -> list[str]:
    """The constructor options of a dataclass stage, in order; class or object."""
    return [f.name for f in dataclasses.fields(stage) if f.init]


def learned(stage: Any) -> dict[str, Any]:
    """Learned state: exactly the attributes that end in `_` (and do not start with one)."""
    return {
        name: value
        for name, value in vars(stage).items()
        if name.endswith("_") and not name.startswith("_") and not name.endswith("__")
    }


def check_options(cls: type, given: Sequence[str]) -> None:
    """Raise OptionError with the list of real options for a name the class does not have."""
    real = option_names(cls)
    for name in given:
        if name not in real:
            close = difflib.get_close_matches(name, real, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise OptionError(
                f"{cls.__name__} has no option {name!r}", hint=f"{hint}options: {', '.join(real) or 'none'}"
            )


def at_least(stage: Any, **least: float) -> None:
    """Raise OptionError for the first of these options that is below its least value, or no number; None is left."""
    for name, low in least.items():
        value = getattr(stage, name)
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None and not one >= low:
                raise OptionError(f"{type(stage).__name__}: {name} is {one}, not at least {low:g}")


def numbers(stage: Any) -> None:
    """Raise OptionError for the first option declared a whole number, a number or yes/no that is none; NaN is none."""
    for name, hint in typing.get_type_hints(type(stage)).items():
        value = getattr(stage, name)
        kinds, told = _KINDS.get(hint, (object, ""))
        fine = isinstance(value, kinds) and (hint is bool or not told or not isinstance(value, bool))
        if not fine or (hint is float and not math.isfinite(value)):
            raise OptionError(f"{type(stage).__name__}: {name} is {value!r}", hint=told)


def choices(stage: Any) -> None:
    """Raise OptionError for the first option of a few words (a `Literal`) that is none of them."""
    for name, hint in typing.get_type_hints(type(stage)).items():
        if typing.get_origin(hint) is typing.Literal and getattr(stage, name) not in typing.get_args(hint):
            known = ", ".join(map(str, typing.get_args(hint)))
            raise OptionError(f"{type(stage).__name__}: {name} is {getattr(stage, name)!r}", hint=f"one of {known}")


def is_stage(value: Any) -> bool:
    """Whether a value is a dataclass object the walker descends into."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def stages_inside(thing: Any, _seen: set[int] | None = None) -> list[Any]:
    """All stages that a stage holds in options or learned state, itself included, each once."""
    seen = set() if _seen is None else _seen
    if isinstance(thing, list | tuple):
        return [one for part in thing for one in stages_inside(part, seen)]
    if not is_stage(thing) or id(thing) in seen:
        return []
    seen.add(id(thing))
    held = [getattr(thing, name) for name in [*option_names(thing), *learned(thing)]]
    return [thing, *(one for value in held for one in stages_inside(value, seen))]


def options_digest(stage: Any) -> str:
    """A hash of a stage's class and options, nested stages included; learned state does not count."""
    return digest(_described(stage))


def _described(value: Any) -> Any:
    if is_stage(value) and not isinstance(value, IdTable | PerUser):
        cls = type(value)
        return [f"{cls.__module__}:{cls.__qualname__}"] + [
            [name, _described(getattr(value, name))] for name in option_names(value)
        ]
    if isinstance(value, list | tuple):
        return [_described(one) for one in value]
    if isinstance(value, dict):
        return [[str(name), _described(value[name])] for name in sorted(value, key=str)]
    if isinstance(value, np.ndarray):
        return digest(value)
    if value is None or isinstance(value, str | int | float | bool | np.generic):
        return repr(value)
    spec = getattr(value, "spec", None)
    if not spec:
        return f"{type(value).__qualname__}@{id(value)}"
    # two models of one name may be opened with other settings: those that are plain values count
    simple = {n: v for n, v in vars(value).items() if n[0] != "_" and isinstance(v, str | int | float | bool | dict)}
    if isinstance(options := getattr(value, "options", None), dict):  # a wrapper has those of what it wraps
        simple["options"] = options
    return [type(value).__qualname__, spec, *(f"{n}={simple[n]!r}" for n in sorted(simple))]


def ready(stage: Any, queries: Queries | None = None, lists: Lists | None = None) -> None:
    """What a stage checks first: StateError before `fit`, LineageError for questions or lists about another catalog.

    The stage keeps the lineage it was fitted on as `key_`.
    """
    key = getattr(stage, "key_", None)
    if key is None:
        raise StateError(f"{type(stage).__name__} is not fitted", hint="call fit(data) first")
    if queries is not None:
        same_lineage(key, queries.catalog.key)
    if lists is not None:
        same_lineage(key, lists.key)


def variant(stage: S, **options: Any) -> S:
    """A copy with other options that keeps the learned state. Raises OptionError for a name it does not have."""
    check_options(type(stage), list(options))
    made = copy.copy(stage)
    for name, value in options.items():
        object.__setattr__(made, name, value)
    return made


def fresh(stage: S) -> S:
    """A copy with the same options and nothing learned."""
    made = copy.copy(stage)
    for name in learned(stage):
        delattr(made, name)
    return made


def with_defaults(stage: S, names: Sequence[str]) -> S:
    """A copy that has learned nothing, with these options at their defaults; they are options with a default."""
    return variant(fresh(stage), **{one.name: one.default for one in dataclasses.fields(stage) if one.name in names})  # type: ignore[arg-type]


_MEMO: OrderedDict[tuple[str, str, str, int], Any] = OrderedDict()
_MEMO_LOCK = threading.Lock()
MEMO_SIZE = 64


def fitted(stage: S, data: Dataset, seed: int = 0) -> S:
    """The stage fitted on `data`; the given object is left as it was.

    Memoised by tenant, class, options, `data.key` and seed, so a stage that several others hold is fitted once. A stage
    without `fit` is returned as it is.
    """
    if not hasattr(stage, "fit"):
        return stage
    key = (current().tenant, options_digest(stage), data.key, seed)
    with _MEMO_LOCK:
        if key in _MEMO:
            _MEMO.move_to_end(key)
            known: S = _MEMO[key][0]
            return known
    made: S = fresh(stage).fit(data, seed=seed)
    with _MEMO_LOCK:
        _MEMO[key] = (made, stage)  # the stage stays alive, so no id in its digest is used again
        while len(_MEMO) > MEMO_SIZE:
            _MEMO.popitem(last=False)
    return made


def clear_memo() -> None:
    """Forget all fitted stages."""
    with _MEMO_LOCK:
        _MEMO.clear()


def forget(stage: S, users: Sequence[str], _seen: dict[int, Any] | None = None) -> S:
    """The stage without these users: per-user tables are emptied wherever they stand; shared weights are marked.

    A stage that learned shared weights from those users gets `stale_ = True`: only a refit removes their trace.
    """
    seen = {} if _seen is None else _seen
    if id(stage) in seen:
        known: S = seen[id(stage)]
        return known
    if isinstance(stage, PerUser):
        return stage.forget(users)  # type: ignore[return-value]
    if isinstance(stage, list | tuple):
        return type(stage)(forget(one, users, seen) for one in stage)
    if not is_stage(stage) or isinstance(stage, IdTable):
        return stage
    made: S = stage.forget(users) if hasattr(stage, "forget") else copy.copy(stage)
    seen[id(stage)] = made
    state = learned(made)
    for name in [*option_names(made), *state]:
        value = getattr(made, name)
        after = forget(value, users, seen)
        if after is not value:
            object.__setattr__(made, name, after)
    if state:
        object.__setattr__(made, "stale_", True)
    return made
