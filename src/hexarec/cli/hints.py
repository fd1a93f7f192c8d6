"""Hints are written for Python; on the command line they name its options."""

from __future__ import annotations

import re

_ROWS: tuple[tuple[str, str], ...] = (
    (r"\b(format|encoding|like|name|items|users)='([^']*)'", r"--\1 \2"),
    (r"say (\w+)=<column> in the mapping", r"say --map \1=<column>"),
    (r"map it as (\w+)= instead of (\w+)=", r"say --map \1=<column> instead of --map \2=<column>"),
    (r"use leave_last", 'split by last: --by last, or split = "last" under [bench]'),
    (r"lower max_events", "split by last: --by last"),
    (r"use hexarec\.load\(path, data\)", "name its data with --data"),
    (r"or load with hexarec\.load\(path, data\), which maps rows by id", "or fit it again with hexarec fit"),
    (r"call fit\(data\) first, or load a saved one", "run hexarec fit first"),
    (r"give the pairs to be scored: Labels\(data, exposures\)", "give the pairs to be scored: --pairs FILE"),
)
_FORMS = tuple((re.compile(pattern), said) for pattern, said in _ROWS)


def for_command_line(hint: str) -> str:
    """The hint with options of commands in place of arguments of functions."""
    for pattern, said in _FORMS:
        hint = pattern.sub(said, hint)
    return hint
