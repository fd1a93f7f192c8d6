"""`hexarec report` and `hexarec diff`: a finished run as a table or page, and two lists side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import Json

if TYPE_CHECKING:
    from hexarec.eval.diff import Entry, RunLists

LATEST = "latest"


def found(run: Path) -> Path:
    """The folder of a run; `runs/latest` is the one with the newest report."""
    if run.name == LATEST and not run.exists():
        known = sorted(run.parent.glob("*/report.json"), key=lambda one: one.stat().st_mtime)
        return known[-1].parent if known else run
    return run


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run; runs/latest is the newest.")],
    html: Annotated[bool, typer.Option("--html", help="Write report.html into the folder.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json_: Json = False,
) -> None:
    """Show a finished run."""
    from hexarec.cli.shared import say, say_json, screen
    from hexarec.core.atomic import write_text
    from hexarec.eval import text
    from hexarec.eval.report import read_report

    place = found(run)
    made = read_report(place)
    if html:
        from hexarec.eval.html import html as page

        target = (place if place.is_dir() else place.parent) / "report.html"
        say(f"written: {write_text(target, page(made))}")
    if json_:
        say_json(made.as_json())
    elif markdown:
        say(text.markdown(made))
    elif not html:
        screen().print(text.table(made))


def diff(
    run_a: Annotated[Path, typer.Argument(help="The folder of a run.")],
    run_b: Annotated[Path | None, typer.Argument(help="Another run; the same one without it.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose lists; the user with the most changes without it.")] = None,
    system_a: Annotated[str | None, typer.Option("-a", "--system-a", help="The system on the left.")] = None,
    system_b: Annotated[str | None, typer.Option("-b", "--system-b", help="The system on the right.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed; the smallest without it.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Places shown.")] = 10,
    json_: Json = False,
) -> None:
    """Two lists of one user side by side: of two systems of a run, or of two runs."""
    from hexarec.cli.shared import again, next_steps, quoted, say_json
    from hexarec.core import DataError
    from hexarec.eval.diff import aligned, most_changed, read_run

    left = read_run(found(run_a))
    right = left if run_b is None else read_run(found(run_b))
    a, b = _systems(left, right, system_a, system_b)
    some = most_changed(left, a, right, b, depth=k)
    if user is None and not some:
        raise DataError("the runs asked about no common user", hint="compare runs of the same task")
    name = some[0] if user is None else user
    liked = set(left.liked[left.row(name)]) | set(right.liked[right.row(name)])
    rows = aligned(left.of(a, name, seed)[:k], right.of(b, name, seed)[:k], liked)
    if json_:
        from dataclasses import asdict

        say_json({"user": name, "left": a, "right": b, "liked": liked, "places": [asdict(row) for row in rows]})
        return
    _show(rows, (left, a), (right, b), name, liked)
    folders = f"{quoted(run_a)}{f' {quoted(run_b)}' if run_b else ''}"
    same = again({"-a": system_a, "-b": system_b, "--seed": seed, "-k": None if k == 10 else k})
    next_steps(f"hexarec diff {folders}{same} --user {quoted(next((u for u in some if u != name), name))}")


def _systems(left: RunLists, right: RunLists, a: str | None, b: str | None) -> tuple[str, str]:
    """The two systems: those named; else the baseline against the last of one run, or the last of each of two."""
    from hexarec.core import DataError
    from hexarec.eval.report import read_report

    def order(run: RunLists) -> tuple[str, list[str]]:
        try:
            made = read_report(run.folder)
        except DataError:
            return "", run.systems
        return made.baseline, [row.system for row in made.rows if row.system in run.systems]

    base, own = order(left)
    second = b or order(right)[1][-1]
    if left is right and base not in own:
        base = next((name for name in own if name != second), second)
    return a or (base if left is right else own[-1]), second


def _show(rows: list[Any], left: tuple[RunLists, str], right: tuple[RunLists, str], user: str, liked: set[str]) -> None:
    from hexarec.cli.shared import say, screen, table_of

    cells = []
    for row in rows:
        cells.append([str(row.place), _cell(row.left, left[0], False), _cell(row.right, right[0], True)])
    heads = ("#", f"{left[1]} ({left[0].folder.name})", f"{right[1]} ({right[0].folder.name})")
    screen().print(table_of(f"user {user}", heads, cells, ("#",)))
    named = [left[0].titled(item) for item in sorted(liked)]
    say(f"* liked afterwards: {'; '.join(named) or 'nothing'}")
    say("right: + only here, up or down by so many places; left: - lost on the right")


def _cell(entry: Entry | None, run: RunLists, right: bool) -> Any:
    """A title with its move: green gained, red lost, cyan up, yellow down; a star for what was liked afterwards."""
    from rich.text import Text

    if entry is None:
        return Text("")
    mark, style = ("+", "green") if right else ("-", "red")
    if entry.move is not None:
        up, down = (f"↑{entry.move}", "cyan"), (f"↓{-entry.move}", "yellow")
        mark, style = ("", "") if entry.move == 0 or not right else up if entry.move > 0 else down
    star = "* " if entry.liked else ""
    return Text(f"{star}{run.titled(entry.item)} {mark}".rstrip(), style=style + (" bold" if entry.liked else ""))
