"""Typed filters on item attributes: a small tree, checked when it is built, compiled once to a row mask."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core.errors import OptionError

COMPARE = ("=", "!=", "<", "<=", ">", ">=", "in", "not in", "has", "exists")
JOIN = ("and", "or", "not")
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
MAX_DEPTH = 16


@dataclass(frozen=True)
class Filter:
    """One node: a comparison (`field op value`) or a join of `parts`. Hashable, so masks can be shared.

    `=`, `!=`, `in`, `not in` on a multi-valued field test any of its values; `has` wants all of the given values.
    """

    op: str
    field: str = ""
    value: Any = None
    parts: tuple[Filter, ...] = ()

    @classmethod
    def parse(cls, tree: Mapping[str, Any], depth: int = 0) -> Filter:
        """From the wire form, e.g. {"and": [{"field": "year", "op": ">=", "value": 1990}]}. Raises OptionError."""
        if not isinstance(tree, Mapping):
            raise OptionError(f"a filter is an object, not {type(tree).__name__}")
        if depth > MAX_DEPTH:
            raise OptionError(f"the filter is nested deeper than {MAX_DEPTH}")
        if len(tree) == 1 and (op := next(iter(tree))) in JOIN:
            parts = tree[op] if isinstance(tree[op], list) else [tree[op]]
            if not parts or (op == "not" and len(parts) != 1):
                raise OptionError(f"{op!r} needs {'one part' if op == 'not' else 'at least one part'}")
            return cls(op, parts=tuple(cls.parse(part, depth + 1) for part in parts))
        unknown = set(tree) - {"field", "op", "value"}
        if unknown or "field" not in tree or "op" not in tree:
            raise OptionError(
                f"not a filter: {str(dict(tree))[:120]}",
                hint='write {"field": ..., "op": ..., "value": ...} or {"and" | "or" | "not": [...]}',
            )
        if tree["op"] not in COMPARE:
            raise OptionError(f"unknown operator {tree['op']!r}", hint=f"use one of {', '.join(COMPARE)}")
        value = tree.get("value")
        if isinstance(value, list):
            value = tuple(value)
        parts = value if isinstance(value, tuple) else (value,)
        if any(not isinstance(one, str | int | float | bool | None) for one in parts):
            raise OptionError("a filter value is text, a number, true, false or a list of these")
        if any(isinstance(one, int) and abs(one) > 2**63 for one in parts):
            raise OptionError("a number in the filter is too large")
        if tree["op"] in ("<", "<=", ">", ">=") and isinstance(value, tuple):
            raise OptionError(f"{tree['op']!r} compares with one value, not with a list")
        return cls(tree["op"], str(tree["field"]), value)


def column_mask(where: Filter, columns: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.bool_]:
    """Rows (n,) bool that pass. Raises OptionError for an unknown field or a value of the wrong type."""
    if where.op in JOIN:
        masks = [column_mask(part, columns, n) for part in where.parts]
        if where.op == "not":
            return ~masks[0]
        join = np.logical_and if where.op == "and" else np.logical_or
        return np.asarray(join.reduce(masks))
    column = columns.get(where.field)
    if column is None:
        close = difflib.get_close_matches(where.field, columns, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"fields: {', '.join(sorted(columns)) or 'none'}"
        raise OptionError(f"the catalog has no field {where.field!r}", hint=hint)
    if column.dtype == np.float64:
        return _number_mask(where, column)
    if where.op in ORDER and not any(_comparable(value, where.value) for value in column):
        raise OptionError(f"field {where.field!r} cannot be compared with {where.value!r}")
    return np.fromiter((_passes(where, value) for value in column), bool, count=n)


def _number_mask(where: Filter, column: NDArray[np.float64]) -> NDArray[np.bool_]:
    present = ~np.isnan(column)
    if where.op == "exists":
        return present
    values = where.value if isinstance(where.value, tuple) else (where.value,)
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise OptionError(f"field {where.field!r} holds numbers; {where.value!r} is not one")
    if where.op in ("in", "=", "has"):
        return np.isin(column, values)
    if where.op in ("not in", "!="):
        return present & ~np.isin(column, values)
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[where.op]
    with np.errstate(invalid="ignore"):
        return np.asarray(compare(column, values[0]))


def _passes(where: Filter, value: Any) -> bool:
    if where.op == "exists":
        return value is not None and value != ()
    if value is None:
        return False
    have = value if isinstance(value, tuple) else (value,)
    want = where.value if isinstance(where.value, tuple) else (where.value,)
    if where.op == "has":
        return set(want) <= set(have)
    if where.op in ("=", "in"):
        return bool(set(want) & set(have))
    if where.op in ("!=", "not in"):
        return not set(want) & set(have)
    return _comparable(value, where.value) and bool(ORDER[where.op](value, where.value))


def _comparable(value: Any, other: Any) -> bool:
    """Whether two values have an order: both numbers, or both text. One odd value in a column spoils no filter."""
    kinds = [
        type(one) if isinstance(one, str) else float for one in (value, other) if isinstance(one, str | int | float)
    ]
    return len(kinds) == 2 and kinds[0] is kinds[1]
