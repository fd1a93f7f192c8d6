"""`hexarec methods`: the table of contents, one method in detail, and the grid of paradigms and stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import Json

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, help="What methods there are, what they need, and their options.")
HEADS = ("name", "title", "paradigms", "stages", "needs", "fidelity", "paper")


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@app.command("list")
def list_(
    paradigm: Annotated[int | None, typer.Option(min=1, max=6, help="Only methods of this paradigm.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only methods of this stage: retrieve, rank, ...")] = None,
    needs: Annotated[str | None, typer.Option(help="Only methods that need this: text, torch, label, ...")] = None,
    classic: Annotated[bool, typer.Option("--classic", help="Only baselines.")] = False,
    json_: Json = False,
) -> None:
    """All methods and baselines, or some of them."""
    from hexarec.cli.shared import next_steps, say_json, screen, table_of
    from hexarec.core.cards import DATA_NEEDS, MODEL_NEEDS
    from hexarec.core.verbs import STAGES
    from hexarec.pipeline.build import cards
    from hexarec.pipeline.described import row_of

    _known("stage", stage, list(STAGES))
    _known("need", needs, sorted(DATA_NEEDS | MODEL_NEEDS))
    rows = [
        row_of(card)
        for card in cards().values()
        if (paradigm is None or paradigm in card.paradigms)
        and (stage is None or stage in card.stages)
        and (needs is None or needs in card.needs)
        and (not classic or (not card.paradigms and card.stages))
    ]
    if json_:
        say_json(rows)
        return
    screen().print(table_of("", HEADS, [[_words(row[head]) for head in HEADS] for row in rows]))
    next_steps(f"hexarec methods show {rows[0]['name'] if rows else 'llmrank'}")


def _known(what: str, name: str | None, names: list[str]) -> None:
    import difflib

    from hexarec.core import OptionError

    if name is not None and name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise OptionError(f"there is no {what} {name!r}", hint=f"{guess}known: {', '.join(names)}")


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The name of a method.")], json_: Json = False) -> None:
    """One method: where it comes from, what it needs, its options with types and defaults."""
    import sys

    from hexarec.cli.shared import say, say_json, screen, table_of
    from hexarec.pipeline.build import card
    from hexarec.pipeline.described import options_of, row_of

    found = card(name)
    cls = found.load()
    options = options_of(cls)
    about = {**row_of(found), "doc": (sys.modules[cls.__module__].__doc__ or "").strip(), "options": options}
    if json_:
        say_json(about)
        return
    say(f"{found.name}: {found.title}")
    for head in ("paper", "paradigms", "sections", "stages", "needs", "fidelity"):
        if about[head]:
            say(f"  {head}: {_words(about[head])}")
    say(f"\n{about['doc']}\n")
    say((cls.__doc__ or "").strip())
    rows = [[row["name"], row["type"], row["default"], row["doc"]] for row in options]
    screen().print(table_of("options", ("name", "type", "default", ""), rows))


@app.command("grid")
def grid() -> None:
    """The paradigm x stage grid as Markdown."""
    from hexarec.cli.shared import say
    from hexarec.pipeline.grid import grid as made

    say(made().rstrip())
