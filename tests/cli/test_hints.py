import re
from pathlib import Path

import pytest
from tests.cli.calls import call, fails, written
from typer.main import get_command

import hexarec
from hexarec.cli.hints import for_command_line
from hexarec.cli.main import app


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("leave the mapping out, or say format='plain'", "leave the mapping out, or say --format plain"),
        ("say user=<column> in the mapping; the columns are a", "say --map user=<column>; the columns are a"),
        ("use hexarec.load(path, data)", "name its data with --data"),
        ("check the path", "check the path"),
        ("use leave_last", 'split by last: --by last, or split = "last" under [bench]'),
        ("lower max_events", "split by last: --by last"),
        ("a table of items with items='FILE'", "a table of items with --items FILE"),
    ],
)
def test_hints_name_options(python, shell):
    assert for_command_line(python) == shell


def test_commands_that_hints_name_exist():
    top = get_command(app)
    found = [
        match.groups()
        for path in sorted(Path(hexarec.__file__).parent.rglob("*.py"))
        for match in re.finditer(r"`hexarec ([a-z]+)(?: ([a-z]+))?", path.read_text("utf-8"))
    ]
    assert ("models", "install") in found
    for name, inner in found:
        below = getattr(top.commands.get(name), "commands", None)
        assert name in top.commands and (below is None or inner is None or inner in below), f"hexarec {name} {inner}"


ESC = "\x1b[31mred"


def test_names_of_others_do_not_steer_the_terminal(tmp_path):
    log = written(tmp_path, "user,item,rating,timestamp\nu,i,5,1600000000\n", "log.csv")
    made = call("data", "import", log, "--name", ESC)
    assert r"\x1b[31mred" in made.stdout and "\x1b" not in made.stdout + made.stderr
    said = fails("data", "import", tmp_path / ESC)
    assert r"\x1b[31mred" in said and "\x1b" not in said
    item = written(tmp_path, f"user,item,title,rating,timestamp\nu,i,{ESC},5,soon\nv,i,{ESC},5,1600000000\n", "odd.csv")
    assert "\x1b" not in call("data", "import", item).output


def test_an_encoding_is_asked_for_by_its_option_and_then_works(tmp_path):
    log = tmp_path / "log.csv"
    log.write_bytes("user,item,title,rating,timestamp\nu,i,花样年华,5,1600000000\n".encode("gbk"))
    said = fails("data", "import", log)
    assert "log.csv:2: the text is not UTF-8: byte 0x" in said and "offset" in said and "--encoding gbk" in said
    assert "1 items" in call("data", "import", log, "--encoding", "gbk").stdout.replace("1 item,", "1 items,")
    assert "--map user=<column>" in fails("data", "import", written(tmp_path, "a,b\n1,2\n", "none.csv"))
