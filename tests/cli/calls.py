"""Calling the command line as a user does, and small files for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from hexarec.cli.main import app


def call(*words: Any, code: int = 0) -> Result:
    """Run `hexarec WORDS`; everything but the expected exit code fails."""
    made = CliRunner().invoke(app, [str(word) for word in words])
    assert made.exit_code == code, f"exit {made.exit_code}\n{made.output}\n{made.exception!r}"
    return made


def answer(*words: Any) -> Any:
    """The JSON a command prints with --json."""
    return json.loads(call(*words, "--json").stdout)


def fails(*words: Any) -> str:
    """What a command that must fail says: no traceback, exit code 2."""
    made = call(*words, code=2)
    assert "Traceback" not in made.output
    return made.stderr


PIPELINE = """
[data]
path = "world:cold"

[use.lm]
model = "fake:overlap"

[use.llm]
use = "llmrank"
lm = "@lm"
rounds = 1

[use.unused]
model = "gguf:/no/such/file.gguf"

[[retrieve]]
use = "itemknn"

[rank]
use = "window"
ranker = "@llm"
size = 5

[explain]
use = "because"
"""


def written(folder: Path, text: str = PIPELINE, name: str = "hexarec.toml") -> Path:
    """A configuration file."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path
