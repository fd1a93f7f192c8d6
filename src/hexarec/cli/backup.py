"""`hexarec backup` and `hexarec restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hexarec.cli.serving import Home, ServeConfig, settings_from
from hexarec.cli.shared import CONFIG

Archive = Annotated[Path, typer.Argument(help="The backup: .tar.gz, .tar, or from Python 3.14 on .tar.zst.")]


def backup(out: Archive, config: ServeConfig = Path(CONFIG), home: Home = None) -> None:
    """Write the store and the saved pipelines of a server to one file; the server may run meanwhile."""
    from hexarec.cli.shared import say

    settings = settings_from(config, home)
    from hexarec.serve.backup import backed_up

    made = backed_up(settings, out)
    say(f"written: {out}, {made['file']:,} bytes; {made['pipelines']} saved pipelines, store {made['store']:,} bytes")


def restore(file: Archive, config: ServeConfig = Path(CONFIG), home: Home = None) -> None:
    """Put a backup in the place of what a stopped server holds. Whoever was erased since stays erased."""
    import time

    from hexarec.cli.shared import say

    settings = settings_from(config, home)
    from hexarec.serve.backup import restored

    made = restored(settings, file)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(made.created))
    say(f"restored: the state of {when}" + (f"; erased again: {made.erased} users" if made.erased else ""))
    if made.before is not None:
        say(f"  what was there before lies in {made.before}")
