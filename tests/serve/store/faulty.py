"""Run in a process of its own with faults.c preloaded: a day in the life of a store whose disk fails at the Nth call.

`python -m tests.serve.store.faulty loop FOLDER KIND STRIDE` and `... trace FOLDER` print one JSON object.
"""

import ctypes
import errno
import json
import shutil
import sqlite3
import sys
from pathlib import Path

from hexarec.core import HexarecError
from hexarec.serve.store.errors import StoppedError
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow, ItemRow, ShownRow, UserRow

WRITE, SYNC, TRUNCATE, READ = 1, 2, 4, 8
EVERYTHING = WRITE | SYNC | TRUNCATE
# kind: (which calls, errno, how many fail from the Nth on, half of the bytes are written first)
KINDS = {
    "eio": (EVERYTHING, errno.EIO, 1, 0),
    "eio for good": (EVERYTHING, errno.EIO, -1, 0),
    "no space": (WRITE, errno.ENOSPC, -1, 0),
    "no space once": (WRITE, errno.ENOSPC, 1, 0),
    "short writes": (WRITE, errno.ENOSPC, 1, 1),
    "sync": (SYNC, errno.EIO, 1, 0),
    "interrupted": (WRITE | SYNC, errno.EINTR, 1, 0),
    "read": (READ, errno.EIO, 1, 0),
}


def shim():
    library = ctypes.CDLL(None)
    for name in ("faults_arm", "faults_seen", "faults_hits", "faults_mark"):
        getattr(library, name).restype = ctypes.c_long
    return library


class Day:
    """What was asked of a store, what it promised, and which errors it gave."""

    def __init__(self, url):
        self.url = url
        self.kept, self.canarys, self.errors, self.strange = set(), set(), set(), []
        self.erased = False
        self.active, self.items, self.store = None, set(), None

    def attempt(self, step):
        """Whether a step was acknowledged; a stopped store is opened again, once."""
        for _ in range(2):
            try:
                self.store = self.store or open_store(self.url)
                return step(self.store.of("a")) is not False
            except StoppedError as error:
                self.errors.add(type(error).__name__)
                self.close()
            except HexarecError as error:
                self.errors.add(type(error).__name__)
                return False
            except Exception as error:
                self.strange.append(repr(error)[:300])
                return False
        return False

    def close(self):
        store, self.store = self.store, None
        try:
            if store is not None:
                store.close()
        except HexarecError as error:
            self.errors.add(type(error).__name__)
        except Exception as error:
            self.strange.append(repr(error)[:300])

    def write(self, batch, user):
        rows = [EventRow(f"{batch}-{n}", f"i{n}", float(n), user=user, text="x" * 200) for n in range(12)]
        if self.attempt(lambda shelf: set(shelf.add_events(rows)) <= {"new", "same"}):
            self.kept |= {row.id for row in rows}

    def publish(self, number):
        if self.attempt(lambda shelf: shelf.put("model", "m", {"n": number}, activate=True)):
            self.active = number

    def live(self, mark=lambda: None):
        """Every kind of write once or twice."""
        for batch, user in enumerate(["u", "canary", "u", "v"]):
            self.write(batch, user)
            mark()
        self.attempt(lambda shelf: shelf.put_items([ItemRow(f"i{n}", "title " * 20) for n in range(10)]))
        self.publish(1)
        self.attempt(lambda shelf: shelf.put_users([UserRow("canary", {"a": 1}), UserRow("u")]))
        self.attempt(
            lambda shelf: shelf.log_shown_soon([ShownRow("r", 1.0, "p", "g", ("i1",), (1.0,), user="canary")]).result()
        )
        self.attempt(lambda shelf: shelf.audit("k", "erase", "somebody"))
        mark()
        self.canarys = {id for id in self.kept if id.startswith("1-")}
        self.kept -= self.canarys
        self.erased = self.attempt(lambda shelf: shelf.erase_user("canary"))
        self.publish(2)
        if self.attempt(lambda shelf: shelf.delete_item("i1")):
            self.items.add("i1")
        self.attempt(lambda shelf: shelf.histories(["u", "v"]))
        self.attempt(lambda shelf: shelf.scrub())
        self.write(4, "w")
        mark()
        self.close()


def wrong(day):
    """What a store, opened again on a disk that works, does not keep of its promises."""
    file = sqlite3.connect(day.url)
    found = [] if file.execute("PRAGMA integrity_check").fetchone() == ("ok",) else ["the file is damaged"]
    file.close()
    store = open_store(day.url)
    shelf = store.of("a")
    there = [row.id for _, row in shelf.events()]
    gone = day.erased or shelf.erased("canary")  # an erasure that was not acknowledged may have happened, all of it
    found += [f"lost {id}" for id in sorted(day.kept - set(there))]
    found += [f"half erased {id}" for id in sorted(day.canarys & set(there) if gone else day.canarys - set(there))]
    found += ["an event twice"] * (len(there) != len(set(there)))
    found += ["half a batch"] * (len(there) % 12 > 0)
    found += ["the audit log is broken"] * (shelf.audit_check() is not None)
    active = [one.body["n"] for one in shelf.versions("model", "m") if one.active]
    found += [f"active are {active}"] * (
        len(active) > 1 or (day.active is not None and (not active or active[0] < day.active))
    )
    found += ["a deleted item stands"] * any(shelf.item(id) is not None for id in day.items)
    shelf.add_events([EventRow("after", "i", 1.0, user="u")])
    found += ["nothing can be written"] * ("after" not in {row.id for _, row in shelf.events()})
    store.close()
    return found


def loop(folder, kind, stride):
    """Let the Nth call fail, N = 1, 1 + stride, ..., until the day passes without meeting it."""
    library, template = shim(), folder / "template.db"
    open_store(template).close()
    told = {"kind": kind, "days": 0, "faults": 0, "last": 0, "errors": [], "strange": [], "wrong": []}
    errors, n = set(), 1
    while True:
        own = folder / f"day{n}"
        own.mkdir()
        fresh = n % 5 == 0  # every fifth day begins with no file, so that the migration meets the fault too
        if not fresh:
            shutil.copy(template, own / "store.db")
        day = Day(own / "store.db")
        what, number, often, halves = KINDS[kind]
        library.faults_arm(n, what, number, often, halves)
        day.live()
        hits = library.faults_hits()
        library.faults_arm(0, 0, 0, 0, 0)
        told["wrong"] += [f"{n}: {one}" for one in wrong(day)]
        told["strange"] += [f"{n}: {one}" for one in day.strange]
        told["days"], told["faults"] = told["days"] + 1, told["faults"] + hits
        errors |= day.errors
        shutil.rmtree(own)
        if hits == 0 and not fresh:
            break
        told["last"], n = n, n + stride
    return {**told, "errors": sorted(errors)}


def trace(folder):
    """One good day with every change written down, and the ids that were acknowledged before each mark."""
    library = shim()
    library.faults_journal(str(folder.parent / "journal").encode())
    day, marks = Day(folder / "store.db"), []

    def mark():
        marks.append(sorted(day.kept))
        library.faults_mark(len(marks))

    day.live(mark)
    return {"marks": marks, "strange": day.strange, "errors": sorted(day.errors)}


if __name__ == "__main__":
    act, folder, *rest = sys.argv[1:]
    answer = loop(Path(folder), rest[0], int(rest[1])) if act == "loop" else trace(Path(folder))
    print(json.dumps(answer))
