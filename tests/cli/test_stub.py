import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hexarec.cli.main import app
from hexarec.core import RetryableModelError
from hexarec.lm.base import Prompt
from hexarec.lm.endpoint import Endpoint
from hexarec.testing.stub import FAULTS


def said(*words):
    made = CliRunner().invoke(app, ["stub", *words])
    assert made.exit_code == 0, made.output
    return made.output


def test_the_list_names_every_fault():
    text = said("--faults")
    assert all(name in text for name in FAULTS)
    rows = json.loads(said("--faults", "--json"))
    assert [row["name"] for row in rows] == list(FAULTS) and {row["where"] for row in rows} == {"server", "machine"}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--fault", "body.cut_jsn"], "did you mean 'body.cut_json'"),
        (["--fault", "machine.disk_full"], "injected('machine.disk_full'"),
        (["--answer-as", "nobody"], "overlap"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_mend(words, hint):
    made = CliRunner().invoke(app, ["stub", "--port", "0", *words])
    assert made.exit_code == 2 and hint in " ".join(made.output.split())


def test_the_command_serves_faults_after_good_answers():
    command = [sys.executable, "-c", "from hexarec.cli.main import main; main()", "stub", "--port", "0", "--json", "--deadline", "60",
               "--fault", "status.500", "--after", "1"]  # fmt: skip
    source = Path(__file__).parents[2] / "src"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env={**os.environ, "PYTHONPATH": str(source), "PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            assert (line := process.stdout.readline()), "the command ended"
            text += line
        url = json.loads(text)["url"]
        lm = Endpoint(f"{url}#stub", can=frozenset({"text", "label"}))
        asked = [Prompt.user("Say [A] or [B].\n[A] yes\n[B] no")]
        assert lm.generate(asked)[0].good and "500" in lm.generate(asked)[0].error
        with pytest.raises(RetryableModelError, match="500"):
            lm.label(asked, ["A", "B"])
    finally:
        process.kill()
        process.communicate()


def test_a_stub_stops_at_its_deadline():
    assert "serving http://127.0.0.1:" in said("--port", "0", "--deadline", "0.05")
