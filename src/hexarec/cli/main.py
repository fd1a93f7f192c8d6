"""The `hexarec` command: its groups, and one way of failing.

Exit codes: 0 done; 1 done, but what was checked is bad; 2 wrong input, options, state or model, said in one line with
its mend; 130 stopped by hand.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hexarec.cli import (
    ab,
    backup,
    batch,
    bench,
    data,
    db,
    demo,
    doctor,
    keys,
    methods,
    models,
    recommend,
    report,
    serve,
    stub,
    users,
    work,
)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # a write that fails so does not say which file it was


class Safely(TyperGroup):
    """The top group: turns every expected error into one red line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors that were raised on purpose never show a traceback, except with --debug."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _said("stopped; continue with --resume" if self._resumes(ctx) else "stopped")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # whoever read our output has gone: say nothing, also not when Python flushes at exit
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            told = _told(error)
            if told is None or ctx.params.get("debug"):
                raise
            _said(*told)
            raise typer.Exit(2) from None

    def _resumes(self, ctx: Any) -> bool:
        """Whether the command that was asked for has --resume."""
        asked = self.get_command(ctx, ctx.invoked_subcommand or "")
        return any(one.name == "resume" for one in getattr(asked, "params", ()))


def _told(error: Exception) -> tuple[str, str] | None:
    """Message and hint of an error that was raised on purpose or that the machine made; None for a fault of ours."""
    from hexarec.core.errors import HexarecError

    if isinstance(error, HexarecError):
        return error.message, error.hint
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}", "check the path, its permissions and the free space"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full: {error.strerror}", "free some space, or write to another disk"
    if isinstance(error, MemoryError):
        return f"this machine has not enough memory: {error or 'no more is given'}", "use less data or a smaller model"
    return None


def _said(message: str, hint: str = "") -> None:
    from hexarec.cli.hints import for_command_line
    from hexarec.cli.shared import aside, printable

    aside().print(printable(message), style="red", markup=False)
    if hint:
        aside().print(f"  -> {printable(for_command_line(hint))}", markup=False)


app = typer.Typer(
    name="hexarec", cls=Safely, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        import hexarec

        typer.echo(f"hexarec {hexarec.__version__}")
        raise typer.Exit


@app.callback()
def top(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Every LLM-for-recommendation method on one data model, one language-model layer and one evaluator."""


app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("init")(work.init)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(methods.app, name="methods")
app.command("estimate")(bench.estimate)
app.command("fit")(work.fit)
app.command("recommend")(recommend.recommend)
app.command("bench")(bench.bench)
app.command("report")(report.report)
app.command("diff")(report.diff)
app.command("stub")(stub.stub)
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("mcp")(serve.mcp)
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(ab.app, name="ab")
app.add_typer(db.app, name="db")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(batch.app, name="batch")


def main() -> None:
    """The entry point."""
    app()
