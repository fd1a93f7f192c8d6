"""Group commit: what waits shares a transaction, one bad caller harms nobody, and a disk that fails ends the writing."""

import sqlite3
import threading

import pytest
from sqlalchemy import event, text
from tests.hanging import LONG, Hang

from hexarec.core import DataError, StateError
from hexarec.serve.store.errors import BusyError, StoppedError
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow, UserRow
from hexarec.serve.store.schema import spending
from hexarec.serve.store.statements import add


@pytest.fixture
def store(url):
    store = open_store(url)
    store.of("a").put_users([UserRow("there")])
    yield store
    store.close()


def row(id):
    return EventRow(id, "i", 1.0, user="u")


def commits(store):
    """A list that grows by one with every commit."""
    seen = []
    event.listen(store._writing, "commit", lambda _: seen.append(1))
    return seen


def held(store):
    """Let the writer wait inside an act until what comes back is let go."""
    act = Hang()
    store._writer.soon(act)
    act.met.wait(LONG)
    return act


def test_what_waits_shares_one_commit(store):
    shelf, seen, go = store.of("a"), commits(store), held(store)
    futures = [shelf.add_events_soon([row(f"e{n}"), row(f"f{n}")]) for n in range(50)]
    assert not any(one.done() for one in futures)
    go.let_go()
    assert [one.result(20) for one in futures] == [["new", "new"]] * 50
    assert len(seen) == 2 and shelf.count("events") == 100


def test_equal_ids_of_several_callers_in_one_commit(store):
    shelf, go = store.of("a"), held(store)
    futures = [shelf.add_events_soon([row("same"), EventRow("other", "i", float(n), user="u")]) for n in range(4)]
    go.let_go()
    assert [one.result(20) for one in futures] == [["new", "new"], *[["same", "conflict"]] * 3]


def test_a_bad_caller_harms_nobody(store):
    shelf, seen, go = store.of("a"), commits(store), held(store)

    def mistaken(connection):
        shelf._add(connection, [shelf._checked(row("half"))])
        raise ZeroDivisionError

    def breaking(connection):
        connection.execute(text("INSERT INTO heads (tenant, count, digest) VALUES ('x', NULL, 'y')"))

    good = [shelf.add_events_soon([row("e1")])]
    bad = [shelf._soon(mistaken), shelf._soon(breaking)]
    good.append(shelf.add_events_soon([row("e2")]))
    go.let_go()
    assert [one.result(20) for one in good] == [["new"]] * 2 and len(seen) == 2
    assert isinstance(bad[0].exception(), ZeroDivisionError) and isinstance(bad[1].exception(), DataError)
    assert [one.id for _, one in shelf.events()] == ["e1", "e2"]


def test_a_caller_who_breaks_the_transaction_leaves_the_others_theirs(store):
    shelf, go = store.of("a"), held(store)

    def breaking(connection):
        connection.execute(text("SELECT * FROM nothing_of_this_name"))

    futures = [shelf.add_events_soon([row("e1")]), shelf._soon(breaking), shelf.add_events_soon([row("e2")])]
    go.let_go()
    assert futures[0].result(20) == futures[2].result(20) == ["new"]
    assert isinstance(futures[1].exception(), StateError)


def test_a_caller_who_gave_up_is_not_written(store):
    shelf, go = store.of("a"), held(store)
    gone, stays = shelf.add_events_soon([row("gone")]), shelf.add_events_soon([row("stays")])
    assert gone.cancel()
    go.let_go()
    assert stays.result(20) == ["new"] and [one.id for _, one in shelf.events()] == ["stays"]


def test_closing_writes_what_waits_and_ends(url):
    store = open_store(url)
    shelf, go = store.of("a"), threading.Event()
    shelf.put_users([UserRow("there")])
    store._writer.soon(lambda connection: go.wait(20))
    futures = [shelf.add_events_soon([row(f"e{n}")]) for n in range(20)]
    threading.Timer(0.05, go.set).start()
    store.close()
    assert [one.result(0) for one in futures] == [["new"]] * 20
    with pytest.raises(StateError):
        shelf.add_events([row("late")])
    store.close()
    again = open_store(url)
    assert again.of("a").count("events") == 20
    again.close()


