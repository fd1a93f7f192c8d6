"""The disk fails at the Nth call, fills up, loses power. The calls of libc are met by a small library put before it."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.store import disk
from tests.serve.store.faulty import KINDS

from hexarec.core import StateError, rng
from hexarec.serve.store.errors import FullError
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux to meet the calls of libc")
    out = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", out, source, "-ldl", "-lpthread"], check=True, timeout=60
    )
    return out


def faulty(library, folder, *words, timeout=280):
    inner = folder / "disk"
    inner.mkdir()
    env = {**os.environ, "LD_PRELOAD": str(library), "FAULTS_DIR": str(inner), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.serve.store.faulty", words[0], str(inner), *words[1:]]
    made = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, cwd=ROOT)
    assert made.returncode == 0, made.stderr[-2000:]
    return json.loads(made.stdout)


def check(told):
    assert told["strange"] == [] and told["wrong"] == []
    assert set(told["errors"]) <= {"StateError", "FullError", "StoppedError", "BusyError"}
    assert told["days"] >= 3 and told["faults"] >= told["days"] // 2 and told["errors"]


@pytest.mark.parametrize("kind, stride", [("eio", "61"), ("no space", "91"), ("sync", "9")])
def test_a_failing_call_loses_nothing_and_is_told(library, folder, kind, stride):
    check(faulty(library, folder, "loop", kind, stride))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_failing_call(library, folder, kind):
    told = faulty(library, folder, "loop", kind, "1", timeout=1500)
    print({name: told[name] for name in ("kind", "days", "faults", "errors")})
    check(told)


def images(library, folder, count):
    """How many disks after a power failure kept all that was acknowledged, of how many."""
    told = faulty(library, folder, "trace")
    assert told["errors"] == told["strange"] == [] and len(told["marks"]) >= 5
    good = 0
    journal = list(disk.read_journal(folder / "journal"))
    assert sum(kind == disk.SYNC for kind, *_ in journal) > 20
    for n, (mark, files) in enumerate(disk.failures(journal, rng(11, "power", count), count)):
        own = folder / "image"
        own.mkdir()
        for name, data in files.items():
            (own / name).write_bytes(data)
        promised = set(told["marks"][mark - 1]) if mark else set()
        good += sound(own / "store.db", promised)
        if mark and n % 50 == 0:
            opens(own / "store.db", promised)
        shutil.rmtree(own)
    return good


def sound(file, promised):
    if not file.exists() and not promised:
        return True
    with sqlite3.connect(file) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        there = set()
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
            there = {id for (id,) in connection.execute("SELECT id FROM events")}
    connection.close()
    erased = {id for id in promised if id.startswith("1-")}  # the user who is erased later that day
    return whole and len(there) % 12 == 0 and promised - erased <= there


def opens(file, promised):
    store = open_store(file)
    assert promised - {row.id for _, row in store.of("a").events()} <= {id for id in promised if id.startswith("1-")}
    assert store.of("a").add_events([EventRow("after", "i", 1.0, user="u")]) == ["new"]
    store.close()


def test_a_power_failure_loses_nothing_that_was_acknowledged(library, folder):
    assert images(library, folder, 150) == 150


@pytest.mark.slow
def test_five_thousand_power_failures(library, folder):
    assert images(library, folder, 5000) == 5000


def event(id, text=""):
    return EventRow(id, "i", 1.0, user="u", text=text)


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store.db")
    yield store
    store.close()


def fill(shelf, most=400):
    """Write until there is no room; the ids that were acknowledged."""
    kept = []
    with pytest.raises(FullError) as caught:
        for n in range(most):
            assert shelf.add_events([event(f"e{n}", "x" * 20_000)]) == ["new"]
            kept.append(f"e{n}")
    assert caught.value.retryable and caught.value.hint
    return kept


def check_full(shelf, kept):
    assert [one.id for _, one in shelf.events()] == kept
    with pytest.raises(FullError):
        shelf.add_events([event("more", "x" * 20_000)])
    assert [one.id for one in shelf.histories(["u"])["u"]] == kept


def test_a_full_database_reads_on_and_recovers(store):
    shelf = store.of("a")
    shelf.add_events([event("e")])
    with store._writing.connect() as connection:
        raw = connection.connection.driver_connection
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages + 60}").fetchall()
    kept = ["e", *(fill(shelf))]
    check_full(shelf, kept)
    with store._writing.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert shelf.add_events([event("e0", "x" * 20_000), event("more")]) == ["same", "new"]


def test_one_large_write_that_finds_no_room_harms_no_other(store):
    shelf = store.of("a")
    shelf.add_events([event("e")])
    with store._writing.connect() as connection:
        raw = connection.connection.driver_connection
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages + 40}").fetchall()
    small = [shelf.add_events_soon([event(f"s{n}")]) for n in range(5)]
    large = shelf.add_events_soon([event(f"l{n}", "x" * 20_000) for n in range(100)])
    small += [shelf.add_events_soon([event(f"t{n}")]) for n in range(5)]
    assert isinstance(large.exception(), FullError)
    assert [one.result() for one in small] == [["new"]] * 10


def test_a_limit_on_the_size_of_files(store):
    shelf = store.of("a")
    shelf.add_events([event("e")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        kept = ["e", *fill(shelf)]
        check_full(shelf, kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert shelf.add_events([event("more")]) == ["new"]
    assert store.stopped is None


def test_a_file_that_is_no_database(tmp_path):
    file = tmp_path / "store.db"
    file.write_bytes(b"not a database, however long it may be" * 200)
    with pytest.raises(StateError):
        open_store(file)
    assert file.read_bytes().startswith(b"not a database")


def test_a_damaged_file_is_told(tmp_path):
    file = tmp_path / "store.db"
    store = open_store(file)
    store.of("a").add_events([event(f"e{n}", "x" * 500) for n in range(500)])
    store.close()
    data = bytearray(file.read_bytes())
    data[4096:] = bytes(byte ^ 0x5A for byte in data[4096:])
    file.write_bytes(data)
    with pytest.raises(StateError):
        store = open_store(file)
        try:
            store.of("a").events()
        finally:
            store.close()
