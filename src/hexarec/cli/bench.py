"""`hexarec bench` and `hexarec estimate`; `hexarec.cli.systems` describes the file both read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import CONFIG, BudgetCalls, BudgetTokens, BudgetUsd, Config, Data, Deadline, Json, Seed

if TYPE_CHECKING:
    from hexarec.eval.estimate import Estimate

RUNS = Path("runs")
LISTS = 1_000
"""Lists of a pipeline whose cost is told where nobody says how many."""
FIRST = 500
"""Users of a first bench, as it is proposed."""
TaskOption = Annotated[str | None, typer.Option("--task", help="What is measured: ranking, labels or text.")]
PairsOption = Annotated[
    str | None, typer.Option("--pairs", help="Labelled pairs of the task labels: user, history, item, label.")
]
HEADS = ("system", "calls", "of these to fit", "tokens in", "tokens out", "texts", "time", "memory MB", "dollars")


def bench(
    config: Config = Path(CONFIG),
    data: Data = None,
    task: TaskOption = None,
    pairs: PairsOption = None,
    only: Annotated[str | None, typer.Option(help="Systems to measure, by comma; all by default.")] = None,
    max_users: Annotated[int | None, typer.Option(min=1, help="A seeded sample of this many questions.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds by comma: one fit each.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; a new one under runs/ by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    json_: Json = False,
    deadline: Deadline = None,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
) -> None:
    """Measure systems beside the floors; finished work stays in the folder of the run."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import aside, next_steps, printable, quoted, say_json, screen
    from hexarec.cli.systems import experiment_of, open_configured
    from hexarec.core import BudgetError, DeadlineError
    from hexarec.eval.diff import check_questions
    from hexarec.eval.text import table
    from hexarec.pipeline.config import in_file, read_toml

    told = read_toml(config)
    folder = run_folder(out, config.stem, resume)
    with working(deadline=deadline, budget_usd=budget_usd, budget_calls=budget_calls, budget_tokens=budget_tokens):
        dataset = open_configured(told, config.parent, data)
        more = {"task": task, "pairs": pairs, "max_users": max_users, "seeds": numbers_of(seeds)}
        with in_file(config):
            experiment = experiment_of(told, config.parent, dataset, more, names_of(only))
        if resume:
            check_questions(folder, experiment.round())
        aside().print(printable(f"{experiment.round().title} -> {folder}"), markup=False)
        try:
            report = experiment.run(folder, resume=resume)
        except (BudgetError, DeadlineError) as error:
            error.hint = f"{error.hint}; what is finished stays in {folder}: go on with --resume"
            raise
    if json_:
        say_json(report.as_json())
    else:
        screen().print(table(report))
    user = next(iter(experiment.round().queries.user_ids()), "ID")
    next_steps(f"hexarec report {quoted(folder)} --html", f"hexarec diff {quoted(folder)} --user {quoted(user)}")


def names_of(text: str | None) -> list[str]:
    """A comma list as names."""
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def numbers_of(text: str | None) -> list[int] | None:
    """A comma list as whole numbers, None for none. Raises OptionError."""
    from hexarec.core import OptionError

    try:
        return [int(one) for one in names_of(text)] or None
    except ValueError:
        raise OptionError(f"--seeds {text!r} are not whole numbers", hint="write 0,1,2") from None


def run_folder(out: Path | None, stem: str, resume: bool) -> Path:
    """Where a run is kept: the given folder, the newest of this configuration to go on with, or a new one.

    Raises OptionError when the folder holds a run that would be mixed with this one.
    """
    from hexarec.core import OptionError

    if out is None and resume:
        known = sorted(RUNS.glob(f"{stem}-*/cells"), key=lambda one: one.stat().st_mtime)
        if not known:
            raise OptionError(f"there is no run of {stem} under {RUNS} to go on with", hint="leave --resume out")
        return known[-1].parent
    if out is None:
        return RUNS / f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not resume and any((out / "cells").glob("*.npz")):
        raise OptionError(f"{out} holds a run", hint="--resume goes on with it, another --out leaves it alone")
    return out


