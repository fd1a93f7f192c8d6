"""Processes that are killed, at random moments and at every named point: nothing acknowledged is lost or counted twice."""

import itertools
import sqlite3
import time
from collections import defaultdict

import pytest
from tests.serve.store.lives import live

from hexarec.core import rng
from hexarec.serve.store.crash import POINTS
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow

KILLED = (-9, 137)
LIVES = itertools.count(1)


class Promises:
    """What was acknowledged by all lives of one store, read from their notes."""

    def __init__(self, url, folder):
        self.url, self.folder, self.said = url, folder, defaultdict(list)

    def outlive(self, processes, crash_at=None, kill_after=None, **rest):
        """One life and its end; the exit code, None when nobody was killed."""
        life = next(LIVES)
        notes = self.folder / f"notes{life}"
        process = processes.Process(target=live, args=(self.url, str(notes), life, crash_at), kwargs=rest)
        process.start()
        if kill_after is not None:
            process.join(kill_after)
            process.kill()
        process.join(60)
        assert process.exitcode is not None
        for line in notes.read_text().splitlines() if notes.exists() else []:
            kind, *words = line.split(" ")
            self.said[kind] += words
        return process.exitcode

    def broken(self):
        """Which promises a store that is opened again does not keep."""
        store = open_store(self.url)
        shelf = store.of("a")
        rows = [row for _, row in shelf.events(most=10**9)]
        there = {row.id for row in rows}
        found = [f"lost {id}" for id in set(self.said["event"]) - there]
        found += ["an event twice"] * (len(there) != len(rows)) + ["a count is wrong"] * (
            len(rows) != shelf.count("events")
        )
        found += ["the audit log"] * (shelf.audit_check() is not None)
        for canary in set(self.said["canary"]):
            left = sum(f"{canary}.{k}" in there for k in range(4))
            gone = canary in self.said["erased"]
            if left != (0 if gone or shelf.erased(canary) else 4):
                found.append(f"{left} rows of {canary}")
        active = [one.version for one in shelf.versions("model", "m") if one.active]
        least = max(map(int, self.said["active"]), default=0)
        found += [f"active {active}, promised {least}"] * (bool(least) and (len(active) != 1 or active[0] < least))
        found += ["not writable"] * (shelf.add_events([EventRow(f"x{next(LIVES)}", "i", 1.0, user="x")]) != ["new"])
        store.close()
        return found + self.damage()

    def damage(self):
        if "://" in str(self.url):
            return []
        with sqlite3.connect(self.url) as file:
            answer = file.execute("PRAGMA integrity_check").fetchone()[0]
        file.close()
        return [] if answer == "ok" else [answer]


INSIDE = [point for point in POINTS if not point.startswith("migrate")]


def crash(processes, promises, point):
    code = promises.outlive(processes, crash_at=f"{point}:{1 if point.startswith('scrub') else 3}", batches=6, rounds=4)
    assert code in KILLED and promises.broken() == []


@pytest.mark.parametrize("point", INSIDE)
def test_a_crash_at_a_named_point(processes, folder, point):
    open_store(folder / "store.db").close()
    crash(processes, Promises(folder / "store.db", folder), point)


def test_crashes_of_those_who_write_to_postgresql(processes, postgres, folder):
    promises = Promises(postgres.create("crashes"), folder)
    for point in ("commit.act", "commit.before", "commit.after", "activate.cleared", "erase.rows"):
        crash(processes, promises, point)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("migrate")])
def test_a_crash_while_the_tables_are_made(processes, url, folder, point):
    promises = Promises(url, folder)
    assert promises.outlive(processes, crash_at=point) in KILLED
    assert promises.said == {} and promises.broken() == []
    assert promises.outlive(processes, batches=2, rounds=1) == 0 and promises.broken() == []


def random_kills(processes, folder, cycles, per_store=20):
    """(cycles, events acknowledged) after kills at random moments; every promise was kept."""
    draws, acknowledged, done, slowest = rng(5, "kills", cycles), 0, 0, 0.0
    while done < cycles:
        own = folder / f"store{done}"
        own.mkdir()
        promises = Promises(own / "store.db", own)
        for _ in range(min(per_store, cycles - done)):
            assert promises.outlive(processes, kill_after=float(draws.random() ** 2 * 0.5)) in (0, *KILLED)
            began = time.perf_counter()
            assert promises.broken() == []
            slowest, done = max(slowest, time.perf_counter() - began), done + 1
        acknowledged += len(set(promises.said["event"]))
    return done, acknowledged, slowest


def test_kills_at_random_moments(processes, folder):
    done, acknowledged, _ = random_kills(processes, folder, 8, per_store=8)
    assert done == 8 and acknowledged > 0


@pytest.mark.slow
def test_a_thousand_kills(processes, folder):
    told = random_kills(processes, folder, 1000)
    print(told)
    assert told[1] > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("point", INSIDE)
def test_a_named_point_many_times(processes, folder, point):
    draws, killed = rng(6, "points", point), 0
    promises = Promises(folder / "store.db", folder)
    for _ in range(25):
        turn = int(draws.integers(1, 3 if point.startswith("scrub") else 9))
        killed += promises.outlive(processes, crash_at=f"{point}:{turn}", batches=10, rounds=9) in KILLED
        assert promises.broken() == []
    assert killed == 25


def test_two_processes_write_one_file(processes, folder):
    promises = Promises(folder / "store.db", folder)
    paths = [folder / "a", folder / "b"]
    both = [
        processes.Process(target=live, args=(promises.url, str(path), n, None, 8, 2))
        for n, path in enumerate(paths, 9001)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    for path in paths:
        lines = [line.split(" ") for line in path.read_text().splitlines()]
        assert lines[-1] == ["closed"]
        for kind, *words in lines:
            promises.said[kind] += words
    promises.said["active"] = ["1"]  # each lets its own be the active one, whoever comes last
    assert len(set(promises.said["event"])) == 2 * 3 * 40 and promises.broken() == []


@pytest.mark.slow
def test_the_server_of_postgresql_dies(processes, postgres, folder):
    promises = Promises(postgres.create("dying"), folder)
    promises.outlive(processes, batches=5, rounds=1)
    life, notes = next(LIVES), folder / "notes"
    process = processes.Process(target=live, args=(promises.url, str(notes), life))
    process.start()
    while not notes.exists() or len(notes.read_text().splitlines()) < 20:
        time.sleep(0.01)
    postgres.stop("immediate")
    process.join(60)
    postgres.start()
    for kind, *words in (line.split(" ") for line in notes.read_text().splitlines()):
        promises.said[kind] += words
    assert promises.broken() == []
