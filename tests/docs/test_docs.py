"""Docs that cannot go stale: blocks run, commands exist, generated parts are in sync, links lead somewhere."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hexarec.classic import CLASSIC
from hexarec.cli import docs
from hexarec.data.worlds import WORLDS
from hexarec.lm.base import CAPABILITIES
from hexarec.methods import METHODS
from hexarec.metrics import TABLE
from hexarec.pipeline.build import COMBINATORS

from .pages import ROOT, blocks, expected, pages, run_block, same, shell_lines

QUICKSTART = ROOT / "docs" / "quickstart.md"
# executed elsewhere: needs the network, or is the subject of a test of its own
NOT_RUN = {("models", "install"), ("doctor",), ("demo",)}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")


def name_of(page):
    return str(page.relative_to(ROOT))


def with_python(page):
    return any(block.lang == "python" for block in blocks(page))


def checked_run(page, place, all_blocks, namespace):
    said = run_block(all_blocks[place], page, namespace)
    shown = expected(all_blocks, place)
    if shown is not None:
        assert same(said, shown), f"{name_of(page)}:{all_blocks[place].line} prints\n{said}\nbut shows\n{shown}"


# ---------------------------------------------------------------- (a) Python blocks
@pytest.mark.parametrize("page", [p for p in pages() if with_python(p) and p != QUICKSTART], ids=name_of)
def test_python_blocks_run_and_print_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    all_blocks = blocks(page)
    namespace = {"__name__": "page"}
    for place, block in enumerate(all_blocks):
        if block.lang == "python":
            checked_run(page, place, all_blocks, namespace)


def test_a_wrong_output_would_be_noticed():
    assert same("a\nb 1\n", "a\nb 1")
    assert not same("a\nb 2\n", "a\nb 1")
    assert same("a\nx\ny\nc\n", "a\n...\nc")
    assert same("took 12 s\n", "took ... s")
    assert not same("a\n", "a\n...\nc")


# ---------------------------------------------------------------- (b) console lines
def known_commands():
    return {tuple(words.split()): command for words, command in docs.commands()}


def split_command(words, known):
    """The command of a line and the words behind it."""
    words = [word for word in words if word != "--debug"]
    for length in (2, 1):
        if tuple(words[:length]) in known:
            return tuple(words[:length]), words[length:]
    return None, words


CONSOLE = [
    (name_of(page), block.line, words)
    for page in pages()
    for block in blocks(page)
    if block.lang in ("bash", "console", "sh", "")
    for words in shell_lines(block)
]


@pytest.mark.parametrize(("page", "line", "words"), CONSOLE, ids=[f"{p}:{n}:{' '.join(w[:2])}" for p, n, w in CONSOLE])
def test_console_lines_are_real_commands_with_real_options(page, line, words):
    known = known_commands()
    command, rest = split_command(words, known)
    assert command is not None, f"{page}:{line}: no command hexarec {' '.join(words[:2])}"
    real = {flag for param in known[command].params for flag in (*param.opts, *param.secondary_opts)}
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in real | {"--help"}, (
                f"{page}:{line}: hexarec {' '.join(command)} has no {word}"
            )


def test_every_command_answers_help():
    from hexarec.cli.main import app

    for command in known_commands():
        made = CliRunner().invoke(app, [*command, "--help"])
        assert made.exit_code == 0, made.output


def test_inline_commands_exist():
    known = known_commands()
    groups = {command[0] for command in known}
    for page in pages():
        for text in re.findall(r"`hexarec ([a-z][^`]*)`", page.read_text("utf-8")):
            words = text.split()
            alternatives = [one for one in re.split(r"[ |,]+", text) if one]
            listed = words[0] in groups and all(
                (words[0], one) in known for one in alternatives[1:] if one.isalpha() and one.islower()
            )
            assert split_command(words, known)[0] or listed, f"{name_of(page)}: no command `hexarec {text}`"


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in pages():
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert named <= targets, f"{name_of(page)}: make {named - targets}"


def on_doubles(words):
    """A console line of the quickstart with doubles in place of the embedded models."""
    return [*words, "--lm", "fake:overlap", "--encoder", "tfidf"] if words[0] == "init" else words


def test_the_quickstart_runs_from_top_to_bottom(tmp_path, monkeypatch):
    from hexarec.cli.main import app

    monkeypatch.chdir(tmp_path)
    all_blocks = blocks(QUICKSTART)
    namespace = {"__name__": "page"}
    ran = []
    for place, block in enumerate(all_blocks):
        if block.lang == "python":
            checked_run(QUICKSTART, place, all_blocks, namespace)
        for words in shell_lines(block) if block.lang == "bash" else ():
            command, _ = split_command(words, known_commands())
            if command in NOT_RUN:
                continue
            made = CliRunner().invoke(app, on_doubles(words))
            assert made.exit_code == 0, f"line {block.line}: {' '.join(words)}\n{made.output}\n{made.exception!r}"
            ran.append(command[0])
            shown = expected(all_blocks, place)
            if shown is not None:
                assert same(made.stdout, shown), f"line {block.line} prints\n{made.stdout}"
    assert {"data", "init", "estimate", "fit", "recommend", "bench", "report", "diff"} <= set(ran)
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


def test_toml_blocks_are_toml():
    import tomllib

    for page in pages():
        for block in blocks(page):
            if block.lang == "toml":
                tomllib.loads(block.text)


# ---------------------------------------------------------------- (c) everything has its place
def text_of(*names):
    return "\n".join((ROOT / "docs" / name).read_text("utf-8") for name in names)


def all_text():
    return "\n".join(page.read_text("utf-8") for page in pages())


@pytest.mark.parametrize("card", METHODS, ids=lambda card: card.name)
def test_every_method_has_a_page(card):
    page = ROOT / "docs" / "methods" / f"{card.name}.md"
    assert page.is_file(), f"write docs/methods/{card.name}.md"
    text = page.read_text("utf-8")
    for needed in (f"<!-- generated: options {card.name} -->", f"<!-- results: {card.name} -->", "## Checklist"):
        assert needed in text, f"{page.name} lacks {needed!r}"


@pytest.mark.parametrize("card", [*METHODS, *CLASSIC], ids=lambda card: card.name)
def test_every_card_is_in_the_paper_index(card):
    assert f"| `{card.name}` |" in text_of("papers.md")


def test_every_command_is_in_the_docs():
    text = all_text()
    for command in known_commands():
        assert f"hexarec {' '.join(command)}" in text, f"no page names hexarec {' '.join(command)}"


@pytest.mark.parametrize("name", TABLE)
def test_every_metric_is_defined(name):
    assert f"`{name}`" in text_of("metrics.md") or f"`{name}@k`" in text_of("metrics.md")


@pytest.mark.parametrize("error", docs.errors(), ids=lambda error: error.__name__)
def test_every_public_error_is_explained(error):
    assert f"`{error.__name__}`" in text_of("conventions.md")


def test_capabilities_worlds_and_combinators_are_explained():
    for name in CAPABILITIES:
        assert f"`{name}`" in text_of("lm.md"), name
    for name in WORLDS:
        assert f"`{name}`" in text_of("adding-a-method.md"), name
    for name in COMBINATORS:
        assert f"`{name}`" in text_of("pipeline.md"), name


def test_every_option_of_a_method_has_a_meaning():
    for card in METHODS:
        rows = docs.PARTS["options"](card.name).splitlines()[2:]
        assert [row for row in rows if row.endswith("|  |")] == []


# ---------------------------------------------------------------- (d) generated parts
def test_generated_parts_are_in_sync():
    assert [name_of(page) for page in docs.stale(ROOT)] == [], "run: python -m hexarec.cli.docs"


def test_check_names_a_stale_page_and_writes_nothing(tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- generated: errors -->\nold\n<!-- end -->\nafter\n", "utf-8")
    run = [sys.executable, "-m", "hexarec.cli.docs"]
    checked = subprocess.run([*run, "--check"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert checked.returncode == 1 and "README.md" in checked.stdout
    assert "old" in page.read_text("utf-8")
    assert docs.write(tmp_path) == [page] and docs.stale(tmp_path) == []
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- generated: errors -->\n| error |") and text.endswith("<!-- end -->\nafter\n")


def test_an_unknown_part_is_refused():
    from hexarec.core import OptionError

    with pytest.raises(OptionError, match="no generated part is called 'gridd'"):
        docs.filled("<!-- generated: gridd -->\n<!-- end -->")


# ---------------------------------------------------------------- (e) links
def links():
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in LINK.findall(text):
            if "://" not in target and not target.startswith("mailto:"):
                yield page, target


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_relative_links_lead_somewhere():
    wrong = []
    for page, target in links():
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            wrong.append(f"{name_of(page)} -> {target}")
    assert wrong == []


def test_every_page_can_be_reached_from_the_table_of_contents():
    text = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = {(ROOT / "docs" / target.partition("#")[0]).resolve() for target in LINK.findall(text)}
    for page in (ROOT / "docs").rglob("*.md"):
        within = page.parent.name in ("decisions", "results")
        assert within or page.name == "index.md" or page in listed, f"docs/index.md does not list {name_of(page)}"
