"""What the code of the server never does: run data, load what can run, or write SQL from words."""

import ast
from pathlib import Path

import pytest

import hexarec.serve

FILES = sorted(Path(hexarec.serve.__file__).parent.rglob("*.py"))
SQL = {"execute", "exec_driver_sql", "executescript", "executemany", "text", "raw_sql"}
RUNS = {"eval", "exec", "compile", "__import__"}
LOADS = {
    "yaml.load",
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "marshal.loads",
    "os.system",
    "os.popen",
}
OURS = {  # words of ours in SQL, where a parameter may not stand: file and the names that are written in
    "store/engines.py": {"pragma", "_WRITERS_TAKE_TURNS"},
    "store/erase.py": {"table.name"},
    "store/migrate.py": {"VERSION_TABLE"},
    "store/statements.py": {"table.name"},
}


def name_of(file):
    return str(file.relative_to(Path(hexarec.serve.__file__).parent))


def made_from_words(node):
    """The names that a text is put together from, empty for a constant."""
    if isinstance(node, ast.JoinedStr):
        return {ast.unparse(one.value) for one in node.values if isinstance(one, ast.FormattedValue)}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return {ast.unparse(node)} if any(isinstance(one, ast.Constant) for one in ast.walk(node)) else set()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join"):
        return {ast.unparse(node)}
    return set()


def found_in(tree):
    """(line, what) of everything that must not be."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in RUNS or called in LOADS:
            yield node.lineno, called
        if called.rsplit(".", 1)[-1] in SQL and node.args:
            yield from ((node.lineno, f"SQL from {word}") for word in sorted(made_from_words(node.args[0])))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_file(file):
    ours = {f"SQL from {word}" for word in OURS.get(name_of(file), ())}
    assert [one for one in found_in(ast.parse(file.read_text())) if one[1] not in ours] == []


def test_it_would_be_seen():
    code = """
connection.execute(f"SELECT * FROM {table}")
connection.execute("SELECT '%s'" % word)
connection.execute("SELECT " + word)
text("SELECT {}".format(word))
connection.execute(select(table).where(table.c.id == word))
connection.execute("SELECT 1")
eval(word)
yaml.load(word)
"""
    assert [line for line, _ in found_in(ast.parse(code))] == [2, 3, 4, 5, 8, 9]


def test_exceptions_are_still_needed():
    for name, words in OURS.items():
        tree = ast.parse(next(file for file in FILES if name_of(file) == name).read_text())
        assert {what for _, what in found_in(tree)} == {f"SQL from {word}" for word in words}
