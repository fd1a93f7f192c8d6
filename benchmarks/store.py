"""Events a second that are on disk when they are acknowledged: `python benchmarks/store.py [--url URL] [--out FILE]`.

The plain loop (one event, one commit, one thread) beside group commit: several threads, with one event or a batch a
call. Rounds are interleaved, the median is told. Beside them what the disk and SQLite's own driver do without us: syncs
of one page, and narrow rows in commits of 100. Then replays of what is known, one history, and the bulk read.
`cpu` is the processor time of this process for an event: on a machine that others use too it says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hexarec.serve.store.open import Store, open_store
from hexarec.serve.store.rows import EventRow
from hexarec.serve.store.shelf import Shelf

PLAIN = (1, 1)
SHAPES = (PLAIN, (8, 1), (32, 1), (1, 100), (4, 100), (16, 100))  # threads, events a call
USERS, ITEMS = 20_000, 5_000


def made(name: str, count: int, size: int) -> Iterator[list[EventRow]]:
    """`count` batches of events that nobody sent before."""
    for batch in range(count):
        users = [f"user{(batch * 97 + k * 13) % USERS}" for k in range(size)]
        items = [f"item{(batch * 7 + k * 31) % ITEMS}" for k in range(size)]
        yield [EventRow(f"{name}-{batch}-{k}", items[k], 1e9 + batch, user=users[k]) for k in range(size)]


def ingest(shelf: Shelf, name: str, threads: int, size: int, seconds: float) -> tuple[float, float, int]:
    """(events a second, microseconds of processor time an event, events) of some threads for some seconds."""
    counts = [0] * threads
    stop = time.perf_counter() + seconds

    def send(own: int) -> None:
        for batch in made(f"{name}-{own}", 10**9, size):
            if time.perf_counter() > stop:
                return
            counts[own] += shelf.add_events(batch).count("new")

    workers = [threading.Thread(target=send, args=(own,)) for own in range(threads)]
    began, used = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took, used, total = time.perf_counter() - began, time.process_time() - used, sum(counts)
    return total / took, used / max(total, 1) * 1e6, total


def syncs(folder: Path, seconds: float) -> float:
    """Syncs a second of one page that is written each time."""
    count, stop = 0, time.perf_counter() + seconds
    with open(folder / "page", "wb", buffering=0) as file:
        while time.perf_counter() < stop:
            file.seek(0)
            file.write(os.urandom(4096))
            os.fdatasync(file.fileno())
            count += 1
    return count / seconds


def bare(folder: Path, seconds: float, size: int = 100) -> float:
    """Rows a second of SQLite's driver alone: one thread, one table, `size` rows a commit, everything synced."""
    file = sqlite3.connect(folder / "bare.db", isolation_level=None)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("PRAGMA synchronous=FULL")
    file.execute("CREATE TABLE IF NOT EXISTS e (id TEXT PRIMARY KEY, user TEXT, item TEXT, time REAL)")
    count, stop = 0, time.perf_counter() + seconds
    for batch in made(f"bare{time.time_ns()}", 10**9, size):
        if time.perf_counter() > stop:
            break
        file.execute("BEGIN IMMEDIATE")
        file.executemany("INSERT INTO e VALUES (?, ?, ?, ?)", [(one.id, one.user, one.item, one.time) for one in batch])
        file.execute("COMMIT")
        count += size
    file.close()
    return count / seconds


def often(act: Callable[[], object], times: int) -> dict[str, float]:
    """Milliseconds of a call: the median, the 99th percentile, and the processor time."""
    took, used = [], time.thread_time()
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append((time.perf_counter() - began) * 1e3)
    used = (time.thread_time() - used) / times * 1e3
    return {"p50_ms": statistics.median(took), "p99_ms": statistics.quantiles(took, n=100)[98], "cpu_ms": used}


def reading(store: Store) -> dict[str, object]:
    """Replays, one history of 50 events, and all events as columns."""
    shelf = store.of("bench")
    shelf.add_events([EventRow(f"reader-{k}", f"item{k}", float(k), user="reader") for k in range(50)])
    batch = next(made("replay", 1, 100))
    shelf.add_events(batch)
    assert len(shelf.histories(["reader"])["reader"]) == 50
    told: dict[str, object] = {"history_of_50": often(lambda: shelf.histories(["reader"]), 500)}
    told["replay_of_100"] = often(lambda: shelf.add_events(batch), 50)
    began = time.perf_counter()
    rows = len(shelf.event_columns()["user"])
    told["columns_rows_per_s"] = rows / (time.perf_counter() - began)
    return told


def measure(store: Store, folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    """All figures; ends with the check that every acknowledged event is there once."""
    shelf = store.of("bench")
    rates: dict[tuple[int, int], list[float]] = {shape: [] for shape in SHAPES}
    costs: dict[tuple[int, int], list[float]] = {shape: [] for shape in SHAPES}
    disk: list[float] = []
    alone: list[float] = []
    acknowledged = 0
    for turn in range(rounds):
        disk.append(syncs(folder, seconds / 3))
        alone.append(bare(folder, seconds))
        for shape in SHAPES:
            rate, cost, count = ingest(shelf, f"{time.time_ns()}-{turn}", *shape, seconds)
            rates[shape].append(rate), costs[shape].append(cost)
            acknowledged += count
    assert shelf.count("events") == acknowledged, "an acknowledged event is missing, or counted twice"
    plain = statistics.median(rates[PLAIN])
    table = [
        {"threads": threads, "batch": size, "events_per_s": statistics.median(rates[threads, size]),
         "ratio": statistics.median(rates[threads, size]) / plain, "cpu_us": statistics.median(costs[threads, size])}
        for threads, size in SHAPES
    ]  # fmt: skip
    told = {"syncs_per_s": statistics.median(disk), "bare_sqlite_rows_per_s": statistics.median(alone), "table": table}
    return {**told, "acknowledged": acknowledged, **reading(store)}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--url", default=None, help="a path or URL; a temporary SQLite file without")
    options.add_argument("--folder", default=None, help="where temporary files are made")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--out", type=Path, default=None)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        store = open_store(given.url or Path(folder) / "store.db")
        told = measure(store, Path(folder), given.rounds, given.seconds)
        store.close()
    told["machine"] = (
        f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}, SQLite {sqlite3.sqlite_version}"
    )
    form = "{threads:3d} threads x {batch:3d}: {events_per_s:9,.0f} events/s {ratio:6.1f}x {cpu_us:6.1f} us cpu"
    for row in told["table"]:  # type: ignore[attr-defined]
        print(form.format(**row))
    print(json.dumps({name: value for name, value in told.items() if name != "table"}, indent=1))
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
