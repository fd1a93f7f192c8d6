"""What a process does that is about to be killed: it writes, and notes in a file of its own what was acknowledged."""

import os
import threading

from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow


class Notes:
    """Lines that outlive the process: one write call each, to a file opened for appending."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def __call__(self, *words):
        os.write(self.fd, (" ".join(words) + "\n").encode())


def events_of(life, writer, n):
    """A batch; each overlaps the one before, as a client that sends again what it is not sure of."""
    return [
        EventRow(f"{life}.{writer}.{k}", f"i{k}", float(k), user=f"u{writer}", text=f"text {k}" * (1 + k % 9))
        for k in range(max(0, n * 5 - 3), n * 5 + 5)
    ]


def ingest(shelf, notes, life, writer, batches):
    for n in range(batches):
        rows = events_of(life, writer, n)
        assert set(shelf.add_events(rows)) <= {"new", "same"}
        notes("event", *(row.id for row in rows))


def rule(shelf, notes, life, rounds):
    """Documents and erasures; a canary has four events, all there or all gone."""
    for n in range(rounds):
        shelf.audit("k", "round", f"{life}.{n}")
        made = shelf.put("model", "m", {"life": life}, activate=True)
        notes("active", str(made.version))
        canary = f"c{life}.{n}"
        shelf.add_events([EventRow(f"{canary}.{k}", "i", 1.0, user=canary, session=f"s{canary}") for k in range(4)])
        notes("canary", canary)
        shelf.erase_user(canary)
        notes("erased", canary)
        shelf.activate("model", "m", made.version)
        if n % 4 == 3:
            shelf.scrub()


def live(url, path, life, crash_at=None, batches=60, rounds=8):
    """The target of a process: open, write from four threads, close."""
    if crash_at:
        os.environ["CRASH_AT"] = crash_at
    notes = Notes(path)
    store = open_store(url)
    notes("open")
    shelf = store.of("a")
    threads = [threading.Thread(target=ingest, args=(shelf, notes, life, writer, batches)) for writer in range(3)]
    threads.append(threading.Thread(target=rule, args=(shelf, notes, life, rounds)))
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    store.close()
    notes("closed")


def upgrade(url, scripts, crash_at):
    """The target of a process: open a store with a version of the code that knows one more revision."""
    from pathlib import Path

    from hexarec.serve.store import migrate

    if crash_at:
        os.environ["CRASH_AT"] = crash_at
    migrate.SCRIPTS, migrate.REVISIONS = Path(scripts), (*migrate.REVISIONS, "next")
    open_store(url).close()
