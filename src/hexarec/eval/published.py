"""The result tables of the documentation, shipped in short: `python -m hexarec.cli.docs` writes published.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from hexarec.metrics import parse

FILE = "published.json"
FIRST = ("ndcg@10", "auc", "recall@10", "hit@1")
"""The metrics that are kept, of those a table has; where it has none of them its first two."""


@dataclass(frozen=True)
class Line:
    """One row of a table: metric -> (mean, low, high), None where the table has no interval; ms and tokens a list."""

    system: str
    values: Mapping[str, tuple[float | None, ...]]
    ms: float
    tokens: float


@dataclass(frozen=True)
class Table:
    """A table in short. file: its page under docs/results, without the ending. floor: the row it compares with."""

    file: str
    title: str
    floor: str
    lines: tuple[Line, ...]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in order."""
        return list(dict.fromkeys(name for line in self.lines for name in line.values))


def of_method(name: str) -> list[Table]:
    """The tables with rows of a method: the best floor and these rows. A row is of it when its name begins with it."""
    made = []
    for table in _published():
        mine = [line for line in table.lines if re.match(rf"{re.escape(name)}\b", line.system)]
        if mine:
            floors = [line for line in table.lines if line.system == table.floor and line not in mine]
            made.append(Table(table.file, table.title, table.floor, (*floors, *mine)))
    return made


@lru_cache(maxsize=1)
def _published() -> tuple[Table, ...]:
    text = (resources.files("hexarec.eval") / FILE).read_text("utf-8")
    return tuple(
        Table(one["file"], one["title"], one["floor"], tuple(
            Line(row["system"], {name: tuple(value) for name, value in row["values"].items()}, row["ms"], row["tokens"])
            for row in one["rows"]
        ))
        for one in json.loads(text)
    )  # fmt: skip


def gathered(folder: Path, names: Sequence[str]) -> str:
    """The file, from the reports under docs/results: of each the row it compares with and those of these methods."""
    made = []
    for path in sorted(folder.glob("*.json")):
        for report in _reports(json.loads(path.read_text("utf-8"))):
            rows = [row for row in report["rows"] if _kept(row["system"], report["baseline"], names)]
            if any(row["system"] != report["baseline"] for row in rows):
                made.append({"file": path.stem, "title": report["title"], "floor": report["baseline"],
                             "rows": [_short(row) for row in rows]})  # fmt: skip
    lines = ",\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in made)
    return f"[\n{lines}\n]\n"


def _reports(made: Any) -> Iterator[Mapping[str, Any]]:
    """Every report, wherever in a file of results it stands."""
    if isinstance(made, Mapping):
        if {"title", "rows", "baseline"} <= set(made):
            yield made
        else:
            for one in made.values():
                yield from _reports(one)
    elif isinstance(made, list):
        for one in made:
            yield from _reports(one)


def _kept(system: str, baseline: str, names: Sequence[str]) -> bool:
    return system == baseline or any(re.match(rf"{re.escape(name)}\b", system) for name in names)


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = [name for name in row["metrics"] if "[" not in name]
    wanted = [name for name in FIRST if name in plain] or plain[:2]
    values = {name: [_rounded(row["metrics"][name].get(part)) for part in ("mean", "low", "high")]
              for name in wanted if parse(name)}  # fmt: skip
    costs = row["costs"]
    return {
        "system": row["system"], "values": values, "ms": _rounded(costs.get("ms/list", 0.0)),
        "tokens": _rounded(costs.get("tokens_in", 0.0) + costs.get("tokens_out", 0.0)),
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
