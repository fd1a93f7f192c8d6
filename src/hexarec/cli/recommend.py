"""`hexarec recommend`: a list for a user of the data, or for anybody who names a few things they liked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import CONFIG, BudgetCalls, BudgetTokens, BudgetUsd, Data, Deadline, Json, Seed

if TYPE_CHECKING:
    from hexarec.core import Answer, Dataset, Queries
    from hexarec.pipeline.pipeline import Pipeline


def recommend(
    model: Annotated[Path | None, typer.Argument(help="A folder that `hexarec fit` wrote.")] = None,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="Fit this configuration first.")] = None,
    user: Annotated[str | None, typer.Option(help="A user of the data set.")] = None,
    history: Annotated[Path | None, typer.Option(help="Liked items or titles: .csv, .jsonl or .txt.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="A liked title or item id; may be repeated.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the list.")] = 10,
    where: Annotated[str | None, typer.Option(help='A filter: {"field":"year","op":">=","value":1990}.')] = None,
    text: Annotated[str | None, typer.Option(help="A wish in words, for stages that read it.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of titles and reasons.")] = None,
    data: Data = None,
    seed: Seed = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Show what every stage did.")] = False,
    json_: Json = False,
    deadline: Deadline = None,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    budget_tokens: BudgetTokens = None,
) -> None:
    """Recommend, with reasons: for a user of the data, or for anybody from a history or a few titles."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import warn

    with working(deadline=deadline, budget_usd=budget_usd, budget_calls=budget_calls, budget_tokens=budget_tokens):
        pipeline = opened(model, config, data, seed)
        queries, notes = asked(pipeline.data, user, history, like or [], where, text, lang)
        notes += _unspoken(pipeline.data, lang)
        for note in notes:
            warn(note)
        answer = heard(pipeline, pipeline.recommend(queries, k), text)
    _show(answer, queries, trace, json_)


def heard(pipeline: Pipeline, answer: Answer, text: str | None) -> Answer:
    """The answer, which says so when no stage read the wish in words."""
    from dataclasses import replace

    from hexarec.pipeline.wishes import reads_text, unread

    if not text or reads_text(pipeline):
        return answer
    return replace(answer, degraded=(*answer.degraded, unread("pipeline")))


def opened(model: Path | None, config: Path | None, data: str | None, seed: int) -> Pipeline:
    """The pipeline of a model folder with its data, or one fitted now."""
    from hexarec.cli.systems import open_configured
    from hexarec.core import OptionError
    from hexarec.eval.opening import guarded, pipeline_of
    from hexarec.pipeline.config import in_file, read_toml
    from hexarec.pipeline.save import load

    if model is not None and config is not None:
        raise OptionError("give a model folder or a configuration, not both")
    if model is not None:
        made: Pipeline = guarded(load(model, served(model, data)))
        return made
    told = read_toml(config or CONFIG)
    with in_file(config or CONFIG):
        pipeline = pipeline_of(told)
    return pipeline.fit(open_configured(told, (config or Path(CONFIG)).parent, data), seed=seed)


def served(model: Path, given: str | None) -> Dataset:
    """The data set a saved pipeline serves: the given one, the one it was fitted on, or the films if it is theirs."""
    from hexarec.cli.work import SOURCE
    from hexarec.core import OptionError, manifest
    from hexarec.data.store import BUNDLED, open_data

    about = manifest(model)
    if given is not None:
        return open_data(given)
    noted = noted_source(model / SOURCE)
    if noted is not None:
        from hexarec.cli.systems import open_configured
        from hexarec.pipeline.config import read_toml

        path, config = noted
        section = read_toml(config).get("data", {}) if config.is_file() else {}
        return open_configured({"data": {**section, "path": path}}, config.parent)
    from hexarec.data.films import catalog

    if about.get("catalog") == catalog().key:
        return open_data(BUNDLED)
    raise OptionError(f"{model} does not say which data set it serves", hint="give --data")


def noted_source(place: Path) -> tuple[str, Path] | None:
    """The data set and the configuration that `fit` noted beside a pipeline; None without a note. Raises StateError."""
    import json

    from hexarec.core import StateError

    try:
        told = json.loads(place.read_text("utf-8"))
        path, config = told["data"], told["config"]
        if not (isinstance(path, str) and isinstance(config, str)):
            raise TypeError("data and config are not text")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateError(f"{place} is damaged: {error}", hint="delete it, and give --data") from None
    return path, Path(config)


