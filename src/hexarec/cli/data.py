"""`hexarec data`: import, check, split and describe data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import Json, Seed

if TYPE_CHECKING:
    from hexarec.core import Dataset
    from hexarec.data.health import Health
    from hexarec.data.split import Split

app = typer.Typer(no_args_is_help=True, help="Import, check, split and describe data sets.")
Source = Annotated[str, typer.Argument(help="A data set: films, world:NAME, a stored folder, or raw files.")]


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file or folder of any known layout.")],
    out: Annotated[Path | None, typer.Option(help="Where to store the data set; without it nothing is kept.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="The layout, when it is not to be guessed.")] = None,
    map_: Annotated[str | None, typer.Option("--map", help="Columns, e.g. user=uid,item=sku,time=ts.")] = None,
    like: Annotated[str | None, typer.Option(help="What counts as liked: '>=4', 'kind in purchase'.")] = None,
    name: Annotated[str | None, typer.Option(help="The name of the data set.")] = None,
    items: Annotated[Path | None, typer.Option(help="A separate item table.")] = None,
    users: Annotated[Path | None, typer.Option(help="A separate user table.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse events on unknown items.")] = False,
    encoding: Annotated[str | None, typer.Option(help="Of text that is not UTF-8, e.g. gbk or latin-1.")] = None,
    json_: Json = False,
) -> None:
    """Read CSV, JSON lines, Parquet, MovieLens, Amazon, MIND, Steam or RecBole files, with row-level errors."""
    from hexarec.cli.hints import for_command_line
    from hexarec.cli.progress import working
    from hexarec.cli.shared import again, next_steps, quoted, say, say_json, warn
    from hexarec.data.describe import describe
    from hexarec.data.importer import import_data

    with working():
        made = import_data(
            path, format=format_, mapping=mapping_of(map_), like=like, name=name, out=out, strict=strict,
            items=items, users=users, encoding=encoding,
        )  # fmt: skip
    if json_:
        say_json({**made.report.as_dict(), "out": out, "name": made.dataset.name})
    else:
        say(describe(made.dataset))
        for sentence in made.report.sentences():
            say(f"  {for_command_line(sentence)}")
        for row in made.report.rejects.head(5).iter_rows(named=True):
            warn(f"{row['_file']}:{row['_line']}: {row['column']}: {row['reason']} ({row['value']!r})")
    if out is None:
        same = again({
            "--format": format_, "--map": map_, "--like": like, "--name": name, "--items": items, "--users": users,
            "--strict": strict, "--encoding": encoding,
        })  # fmt: skip
        next_steps(f"hexarec data import {quoted(path)}{same} --out FOLDER   (nothing was stored)")
    else:
        next_steps(f"hexarec data check {quoted(out)}", f"hexarec init --data {quoted(out)}")


def mapping_of(text: str | None) -> dict[str, str]:
    """Ours to theirs from `user=uid,item=sku`. Raises OptionError."""
    from hexarec.core import OptionError

    made: dict[str, str] = {}
    for part in (text or "").split(","):
        ours, equals, theirs = (one.strip() for one in part.partition("="))
        if part.strip() and not (ours and equals and theirs):
            raise OptionError(f"cannot read {part!r} in the mapping", hint="write user=user_id,item=sku,time=ts")
        if part.strip():
            made[ours] = theirs
    return made


@app.command("check")
def check(
    source: Source,
    html: Annotated[Path | None, typer.Option(help="Write the report with plots to this file too.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when something is bad.")] = False,
    json_: Json = False,
) -> None:
    """The health report: what a data set is like, what is wrong with it, and what to do."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import next_steps, quoted, say, say_json, screen
    from hexarec.data.health import render_terminal, write_html

    with working():
        health = checked(source)
    if json_:
        say_json(health.as_dict())
    else:
        screen().print(render_terminal(health))
    if html is not None:
        write_html(health, html)
        if not json_:
            say(f"written: {html}")
    next_steps(f"hexarec init --data {quoted(source)}")
    if strict and health.level == "bad":
        raise typer.Exit(1)


