"""`hexarec` as a process of its own, running the code that is tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hexarec

SOURCE = str(Path(hexarec.__file__).resolve().parents[1])
ENTRY = "from hexarec.cli.main import main; main()"
PIPELINE = """
[data]
path = "world:checkerboard"

[[retrieve]]
use = "itemknn"

[[retrieve]]
use = "popular"

[explain]
use = "because"
"""


def config(**serve):
    """The text of a configuration over a tiny world; `serve` are settings of its server."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in serve.items()]
    return "\n".join([PIPELINE, "[serve]", *lines, ""]) if serve else PIPELINE


def environment(**more):
    path = os.pathsep.join([SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def command(*words):
    return [sys.executable, "-c", ENTRY, *map(str, words)]


def started(*words, cwd, **more):
    """A running `hexarec WORDS`; its output goes to files in cwd."""
    with (Path(cwd) / "stdout.txt").open("ab") as out, (Path(cwd) / "stderr.txt").open("ab") as err:
        return subprocess.Popen(command(*words), stdout=out, stderr=err, cwd=cwd, env=environment(**more))


def said(cwd):
    """What the processes started in a folder wrote to stderr."""
    return (Path(cwd) / "stderr.txt").read_text()
