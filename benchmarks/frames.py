"""A table out of a pickled pandas frame, read as data: no pandas, and nothing the file names is imported or run.

The instructions of the stream are walked with `pickletools`, which only takes them apart. What they would call is
looked up in a short list of what builds arrays; any other name ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np


class Unbuilt:
    """An object whose state comes later in the stream."""

    def __init__(self, *args: Any) -> None:
        self.state: Any = None


def _array(state: tuple[Any, ...]) -> np.ndarray:
    _, shape, dtype, fortran, raw = state
    if dtype.kind == "O":
        made = np.empty(len(raw), object)
        made[:] = [_plain(one) for one in raw]
    else:
        made = np.frombuffer(raw, dtype)
    return made.reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    if isinstance(value, Unbuilt):
        return _array(value.state)
    return [_plain(one) for one in value] if isinstance(value, list) else value


CALLS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": Unbuilt,
    "numpy.core.multiarray scalar": lambda dtype, raw: np.frombuffer(raw, dtype)[0].item(),
    "numpy dtype": lambda name, *rest: np.dtype(name),
    "numpy.core.numeric _frombuffer": lambda raw, dtype, shape, order: np.frombuffer(raw, dtype).reshape(
        shape, order=order
    ),
    "numpy ndarray": Unbuilt,
    "builtins slice": slice,
    "pandas._libs.internals _unpickle_block": lambda values, where, ndim: (_plain(values), where),
    "pandas.core.indexes.base _new_Index": lambda kind, state: _plain(state["data"]),
    "pandas.core.indexes.base Index": Unbuilt,
    "pandas.core.internals.managers BlockManager": lambda blocks, axes: (blocks, axes),
    "pandas.core.frame DataFrame": Unbuilt,
}


def columns(data: bytes) -> dict[str, np.ndarray]:
    """Column name -> values (n,) of a pickled frame. Raises ValueError for anything but arrays in a frame."""
    made = _walked(data)
    blocks, (names, *_) = made.state["_mgr"]
    out: dict[str, np.ndarray] = {}
    for values, where in blocks:
        rows = range(len(names))[where] if isinstance(where, slice) else where
        out |= {str(names[row]): values[place] for place, row in enumerate(rows)}
    return out


class _Walk:
    """The stack, the marks and the memory that the instructions of a stream work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: list[Any] = []

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def last(self, n: int) -> list[Any]:
        taken = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return taken

    def marked(self) -> list[Any]:
        return self.last(len(self.stack) - self.marks.pop())

    def update(self, pairs: list[Any]) -> None:
        self.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def named(self) -> None:
        name = " ".join(self.last(2))
        if name not in CALLS:
            raise ValueError(f"the file would call {name}, which is no part of a table")
        self.push(CALLS[name])

    def called(self) -> None:
        call, args = self.last(2)
        self.push(call(*args))

    def built(self) -> None:
        (state,) = self.last(1)
        if isinstance(self.stack[-1], Unbuilt):
            self.stack[-1].state = state


STEPS: dict[str, Callable[[_Walk, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda walk, arg: None),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES",
         "BYTEARRAY8"),
        lambda walk, arg: walk.push(arg),
    ),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda walk, arg: walk.push(walk.memory[arg])),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda walk, arg: walk.called()),
    "NONE": lambda walk, arg: walk.push(None),
    "NEWTRUE": lambda walk, arg: walk.push(True),
    "NEWFALSE": lambda walk, arg: walk.push(False),
    "MEMOIZE": lambda walk, arg: walk.memory.append(walk.stack[-1]),
    "MARK": lambda walk, arg: walk.marks.append(len(walk.stack)),
    "EMPTY_LIST": lambda walk, arg: walk.push([]),
    "EMPTY_TUPLE": lambda walk, arg: walk.push(()),
    "EMPTY_DICT": lambda walk, arg: walk.push({}),
    "TUPLE": lambda walk, arg: walk.push(tuple(walk.marked())),
    "TUPLE1": lambda walk, arg: walk.push(tuple(walk.last(1))),
    "TUPLE2": lambda walk, arg: walk.push(tuple(walk.last(2))),
    "TUPLE3": lambda walk, arg: walk.push(tuple(walk.last(3))),
    "APPEND": lambda walk, arg: walk.stack[-2].append(walk.stack.pop()),
    "APPENDS": lambda walk, arg: (taken := walk.marked(), walk.stack[-1].extend(taken)),
    "SETITEM": lambda walk, arg: walk.update(walk.last(2)),
    "SETITEMS": lambda walk, arg: walk.update(walk.marked()),
    "STACK_GLOBAL": lambda walk, arg: walk.named(),
    "BUILD": lambda walk, arg: walk.built(),
}  # fmt: skip


def _walked(data: bytes) -> Any:
    walk = _Walk()
    for code, arg, _ in pickletools.genops(data):
        if code.name not in STEPS:
            raise ValueError(f"the file has an instruction {code.name}, which is no part of a table")
        STEPS[code.name](walk, arg)
    return walk.stack.pop()
