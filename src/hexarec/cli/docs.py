"""`python -m hexarec.cli.docs [--check]`: fills the generated parts of README and docs, or names those out of date.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; what is between is replaced. Names are
the keys of `PARTS`; `options` takes the name of a card, for example `<!-- generated: options llmrank -->`.

The tables under docs/results are written in short into the package as well.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hexarec.core import Card, HexarecError, OptionError

BLOCK = re.compile(r"(<!-- generated: ([^\n]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
LAYERS = ("core", "data", "lm", "metrics", "parts", "classic", "methods", "pipeline", "eval", "testing", "serve", "cli")
BY_MODULE = frozenset({"core", "lm", "methods", "pipeline"})  # packages whose modules get a line each
PUBLISHED = Path("src/hexarec/eval/published.json")
WIDTH = 110
SURVEY = "hexarec bench -c benchmarks/survey.toml"


def pages(root: Path) -> list[Path]:
    """Every Markdown page of the project that may hold generated parts."""
    return [*sorted(root.glob("README*.md")), *sorted((root / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The page with every generated part made anew. Raises OptionError for a part nobody makes."""

    def part(found: re.Match[str]) -> str:
        name, _, rest = found[2].partition(" ")
        if name not in PARTS:
            raise OptionError(f"no generated part is called {name!r}", hint=f"parts: {', '.join(PARTS)}")
        return f"{found[1]}{PARTS[name](rest).strip()}\n{found[4]}"

    return BLOCK.sub(part, text)


def stale(root: Path) -> list[Path]:
    """The pages whose generated parts are out of date."""
    made = [page for page in pages(root) if (text := page.read_text("utf-8")) != filled(text)]
    kept = root / PUBLISHED
    results = _results(root)
    return [*made, kept] if results and (not kept.is_file() or kept.read_text("utf-8") != results) else made


def _results(root: Path) -> str:
    """What `hexarec.eval.published` ships; "" where there are no results."""
    from hexarec.eval.published import gathered

    folder = root / "docs" / "results"
    return gathered(folder, [card.name for card in _cards()]) if folder.is_dir() else ""


def write(root: Path) -> list[Path]:
    """Fill every page; returns those that changed."""
    changed = stale(root)
    for page in changed:
        page.write_text(_results(root) if page == root / PUBLISHED else filled(page.read_text("utf-8")), "utf-8")
    return changed


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def sentence(text: str | None) -> str:
    """The first sentence of a docstring, on one line, without its full stop."""
    words = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", words, maxsplit=1)[0].rstrip(".")


def _grid(_: str) -> str:
    from hexarec.pipeline.grid import grid

    return grid()


def _tree(_: str) -> str:
    lines = ["```", "src/hexarec/"]
    for layer in LAYERS:
        package = importlib.import_module(f"hexarec.{layer}")
        lines.append(f"  {layer + '/':<12}{sentence(package.__doc__)}")
        found = [one for one in _modules(package) if not one[0].startswith("_")]
        if layer in BY_MODULE:
            lines += [f"    {name:<18}{said}" for name, said in found]
        elif found:
            lines += textwrap.wrap(" ".join(name for name, _ in found), WIDTH, initial_indent=" " * 4,
                                   subsequent_indent=" " * 4)  # fmt: skip
    return "\n".join([*lines, "```"])


def _modules(package: Any) -> Iterator[tuple[str, str]]:
    """File name and first sentence of every module of a package, without importing them."""
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        place = Path(package.__path__[0]) / info.name
        file = place / "__init__.py" if info.ispkg else place.with_suffix(".py")
        yield (
            info.name + ("/" if info.ispkg else ".py"),
            sentence(ast.get_docstring(ast.parse(file.read_text("utf-8")))),
        )


def _cards() -> list[Card]:
    from hexarec.classic import CLASSIC
    from hexarec.methods import METHODS

    return [*METHODS, *CLASSIC]


def _methods(_: str) -> str:
    rows = [
        [f"`{c.name}`", c.title, ", ".join(c.stages), ", ".join(map(str, sorted(c.paradigms))) or "baseline",
         ", ".join(sorted(c.needs)), c.fidelity]
        for c in _cards()
    ]  # fmt: skip
    return table(("name", "what it is", "stages", "paradigm", "needs", "fidelity"), rows)


def _papers(_: str) -> str:
    from hexarec.pipeline.described import paragraphs

    rows = []
    for card in _cards():
        module, _, cls = card.where.partition(":")
        file = f"../src/{module.replace('.', '/')}.py"
        differs = paragraphs(card.load()).get("Differs", "")
        rows.append([f"`{card.name}`", card.paper, f"[`{cls}`]({file})", card.fidelity, differs])
    return table(("name", "paper", "class", "fidelity", "what differs"), rows)


def _options(name: str) -> str:
    """Option, type, default and meaning of every constructor field of a card's class."""
    from hexarec.pipeline.build import card

    return _fields(card(name).load())


def _settings(_: str) -> str:
    """The section [serve]."""
    from hexarec.serve.settings import Settings

    return _fields(Settings, without=("origin",))