def test_a_failed_sync_ends_the_writing_until_the_store_is_opened_again(tmp_path, monkeypatch):
    store = open_store(tmp_path / "store.db")
    shelf = store.of("a")
    shelf.add_events([row("before")])

    def fail(*_):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    monkeypatch.setattr(store._writing.dialect, "do_commit", fail)
    go = held(store)
    futures = [shelf.add_events_soon([row(f"e{n}")]) for n in range(3)]
    go.let_go()
    assert {type(one.exception(20)) for one in futures} == {StoppedError}
    monkeypatch.undo()
    with pytest.raises(StoppedError) as caught:
        shelf.add_events([row("after")])
    assert store.stopped and "open" in caught.value.hint and not caught.value.retryable
    assert [one.id for _, one in shelf.events()] == ["before"]
    store.close()
    store = open_store(tmp_path / "store.db")
    assert store.stopped is None and store.of("a").add_events([row("after")]) == ["new"]
    store.close()


def test_a_busy_file_is_told_and_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("hexarec.serve.store.engines.BUSY_MS", 50)
    store = open_store(tmp_path / "store.db")
    shelf = store.of("a")
    shelf.add_events([row("before")])
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError) as caught:
        shelf.add_events([row("e")])
    assert caught.value.retryable and len(shelf.events()) == 1
    other.execute("ROLLBACK")
    other.close()
    assert shelf.add_events([row("e")]) == ["new"]
    store.close()


def test_a_lost_connection_is_told_and_made_again(postgres):
    store = open_store(postgres.create("lost"))
    shelf = store.of("a")
    shelf.add_events([row("before")])
    with postgres.connect("lost") as one:
        one.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lost' AND pid <> pg_backend_pid()"
        )
    assert shelf.add_events([row("after")]) == ["new"] and len(shelf.events()) == 2

    def dying(connection):
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StateError) as caught:
        shelf._write(dying)
    assert caught.value.retryable and store.stopped is None
    assert shelf.add_events([row("last")]) == ["new"]
    store.close()


def test_a_commit_of_which_nothing_is_known_is_not_repeated(postgres, monkeypatch):
    import psycopg

    store = open_store(postgres.create("unsure"))
    shelf, real = store.of("a"), store._writing.dialect.do_commit
    shelf.spend("k", "today", calls=1)

    def lost(connection):
        real(connection)
        connection.driver_connection.close()
        raise psycopg.OperationalError("the connection is gone")

    go = held(store)
    futures = [shelf._soon(lambda c: add(c, spending, {"tenant": "a", "key": "k", "day": "today"}, {"calls": 1, "tokens": 0, "dollars": 0.0})) for _ in range(3)]  # fmt: skip
    monkeypatch.setattr(store._writing.dialect, "do_commit", lost)  # of the act that is held, too
    go.let_go()
    assert {type(one.exception(20)) for one in futures} == {BusyError}
    monkeypatch.undo()
    assert shelf.spent("k", "today")["calls"] == 4
    assert shelf.add_events([row("e")]) == ["new"] and store.stopped is None
    store.close()


def test_reading_does_not_wait_for_writing(store):
    shelf, go = store.of("a"), held(store)
    future = shelf.add_events_soon([row("e")])
    assert shelf.events() == [] and shelf.user("there") and not go.came_back
    go.let_go()
    assert future.result(20) == ["new"]


def test_errors_of_the_driver_do_not_pass(store):
    with pytest.raises(StateError):
        store.of("a")._rows(text("SELECT * FROM nothing_of_this_name"))


def test_nobody_is_told_before_the_commit(store, monkeypatch):
    seen, go = [], held(store)
    future = store.of("a").add_events_soon([row("e")])
    monkeypatch.setattr("hexarec.serve.store.writer.point", lambda name: seen.append((name, future.done())))
    go.let_go()
    future.result(20)
    store.close()
    passed = [
        (name, done) for name, done in seen if name in ("commit.act", "commit.before", "commit.after", "commit.told")
    ]
    assert passed[-4:] == [
        ("commit.act", False),
        ("commit.before", False),
        ("commit.after", False),
        ("commit.told", True),
    ]