def checked(source: str) -> Health:
    """The health of a stored data set (with what its import refused), of raw files, or of a data set by name."""
    import json

    from hexarec.data.checks import empty_rejects
    from hexarec.data.health import check as look
    from hexarec.data.importer import import_data
    from hexarec.data.report import ImportReport
    from hexarec.data.store import about_dataset, is_dataset, open_data

    if is_dataset(source):
        kept = about_dataset(source).get("import")
        told = None if kept is None else json.loads(kept["report"])
        return look(open_data(source), None if told is None else ImportReport(**told, rejects=empty_rejects()))
    if Path(source).exists():
        made = import_data(source)
        return look(made.dataset, made.report)
    return look(open_data(source))


@app.command("describe")
def describe_(source: Source) -> None:
    """A data set in a few lines."""
    from hexarec.cli.shared import say
    from hexarec.data.describe import describe
    from hexarec.data.store import open_data

    say(describe(open_data(source)))


@app.command("split")
def split(
    source: Source,
    by: Annotated[str, typer.Option(help="global, last, cold-items, cold-users or system-cold.")] = "global",
    out: Annotated[Path | None, typer.Option(help="Folder for the training data, the truth and a summary.")] = None,
    valid: Annotated[float, typer.Option(help="Share of the validation (global).")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the test (global).")] = 0.1,
    share: Annotated[float, typer.Option(help="Share of hidden items or users (cold).")] = 0.2,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Cut a data set as the experiments do; with --out, write what may be learned from and what was right."""
    from hexarec.cli.shared import say, say_json
    from hexarec.data.store import open_data

    made = cut(open_data(source), by, valid, test, share, seed)
    if out is not None:
        write_split(made, out, by)
    if json_:
        say_json({**summary(made, by), "out": out})
        return
    say(made.rule)
    for name, number in made.notes.items():
        say(f"  {name}: {number:,}")
    if out is not None:
        say(f"written: {out} (train/, {', '.join(f'{part}.jsonl' for part in parts(made))}, split.json)")


def cut(data: Dataset, by: str, valid: float, test: float, share: float, seed: int) -> Split:
    """The split of that name. Raises OptionError for an unknown one."""
    from hexarec.core import OptionError
    from hexarec.data.split import cold_items, cold_users, global_time, leave_last, system_cold

    rules = {
        "global": lambda: global_time(data, valid, test),
        "last": lambda: leave_last(data, valid > 0),
        "cold-items": lambda: cold_items(data, share, seed),
        "cold-users": lambda: cold_users(data, share=share, seed=seed),
        "system-cold": lambda: system_cold(data),
    }
    if by not in rules:
        raise OptionError(f"unknown split {by!r}", hint=f"use one of {', '.join(rules)}")
    return rules[by]()


def parts(made: Split) -> dict[str, Any]:
    """The parts that have questions, by name."""
    return {name: cases for name, cases in (("valid", made.valid), ("test", made.test)) if cases is not None}


def summary(made: Split, by: str) -> dict[str, Any]:
    """The rule, what was left out, and the sizes."""
    sizes = {name: len(cases) for name, cases in parts(made).items()}
    return {"by": by, "rule": made.rule, "notes": dict(made.notes), "train": len(made.train.interactions), **sizes}


def write_split(made: Split, out: Path, by: str) -> None:
    """train/ as a data set, one JSON line per question and its truth, and split.json; put in place in one move."""
    import json

    from hexarec.core import DataError
    from hexarec.core.atomic import atomic_folder
    from hexarec.data.store import write_dataset

    if out.exists() and not (out / "split.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is no split", hint="choose an empty or new folder")
    with atomic_folder(out) as beside:
        write_dataset(made.train, beside / "train")
        for name, cases in parts(made).items():
            (beside / f"{name}.jsonl").write_text("".join(_lines(cases)), "utf-8")
        (beside / "split.json").write_text(json.dumps(summary(made, by), indent=1, ensure_ascii=False), "utf-8")


def _lines(cases: Any) -> Any:
    """One JSON line per question: user, moment, history and truth as item ids, oldest first."""
    import json
    import math

    catalog, names = cases.queries.catalog, cases.queries.user_ids()
    for i, query in enumerate(cases.queries):
        row = {
            "user": names[i],
            "now": query.now if math.isfinite(query.now) else None,
            "history": catalog.ids(list(query.items)),
            "truth": catalog.ids(cases.truth[i].items),
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"