def estimate(
    config: Config = Path(CONFIG),
    data: Data = None,
    queries: Annotated[
        int | None,
        typer.Option(min=1, help="Lists of the pipeline itself; by default the bench, or 1,000 where there is none."),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Questions that are played through.")] = 5,
    only: Annotated[str | None, typer.Option(help="Systems of the bench, by comma.")] = None,
    max_users: Annotated[int | None, typer.Option(min=1, help="Questions of the bench.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the bench, by comma.")] = None,
    task: TaskOption = None,
    pairs: PairsOption = None,
    speed: Annotated[str | None, typer.Option(help="Measured tokens a second, read,written, e.g. 250,40.")] = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Say what a bench, or fitting and asking a pipeline, will cost; no model is asked."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import say_json
    from hexarec.core import OptionError
    from hexarec.eval.opening import with_stand_ins
    from hexarec.pipeline.config import read_toml

    told, notes = with_stand_ins(read_toml(config))
    more = {"task": task, "pairs": pairs, "max_users": max_users, "seeds": numbers_of(seeds)}
    of_bench = queries is None and "bench" in told
    if not of_bench and (only or any(more.values())):
        raise OptionError(
            "--only, --max-users, --seeds, --task and --pairs are of a bench, and the pipeline itself is estimated",
            hint="leave out --queries" if "bench" in told else f"write [bench] into {config}",
        )
    with working():
        if of_bench:
            made = _bench_costs(told, config, data, more, names_of(only), sample, speed)
        else:
            made = _pipeline_costs(told, config, data, queries or LISTS, sample, speed, seed)
    if json_:
        say_json({"systems": {name: vars(one) for name, one in made.items()}, "notes": notes})
    else:
        bench_too = {"--task": task, "--pairs": pairs, "--only": only, "--seeds": seeds}
        _show(made, notes, config, data, {**bench_too, "--max-users": max_users or FIRST})


def _bench_costs(
    told: Mapping[str, Any], config: Path, data: str | None, more: Mapping[str, Any], only: list[str],
    sample: int, speed: str | None,
) -> dict[str, Estimate]:  # fmt: skip
    from hexarec.cli.systems import experiment_of, open_configured
    from hexarec.eval.estimate import estimate as cost_of
    from hexarec.pipeline.config import in_file

    dataset = open_configured(told, config.parent, data)
    with in_file(config):
        experiment = experiment_of(told, config.parent, dataset, more, only)
    asked = experiment.round()
    return {
        name: cost_of(
            system, asked.train, len(asked.queries), experiment.k, sample=sample, tokens_per_second=rate_of(speed),
            asked=asked,
        ).times(len(experiment.seeds))
        for name, system in experiment.systems.items()
    }  # fmt: skip


def _pipeline_costs(
    told: Mapping[str, Any], config: Path, data: str | None, queries: int, sample: int, speed: str | None, seed: int
) -> dict[str, Estimate]:
    from hexarec.cli.systems import open_configured
    from hexarec.eval.estimate import estimate as cost_of
    from hexarec.eval.opening import pipeline_of

    pipeline = pipeline_of(told)
    dataset = open_configured(told, config.parent, data)
    return {
        pipeline.name: cost_of(
            pipeline, dataset, queries, sample=sample, tokens_per_second=rate_of(speed), seed=seed
        )
    }  # fmt: skip


def rate_of(text: str | None) -> tuple[float, float] | None:
    """Tokens a second, read and written. Raises OptionError."""
    from hexarec.core import OptionError

    if text is None:
        return None
    try:
        read, written = (float(one) for one in text.split(","))
    except ValueError:
        raise OptionError(f"cannot read the speed {text!r}", hint="write 250,40") from None
    if not (0 < read < float("inf") and 0 < written < float("inf")):
        raise OptionError(f"a speed of {text} is none", hint="write 250,40")
    return read, written


def _show(
    made: Mapping[str, Estimate], notes: list[str], config: Path, data: str | None, more: Mapping[str, Any]
) -> None:
    """The table. more: options of the bench that goes on from here."""
    from hexarec.cli.progress import clock_text
    from hexarec.cli.shared import again, next_steps, say, screen, table_of, warn

    rows = [
        [
            name, f"{one.calls:,}", f"{one.fit_calls:,}", f"{one.tokens_in:,}", f"{one.tokens_out:,}",
            f"{one.texts:,}", clock_text(one.seconds), f"{one.memory_mb:,.0f}", f"{one.usd:.4f}",
        ]
        for name, one in made.items()
    ]  # fmt: skip
    lists = next(iter(made.values())).n if made else 0
    screen().print(table_of(f"{lists:,} lists from each system, fitting included", HEADS, rows, HEADS[1:]))
    for sentence in dict.fromkeys(said for one in made.values() for said in one.assumptions):
        say(f"- {sentence}")
    for note in notes:
        warn(note)
    same = again({"-c": config, "--data": data})
    next_steps(f"hexarec bench{same}{again(more)} --budget-calls N", f"hexarec fit{same} --out model")