def asked(
    data: Dataset, user: str | None, history: Path | None, like: list[str],
    where: str | None, text: str | None, lang: str | None,
) -> tuple[Queries, list[str]]:  # fmt: skip
    """The one question, and notes on titles that were guessed or not found. Raises DataError, OptionError."""
    import json

    import numpy as np

    from hexarec.cli.history import Named, grounded, read_history
    from hexarec.core import OptionError, Queries, strings

    tree = None
    if where is not None:
        try:
            tree = json.loads(where)
        except (ValueError, RecursionError) as error:
            raise OptionError(f"--where is not JSON: {error}", hint='{"field":"year","op":">=","value":1990}') from None
        if tree is None:
            raise OptionError("--where is null", hint="leave it out for no filter")
    if user is None:
        named = [*(read_history(history) if history else ()), *(Named(one) for one in like)]
        if not named and text is None:
            raise OptionError("nobody was named", hint="give --user ID, --history FILE, --like 'Title' or --text")
        # as written, oldest first: what --like says is newer than the file
        if history and like:
            named = [Named(one.words, one.kind, one.value) for one in named]
        events, notes = grounded(data.catalog, named)
        bound = data.interactions.smallest_liked
        return Queries.one(data.catalog, history=events, text=text, where=tree, lang=lang, like=bound), notes
    if history or like:
        raise OptionError("--user has a history already", hint="leave --history and --like out")
    row = data.users.ids.rows([user])
    if row[0] < 0:
        raise _unknown(user, data)
    made = data.queries(np.asarray(row), lang=lang)
    if text is not None:
        from dataclasses import replace

        made = replace(made, text=strings([text]))
    return made if tree is None else made.filtered(tree), []


def _unspoken(data: Dataset, lang: str | None) -> list[str]:
    """A note where the catalog has no words in the language that is wanted."""
    known = sorted({data.catalog.lang, *(code for _, code in data.catalog.text)})
    if lang is None or lang in known:
        return []
    return [f"{data.name} has no words in {lang!r}, only in {', '.join(known)}"]


def _unknown(user: str, data: Dataset) -> Exception:
    import difflib

    from hexarec.core import DataError

    ids = data.users.ids.ids.tolist()
    near = difflib.get_close_matches(user, ids, n=3) or ids[:3]
    return DataError(f"no user {user!r} in {data.name}", hint=f"near: {', '.join(near)}; or name --like 'Title'")


def _show(answer: Answer, queries: Queries, trace: bool, json_: bool) -> None:
    from hexarec.cli.shared import say, say_json, screen, table_of, warn
    from hexarec.pipeline.show import TRACE_HEADS
    from hexarec.pipeline.show import trace as steps

    if json_:
        say_json(as_json(answer, queries, trace))
        return
    rows = as_json(answer, queries, False)
    say(f"for {rows['user'] or 'somebody'} who liked: {'; '.join(rows['liked'][-5:]) or 'nothing known'}")
    cells = [[it["rank"], it["title"], it["item_id"], it.get("reason", {}).get("text", "")] for it in rows["items"]]
    screen().print(table_of("", ("#", "title", "item", "why"), cells, ("#",)))
    if not cells:
        warn("the list is empty: no item passes the filter, or no stage found one (--trace shows what each did)")
    for one in answer.degraded:
        warn(f"degraded: {one.stage} {one.method}: {one.reason}")
    if trace:
        right = tuple(head for head in TRACE_HEADS if head not in ("stage", "method", "status"))
        screen().print(table_of("trace", TRACE_HEADS, steps(answer), right))


def as_json(answer: Answer, queries: Queries, trace: bool) -> dict[str, Any]:
    """The first list of an answer as JSON values."""
    from dataclasses import asdict

    from hexarec.parts.render import titles

    query, ranked, catalog = queries[0], answer.items[0], queries.catalog
    names = titles(catalog, ranked.items, query.lang)
    items: list[dict[str, Any]] = []
    for place, (item, name) in enumerate(zip(catalog.ids(ranked.items), names, strict=True)):
        one: dict[str, Any] = {"rank": place + 1, "item_id": item, "title": name, "score": float(ranked.scores[place])}
        if answer.reasons is not None:
            words = answer.reasons[0].items[place]
            one["reason"] = {"text": words.text, "status": words.status}
        items.append(one)
    past = [row for row, liked in zip(query.items, query.liked, strict=True) if liked]
    made: dict[str, Any] = {
        "user": query.user, "liked": titles(catalog, past, query.lang), "items": items,
        "degraded": [asdict(one) for one in answer.degraded],
    }  # fmt: skip
    return {**made, "trace": [asdict(one) for one in answer.trace]} if trace else made
