import io
import subprocess
import sys
import threading

import pytest

from hexarec.core import aside, run, track
from hexarec.core.aside import Aside
from hexarec.core.run import _DEFAULT


class Screen(io.StringIO):
    """A stderr that says what it is."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def event(seconds, done=1, total=100, kind="progress"):
    return {"kind": kind, "label": "tune", "done": done, "total": total, "seconds": float(seconds)}


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(aside, "write", lines.append)
    return lines


@pytest.mark.parametrize(("terminal", "most"), [(True, 12), (False, 4)])
def test_long_work_says_a_line_now_and_then_with_the_time_left(monkeypatch, said, terminal, most):
    monkeypatch.setattr(sys, "stderr", Screen(terminal))
    now = [0.0]
    hears = Aside(clock=lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        hears(event(second, done=second))
    assert said[0] == "tune: 5/100, 5 s, about 95 s left" and len(said) == most


def test_short_work_what_is_done_other_events_and_other_threads_say_nothing(said):
    hears = Aside(clock=lambda: 0.0)
    for one in (event(4.9), event(60, done=100), event(60, kind="note")):
        hears(one)
    other = threading.Thread(target=hears, args=(event(60),))
    other.start()
    other.join()
    assert said == []


def test_a_run_that_listens_hears_it_instead(said, monkeypatch):
    monkeypatch.setattr(aside, "PATIENCE", 0.0)
    monkeypatch.setattr(_DEFAULT.emit, "_said", float("-inf"))
    heard = []
    with run(emit=heard.append):
        list(track(range(3), "tune"))
    assert said == [] and len(heard) == 4
    list(track(range(3), "tune"))
    assert said == ["tune: 0/3, 0 s"]


def test_a_script_of_ones_own_is_told_on_stderr_alone():
    code = (
        "from hexarec.core import aside, track\naside.PATIENCE = 0.0\nlist(track(range(3), 'tune'))\nprint('result')\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (made.stdout, made.stderr) == ("result\n", "tune: 0/3, 0 s\n")


@pytest.mark.parametrize("screen", ["None", "open(__import__('os').devnull)"])
def test_a_stderr_that_takes_no_words_stops_no_work(screen):
    code = (
        "import sys\n"
        "from hexarec.core import aside, track\n"
        "aside.PATIENCE = 0.0\n"
        f"sys.stderr = {screen}\n"
        "print(len(list(track(range(3), 'tune'))))\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "3\n"
