import threading

import pytest
from tests.hanging import LONG, Hang, cancelled_when

from hexarec.core.errors import CancelledError, DeadlineError, ModelError, RetryableModelError
from hexarec.core.run import current, pool, run
from hexarec.lm.base import Prompt
from hexarec.lm.gate import SLOW, admitted, apart, gate, stoppable

ASKED = Prompt.user("x")


class Book:
    """A gate that lets in what it is told to, and writes down what came of it."""

    def __init__(self, shut=False):
        self.shut, self.heard, self.let = shut, [], 0

    def enter(self, prompt):
        if self.shut:
            raise RetryableModelError("shut")
        self.let += 1

    def leave(self, well):
        self.heard.append(well)


def heard(error):
    book = Book()
    with gate(book), pytest.raises(type(error)), admitted(ASKED):
        raise error
    return book.heard


def test_without_a_gate_everything_passes():
    with admitted(ASKED):
        pass


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RetryableModelError("busy"), False),
        (ModelError("wrong key"), True),
        (DeadlineError("late"), None),
        (CancelledError("stop"), None),
        (ValueError("ours"), None),
    ],
)
def test_what_an_error_says_of_the_server(error, outcome):
    assert heard(error) == [outcome]


def test_a_deadline_missed_by_far_is_a_failure_of_the_server(monkeypatch):
    clock = iter([0.0, SLOW])
    monkeypatch.setattr("hexarec.lm.gate.time.monotonic", lambda: next(clock))
    assert heard(DeadlineError("late")) == [False]


def test_requests_in_threads_pass_the_same_gate():
    book = Book()

    def one(_):
        with admitted(ASKED):
            return 1

    with gate(book):
        assert sum(pool(one, range(5), 3)) == 5
    assert book.let == 5 and book.heard == [True] * 5


def test_what_is_not_let_in_is_not_heard_of():
    book = Book(shut=True)
    with gate(book), pytest.raises(RetryableModelError), admitted(ASKED):
        raise AssertionError("it was let in")
    assert book.heard == []


def test_a_call_without_limits_runs_in_its_own_thread():
    assert stoppable(threading.get_ident, "x") == threading.get_ident()


def test_a_call_with_limits_gives_its_value_its_error_and_sees_its_run():
    with run(seconds=LONG, tenant="t"):
        assert stoppable(lambda: current().tenant, "x") == "t"
        with pytest.raises(ValueError, match="ours"):
            stoppable(lambda: (_ for _ in ()).throw(ValueError("ours")), "x")


def test_a_hanging_call_is_left_at_the_deadline():
    with Hang() as slow:
        with run(seconds=0.1), pytest.raises(DeadlineError, match="slow had not answered"):
            stoppable(slow, "slow")
        assert not slow.came_back


def test_a_hanging_call_is_left_at_a_cancel():
    with Hang() as slow:
        with cancelled_when(slow.met), pytest.raises(CancelledError):
            stoppable(slow, "slow")
        assert not slow.came_back


def test_a_machine_without_threads_asks_where_it_stands(monkeypatch):
    def none(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    with run(seconds=LONG):
        assert stoppable(threading.get_ident, "x") == threading.get_ident()


def test_pieces_are_made_in_one_context_whoever_asks_for_them():
    def pieces():
        with run(tenant="inside"):
            for _ in range(3):
                yield current().tenant

    made, heard = apart(pieces()), []
    for _ in range(4):
        thread = threading.Thread(target=lambda: heard.append(next(made, None)))
        thread.start()
        thread.join(LONG)
        assert current().tenant == ""
    assert heard == ["inside"] * 3 + [None]


def test_pieces_that_nobody_wants_any_more_are_closed_in_their_context():
    closed = []

    def pieces():
        with run(tenant="inside"):
            try:
                yield 1
            finally:
                closed.append(current().tenant)

    made = apart(pieces())
    next(made)
    made.close()
    assert closed == ["inside"]
