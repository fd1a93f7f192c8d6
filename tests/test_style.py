"""The sizes and habits that docs/conventions.md promises, measured."""

import ast
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "hexarec"
FILES = sorted(SRC.rglob("*.py"))

MEDIAN, NINETIETH, LONGEST = 8, 30, 60  # lines of a function without its docstring
FILE, METHOD_FILE, CLASSIC_FILE = 500, 250, 150
# files over the limit of their folder, with the most they may have
LONGER = {
    "methods/chatrec.py": 290,  # the prompts of gate, list, talk, summary and rating in two languages are a third of it
    "methods/__init__.py": 500,  # no method: the table of contents, a row each
    "classic/sasrec.py": 165,  # twenty options of one sentence each; net, data and training stand in files of their own
}


@dataclass(frozen=True)
class Function:
    """One function: where, how long without its docstring, annotated, documented, public."""

    place: str
    lines: int
    returns: bool
    documented: bool
    public: bool


def name_of(file):
    return str(file.relative_to(SRC))


def tree_of(file):
    return ast.parse(file.read_text("utf-8"))


def functions_of(file):
    """Every function of a file; public ones are those of the module and of its public classes."""
    tree = tree_of(file)
    owners = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
    reachable = {id(node) for owner in owners for node in owner.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node, clean=False) is not None
            own = node.body[0].end_lineno - node.body[0].lineno + 1 if said else 0
            yield Function(
                f"{name_of(file)}:{node.lineno} {node.name}",
                node.end_lineno - node.lineno + 1 - own,
                node.returns is not None,
                said,
                id(node) in reachable and not node.name.startswith("_"),
            )


FUNCTIONS = [function for file in FILES for function in functions_of(file)]


def lines_of(file):
    return len(file.read_text("utf-8").splitlines())


def test_functions_are_short():
    lengths = sorted(function.lines for function in FUNCTIONS)
    assert statistics.median(lengths) <= MEDIAN
    assert lengths[int(0.9 * len(lengths))] <= NINETIETH
    assert [function.place for function in FUNCTIONS if function.lines > LONGEST] == []


def limit_of(file):
    name = name_of(file)
    if name in LONGER:
        return LONGER[name]
    return {"methods": METHOD_FILE, "classic": CLASSIC_FILE}.get(name.split("/")[0], FILE)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_are_short(file):
    assert lines_of(file) <= limit_of(file)


def test_no_exception_outlives_its_reason():
    for name in LONGER:
        file = SRC / name
        own = METHOD_FILE if name.startswith("methods") else CLASSIC_FILE
        assert file.is_file() and lines_of(file) > own, f"{name} needs no exception any more"


def test_everything_is_annotated():
    assert [function.place for function in FUNCTIONS if not function.returns] == []


def test_everything_public_is_documented():
    lacking = [function.place for function in FUNCTIONS if function.public and not function.documented]
    for file in FILES:
        tree = tree_of(file)
        lacking += [] if ast.get_docstring(tree) else [name_of(file)]
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        lacking += [f"{name_of(file)} {node.name}" for node in classes if not ast.get_docstring(node)]
    assert lacking == []


FORBIDDEN_MODULES = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "random"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}


def forbidden_in(tree):
    """What unsafe or unrepeatable things a module does, as (line, what)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [(node.module or "").split(".")[0]]
        else:
            names = []
        yield from ((node.lineno, f"imports {name}") for name in names if name in FORBIDDEN_MODULES)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
                yield node.lineno, node.func.id
            if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load":
                yield node.lineno, "torch.load"
            for word in node.keywords:
                if word.arg == "allow_pickle" and ast.unparse(word.value) != "False":
                    yield node.lineno, "allow_pickle"
                if word.arg == "shell" and ast.unparse(word.value) != "False":
                    yield node.lineno, "shell"


def test_nothing_unsafe_is_called():
    found = [f"{name_of(file)}:{line} {what}" for file in FILES for line, what in forbidden_in(tree_of(file))]
    assert found == []


def test_unsafe_things_would_be_seen():
    text = (
        "import pickle\nfrom random import choice\neval('1')\ntorch.load('x')\n"
        "np.load('x', allow_pickle=True)\nnet.eval()\nrun('ls', shell=True)\n"
    )
    found = {what for _, what in forbidden_in(ast.parse(text))}
    assert found == {"imports pickle", "imports random", "eval", "torch.load", "allow_pickle", "shell"}


def loaded_by(code):
    """The top-level modules in memory after running the code in a fresh interpreter."""
    told = f"{code}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    made = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=120, check=True)
    return set(made.stdout.split())


HEAVY = {"torch", "transformers", "scipy", "polars", "matplotlib", "openai", "pydantic", "rich", "typer"}


def test_import_loads_nothing_heavy():
    assert loaded_by("import hexarec") & (HEAVY | {"numpy"}) == set()


def test_the_table_of_contents_loads_neither_torch_nor_scipy():
    loaded = loaded_by("from hexarec.pipeline.build import cards; cards()")
    assert loaded & {"torch", "transformers", "polars", "matplotlib"} == set()
    assert loaded_by("import hexarec.classic, hexarec.methods") & {"torch", "scipy", "polars"} == set()


def test_the_command_line_starts_light():
    assert loaded_by("import hexarec.cli.main") & {"torch", "scipy", "polars", "matplotlib", "openai", "numpy"} == set()


def test_tests_are_not_fewer_than_code(capsys):
    code = sum(map(lines_of, FILES))
    tests = sum(map(lines_of, (ROOT / "tests").rglob("*.py")))
    lengths = sorted(function.lines for function in FUNCTIONS)
    sizes = sorted(map(lines_of, FILES))
    with capsys.disabled():
        print(
            f"\nsrc {code:,} lines in {len(FILES)} files (median {statistics.median(sizes):g}, longest {sizes[-1]}), "
            f"{len(lengths):,} functions (median {statistics.median(lengths):g}, "
            f"p90 {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}); "
            f"tests {tests:,} lines, {tests / code:.2f} per line of src"
        )
    assert tests / code > 0.5
