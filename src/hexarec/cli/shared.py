"""What the commands share: consoles, JSON output, and the options that mean the same everywhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

CONFIG = "hexarec.toml"
WIDE = 160  # columns of a table that goes to a file or a pipe

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
Config = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.")]
Data = Annotated[str | None, typer.Option(help="Data set: films, world:NAME, a stored folder, or raw files.")]
Deadline = Annotated[float | None, typer.Option(min=0.0, help="Stop after this many seconds.")]
BudgetUsd = Annotated[float | None, typer.Option(min=0.0, help="Stop before language models cost more dollars.")]
BudgetCalls = Annotated[int | None, typer.Option(min=0, help="Stop before more calls of language models.")]
BudgetTokens = Annotated[int | None, typer.Option(min=0, help="Stop before more tokens, in and out together.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]


def printable(text: str) -> str:
    """The text with control characters escaped; loaded when something is said, so that `--help` stays quick."""
    from hexarec.core.printable import printable as escaped

    return escaped(text)


def screen() -> Console:
    """The console for results; what is not a terminal gets wide tables."""
    from rich.console import Console

    fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fixed else WIDE, highlight=False)


def aside() -> Console:
    """The console for messages, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line of plain result text, never read as markup, never wrapped, control characters escaped."""
    screen().print(printable(text), markup=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """A value as JSON; NaN and infinity become null."""
    screen().out(json.dumps(_plain(value), ensure_ascii=False, indent=1), highlight=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        listed = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(one) for one in listed]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def next_steps(*commands: str) -> None:
    """What to type next, on stderr, so that results can be piped."""
    for command in commands:
        aside().print(f"next: {printable(typed(command))}", style="dim", markup=False)


def again(options: Mapping[str, Any]) -> str:
    """Options as they are typed, for a command that goes on from this one: {"-c": file}; without those not given."""
    made = []
    for name, value in options.items():
        if value is not None and value is not False and value != Path(CONFIG):
            made.append(f" {name}" if value is True else f" {name} {quoted(value)}")
    return "".join(made)


def quoted(value: Any) -> str:
    """A word of a command line, in quotes where a shell needs them."""
    return shlex.quote(str(value))


def typed(command: str) -> str:
    """A command as it can be typed here: where hexarec is not on the path, by the path it was called with."""
    called = sys.argv[0]
    if Path(called).name != "hexarec" or shutil.which("hexarec") is not None:
        return command
    return re.sub(r"(^|&& )hexarec ", lambda found: f"{found[1]}{called} ", command)


def warn(text: str) -> None:
    """A yellow line on stderr."""
    aside().print(f"! {printable(text)}", style="yellow", markup=False)


def table_of(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Any:
    """A rich table of plain cells; strings are never read as markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for place, head in enumerate(heads):
        made.add_column(
            Text(printable(head)), justify="right" if head in right else "left", overflow="fold", no_wrap=place == 0
        )
    for row in rows:
        made.add_row(*(one if isinstance(one, Text) else Text(printable(str(one))) for one in row))
    return made
