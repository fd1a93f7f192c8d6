import re
import subprocess
import sys

import pytest
import typer
from tests.cli.calls import call, fails
from typer.testing import CliRunner

import hexarec
from hexarec.cli.main import Safely
from hexarec.core import DataError


def failing(error, resume=False):
    made = typer.Typer(cls=Safely, pretty_exceptions_enable=False)

    @made.callback()
    def top(debug: bool = typer.Option(False, "--debug")) -> None:
        pass

    def once() -> None:
        raise error

    def again(resume: bool = typer.Option(False, "--resume")) -> None:
        raise error

    made.command("go")(again if resume else once)
    return made


def test_every_group_and_command_is_there():
    text = call("--help").stdout
    names = "doctor demo init estimate fit recommend bench report diff data models methods".split()
    assert all(re.search(rf"\b{name}\b", text) for name in names)
    assert call("--version").stdout.strip() == f"hexarec {hexarec.__version__}"


def test_an_expected_error_is_one_line_with_its_mend():
    made = CliRunner().invoke(failing(DataError("wrong [thing]", file="a.csv", line=3, hint="mend it")), ["go"])
    assert made.exit_code == 2 and made.stderr == "a.csv:3: wrong [thing]\n  -> mend it\n" and made.stdout == ""


def test_debug_shows_where_it_came_from():
    made = CliRunner().invoke(failing(DataError("wrong")), ["--debug", "go"])
    assert isinstance(made.exception, DataError)


def test_a_fault_of_ours_is_not_hidden():
    made = CliRunner().invoke(failing(ZeroDivisionError("oops")), ["go"])
    assert isinstance(made.exception, ZeroDivisionError)


def test_a_file_that_cannot_be_opened_is_named():
    made = CliRunner().invoke(failing(PermissionError(13, "Permission denied", "/x/y")), ["go"])
    assert made.exit_code == 2 and made.stderr.startswith("/x/y: Permission denied\n")


def test_a_full_disk_and_a_lack_of_memory_are_said():
    made = CliRunner().invoke(failing(OSError(28, "No space left on device")), ["go"])
    assert made.exit_code == 2 and made.stderr.startswith("the disk is full: No space left on device\n  -> free")
    made = CliRunner().invoke(failing(MemoryError("Unable to allocate 166 GiB")), ["go"])
    assert made.exit_code == 2 and "not enough memory: Unable to allocate 166 GiB" in made.stderr


@pytest.mark.parametrize("resume", [True, False])
def test_stopping_by_hand_says_how_to_go_on_where_one_can(resume):
    made = CliRunner().invoke(failing(KeyboardInterrupt(), resume), ["go"])
    assert made.exit_code == 130
    assert made.stderr == ("stopped; continue with --resume\n" if resume else "stopped\n")


def test_a_reader_that_went_away_is_no_error():
    script = f"{sys.executable} -c 'from hexarec.cli.main import main; main()' methods grid | head -c 1"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, timeout=100)
    assert done.stderr == "" and done.returncode == 0


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from hexarec.cli.main import app;"
        "CliRunner().invoke(app, ['--help']);"
        "print([m for m in ('numpy', 'torch', 'polars', 'scipy', 'hexarec.core') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("words", [("nonsense",), ("data", "nonsense"), ("fit",)])
def test_wrong_words_are_explained(words):
    assert "Usage" in fails(*words)


def test_the_package_runs_as_a_module():
    made = subprocess.run([sys.executable, "-m", "hexarec", "--version"], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == f"hexarec {hexarec.__version__}"
