"""`hexarec init` and `hexarec fit`: a configuration to change, and a fitted pipeline on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hexarec.cli.shared import CONFIG, BudgetCalls, BudgetTokens, BudgetUsd, Config, Data, Deadline, Seed

SOURCE = "source.json"
HEAD = """# hexarec.toml: the data, the pipeline, and what is compared. Change it, then:
#   hexarec estimate --queries 1000       what fitting and asking will cost; without --queries, what the bench will
#   hexarec fit --out model               fit the pipeline and keep it
#   hexarec recommend model --user ID     a list with reasons
#   hexarec bench --max-users 500         measure it beside the floors

[data]
path = "{data}"   # films, world:NAME, a stored folder, or raw files with the options of `hexarec data import`

"""
TAIL = """
# What `hexarec bench` compares; the floors (random, popular, item-kNN, EASE) are always there.
[bench]
split = "global"   # global, last, cold-items, cold-users, system-cold
max_users = 500
k = 20

[bench.systems.pipeline]
use = "pipeline"

[bench.systems.without-model]
use = "pipeline"
without = ["rank"]

# [bench.systems.neighbours]
# use = "itemknn"
# neighbours = 20
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write hexarec.toml.")] = Path(),
    data: Annotated[str, typer.Option(help="Data set: films, a stored folder, or raw files.")] = "films",
    lm: Annotated[str | None, typer.Option(help="Language model instead of gguf:smollm2.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Text encoder instead of minilm.")] = None,
    domain: Annotated[str | None, typer.Option(help="What items are: film, product, game, book, news, music.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write hexarec.toml: the default pipeline with its data and a bench, ready to change."""
    from hexarec.cli.shared import next_steps, quoted, say
    from hexarec.core import OptionError
    from hexarec.core.atomic import write_text
    from hexarec.parts.domain import known_domain

    target = folder / CONFIG
    if target.exists() and not force:
        raise OptionError(f"{target} exists", hint="--force overwrites it")
    known = domain or ("film" if data == "films" else "item")
    known_domain(known)
    say(f"written: {write_text(target, config_text(data, lm, encoder, known))}")
    where = "" if folder == Path() else f" -c {quoted(target)}"
    next_steps(f"hexarec estimate{where}", f"hexarec fit{where} --out model")


def config_text(data: str, lm: str | None, encoder: str | None, domain: str) -> str:
    """The text of a new configuration. Raises OptionError for a model name nobody knows."""
    import json
    from importlib import resources

    from hexarec.lm.open import check_encoder, check_lm

    for name, check in ((lm, check_lm), (encoder, check_encoder)):
        if name is not None:
            check(name)
    text = (resources.files("hexarec.pipeline") / "default.toml").read_text("utf-8")
    text = text.partition("\n")[2]  # its first line speaks of the copy this becomes
    for old, new in (("gguf:smollm2", lm), ("minilm", encoder)):
        if new is not None:
            text = text.replace(f'"{old}"', json.dumps(new, ensure_ascii=False))
    text = text.replace('domain = "item"', f'domain = "{domain}"')
    return HEAD.replace('"{data}"', json.dumps(data, ensure_ascii=False)) + text + TAIL


def fit(
    out: Annotated[Path, typer.Option(help="Folder for the fitted pipeline.")],
    config: Config = Path(CONFIG),
    data: Data = None,
    seed: Seed = 0,
    deadline: Deadline = None,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
) -> None:
    """Fit the pipeline of a configuration on all its data and keep it."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import next_steps, quoted, say
    from hexarec.cli.systems import open_configured
    from hexarec.eval.experiment import facts_of
    from hexarec.eval.opening import pipeline_of
    from hexarec.pipeline.config import in_file, read_toml
    from hexarec.pipeline.save import save

    told = read_toml(config)
    with in_file(config):
        pipeline = pipeline_of(told)
    from hexarec.core.state import check_target

    with working(
        deadline=deadline, budget_usd=budget_usd, budget_calls=budget_calls, budget_tokens=budget_tokens
    ) as work:
        dataset = open_configured(told, config.parent, data)
        check_target(out)  # before the work, not after it
        pipeline.fit(dataset, seed=seed)
        spent = work.ledger.snapshot()
    save(pipeline, out)
    keep_source(out, data or told.get("data", {}).get("path", ""), config)
    say(f"fitted {pipeline.name} on {dataset.name}: {dataset.n_items:,} items, {len(dataset.interactions):,} events")
    for name, value in facts_of(pipeline).items():
        say(f"  {FACTS.get(name, name)}: {_short(value)}")
    if spent["calls"]:
        say(f"  spent on models: {spent['calls']:,.0f} calls, {spent['tokens_in'] + spent['tokens_out']:,.0f} tokens")
    say(f"written: {out}")
    some = next(iter(dataset.users.ids.ids.tolist()), "ID")
    next_steps(f"hexarec recommend {quoted(out)} --user {quoted(some)} --trace")


FACTS = {
    "weight": "weight of the ranker",
    "curve": "NDCG@10 on validation by weight",
    "gain": "best gain over weight 0",
    "error": "standard error of this gain",
    "asked": "validation users asked",
}


def _short(value: Any) -> str:
    """A learned value as words, numbers to four digits, a curve as x: y."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, list | tuple) for one in value):
        return ", ".join(": ".join(_short(part) for part in one) for one in value)
    if isinstance(value, list | tuple):
        return f"({', '.join(_short(one) for one in value)})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def keep_source(out: Path, data: str, config: Path) -> None:
    """Note beside a fitted pipeline which data set it serves, so that `recommend` finds it."""
    import json

    from hexarec.cli.systems import located
    from hexarec.core.atomic import write_text

    path = Path(located(data, config.parent))
    about: dict[str, Any] = {"data": str(path.resolve()) if path.exists() else data, "config": str(config.resolve())}
    write_text(out / SOURCE, json.dumps(about, indent=1))
