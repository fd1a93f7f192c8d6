import io
import threading
import time

import pytest
from rich.console import Console

from hexarec.cli import progress
from hexarec.cli.progress import _Bars, _Lines, clock_text, working
from hexarec.core import BudgetError, DeadlineError, current, degrade, track
from hexarec.core.aside import line


def event(label="work", done=1, total=10, seconds=3.0, **more):
    return {"kind": "progress", "label": label, "done": done, "total": total, "seconds": seconds, **more}


def plain():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def test_short_work_says_nothing():
    console = plain()
    with working(console=console):
        assert list(track(range(5), "short")) == [0, 1, 2, 3, 4]
    assert console.file.getvalue() == ""


def test_what_went_badly_outside_an_answer_is_said():
    console = plain()
    with working(console=console):
        degrade("3 of 9 groups got no name")
    assert console.file.getvalue() == "! 3 of 9 groups got no name\n"


def test_long_work_says_a_line_now_and_then_and_its_end():
    now = [0.0]
    console = plain()
    view = _Lines(console, clock=lambda: now[0])
    for second in range(1, 41):
        now[0] = float(second)
        view.hear(event(done=second, total=40, seconds=float(second)))
    said = console.file.getvalue().splitlines()
    assert said[0] == "work: 2/40, 2 s, about 38 s left" and said[-1] == "work: 40/40, 40 s"
    assert len(said) == 5


def test_work_that_was_never_shown_ends_silently_and_other_events_do_not_count():
    console = plain()
    view = _Lines(console, clock=lambda: 0.0)
    view.hear({"kind": "answer", "n": 3})
    view.hear(event(done=10, seconds=1.0))
    assert console.file.getvalue() == ""


def test_units_and_unknown_totals_read_well():
    assert line(event(done=1.5, total=3.0, seconds=2.0, unit="MB")) == "work: 1.5/3 MB, 2 s, about 2 s left"
    assert line(event(done=7, total=None)) == "work: 7, 3 s"
    assert clock_text(59.9) == "00:59" and clock_text(61) == "01:01" and clock_text(3661) == "1:01:01"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)


def drawn(view):
    console = Console(file=io.StringIO(), width=120)
    console.print(view.render())
    return console.file.getvalue()


def test_bars_are_nested_and_go_when_done(impatient):
    view = _Bars(Console(file=io.StringIO(), force_terminal=True, width=120))
    view.hear(event("outer", done=0, total=2, seconds=0.0))
    view.hear(event("inner", done=0, total=9, seconds=0.0))
    view.spent = lambda: {"calls": 12, "tokens_in": 900, "tokens_out": 100, "cost": 0.25}
    text = drawn(view)
    assert text.index("outer") < text.index("inner") and "0/9" in text and "12 calls, 1,000 tokens, $0.2500" in text
    view.hear(event("inner", done=9, total=9))
    view.hear(event("outer", done=2, total=2))
    assert drawn(view).strip() == ""


def test_updates_of_a_bar_are_limited(impatient):
    view = _Bars(Console(file=io.StringIO(), force_terminal=True, width=120))
    view.hear(event("busy", done=0, total=10**6, seconds=0.0))
    for done in range(1, 2000):
        view.hear(event("busy", done=done, total=10**6, seconds=0.001))
    assert "busy" in drawn(view) and view._tasks["busy"]["done"] == 0


def test_short_work_has_no_bar():
    view = _Bars(Console(file=io.StringIO(), force_terminal=True, width=120))
    view.hear(event("short", done=0, seconds=0.0))
    assert drawn(view).strip() == ""


def test_a_terminal_is_left_clean_also_after_an_error():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), working(console=console):
        list(track(range(3), "work"))
        raise ZeroDivisionError
    for _ in range(50):  # the drawing thread was told to end
        if threading.active_count() == before:
            break
        time.sleep(0.05)
    assert threading.active_count() == before and "\x1b[?25h" in console.file.getvalue()


def test_deadline_and_budgets_reach_the_work():
    with working(deadline=0.0, console=plain()), pytest.raises(DeadlineError):
        list(track(range(3), "work"))
    with working(budget_calls=2, budget_tokens=100, budget_usd=0.5, console=plain()) as work:
        assert (work.budget.calls, work.budget.tokens, work.budget.cost) == (2, 100, 0.5)
        current().ledger.add(calls=2)
        with pytest.raises(BudgetError):
            current().check_budget()


@pytest.mark.parametrize("terminal", [True, False])
def test_notes_are_shown(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    with working(console=console):
        current().emit({"kind": "note", "text": "a damaged cell\x1b; it is measured again"})
    assert r"! a damaged cell\x1b; it is measured again" in console.file.getvalue()