def _fields(cls: type, without: Sequence[str] = ()) -> str:
    from hexarec.pipeline.described import options_of, type_said

    hints = typing.get_type_hints(cls)
    rows = []
    for one in options_of(cls):
        if one["name"] in without:
            continue
        default = one["default"] if one["default"] == "required" else f"`{one['default']}`"
        rows.append([f"`{one['name']}`", type_said(hints[one["name"]], one["type"]), default, one["doc"].rstrip(".")])
    return table(("option", "type", "default", "meaning"), rows)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command of the command line: its words ("data import") and the click command."""
    import typer

    from hexarec.cli.main import app

    def inside(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        for name, one in getattr(command, "commands", {}).items():
            if not one.hidden:
                yield from inside(f"{words} {name}".strip(), one)
        if not hasattr(command, "commands"):
            yield words, command

    yield from inside("", typer.main.get_command(app))


def _commands(_: str) -> str:
    rows = []
    for words, command in commands():
        given = [one for one in command.params if one.param_type_name == "argument"]
        wanted = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in given]
        flags = [one.opts[-1] for one in command.params if one.param_type_name == "option" and not one.hidden]
        said = sentence(command.help)
        rows.append([f"`{' '.join(['hexarec', words, *wanted])}`", said, " ".join(f"`{flag}`" for flag in flags)])
    return table(("command", "what it does", "options"), rows)


def errors() -> list[type[HexarecError]]:
    """Every public error."""
    from hexarec import core

    found = [one for one in vars(core).values() if isinstance(one, type) and issubclass(one, HexarecError)]
    return sorted(found, key=lambda one: (one is not HexarecError, one.__name__))


def _errors(_: str) -> str:
    rows = [[f"`{one.__name__}`", one.__mro__[1].__name__, sentence(one.__doc__)] for one in errors()]
    return table(("error", "is a", "when"), rows)


def _contracts(_: str) -> str:
    from hexarec.testing.contracts import ROWS

    rows = [[row.name, ", ".join(row.verbs) or "every stage", sentence(row.check.__doc__)] for row in ROWS]
    return table(("contract", "concerns", "what is promised"), rows)


def _default(_: str) -> str:
    from importlib import resources

    text = (resources.files("hexarec.pipeline") / "default.toml").read_text("utf-8")
    return f"```toml\n{text.strip()}\n```"


def _engines(_: str) -> str:
    from hexarec.lm.base import CAPABILITIES
    from hexarec.lm.kinds import KINDS

    rows = [
        [f"`{name}`", *("yes" if name in k.can else "probed" if name in k.maybe else "" for k in KINDS.values())]
        for name in CAPABILITIES
    ]
    rows.append(["needs", *(f"`[{kind.extra}]`" if kind.extra else "" for kind in KINDS.values())])
    return table(("", *(f"`{name}:`" for name in KINDS)), rows)


def _survey(_: str) -> str:
    """The table of benchmarks/survey.toml, as it was measured last."""
    kept = Path("docs/results/survey.json")
    if not kept.is_file():
        return f"Not measured yet: `{SURVEY}`."
    report = json.loads(kept.read_text("utf-8"))
    rows = [
        [
            row["system"],
            *(_interval(row["metrics"].get(name)) for name in ("ndcg@10", "recall@10")),
            *(_mean(row["metrics"].get(name)) for name in ("coverage@10", "ild_tags@10")),
            f"{row['costs']['fit_s']:.0f}",
            f"{row['costs']['ms/list']:.0f}",
            f"{row['costs']['tokens_in'] + row['costs']['tokens_out']:,.0f}",
        ]
        for row in report["rows"]
    ]
    heads = ("system", "NDCG@10", "recall@10", "coverage", "distance", "fit, s", "ms a list", "tokens a list")
    return f"{report['title']}. `{SURVEY}`\n\n{table(heads, rows)}"


def _interval(made: Any) -> str:
    return "" if made is None else f"{made['mean']:.3f} [{made['low']:.3f}, {made['high']:.3f}]"


def _mean(made: Any) -> str:
    return "" if made is None else f"{made['mean']:.2f}"


PARTS: dict[str, Callable[[str], str]] = {
    "grid": _grid, "tree": _tree, "methods": _methods, "papers": _papers, "options": _options, "commands": _commands,
    "errors": _errors, "contracts": _contracts, "default": _default, "engines": _engines, "survey": _survey,
    "settings": _settings,
}  # fmt: skip
"""What can be generated, by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the pages under the current folder; with --check write nothing and name those out of date (status 1)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if set(given) - {"--check"}:
        sys.stderr.write("usage: python -m hexarec.cli.docs [--check]\n")
        return 2
    root = Path.cwd()
    found = stale(root) if given else write(root)
    for page in found:
        sys.stdout.write(f"{'out of date' if given else 'written'}: {page.relative_to(root)}\n")
    if given and found:
        sys.stdout.write("run: python -m hexarec.cli.docs\n")
    return int(bool(given and found))


if __name__ == "__main__":
    sys.exit(main())
