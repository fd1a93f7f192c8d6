"""Every example runs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hexarec.cli.main import app

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_bench_of_an_example_runs(path, tmp_path):
    made = CliRunner().invoke(app, ["bench", "-c", str(path), "--max-users", "12", "--out", str(tmp_path / "run")])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "run" / "report.html").exists()
