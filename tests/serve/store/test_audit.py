"""The chain of the audit log: whatever is done to it behind its back is found."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update

from hexarec.serve.store.audit import Audit, link
from hexarec.serve.store.rows import AuditRow
from hexarec.serve.store.schema import audit, heads


def test_links_are_numbered_and_whole(shelf, clock):
    assert shelf.audit_check() is None
    first = shelf.audit("key-1", "erase", "a user", "r1")
    clock.now += 1
    second = shelf.audit("key-1", "export", "物")
    assert (first.seq, second.seq, second.time) == (1, 2, 1_000_001.0)
    assert shelf.audit_rows() == [first, second] and shelf.audit_rows(after=1) == [second]
    assert isinstance(first, AuditRow) and shelf.audit_check() is None


def test_a_chain_that_grows_is_whole_at_every_moment(shelf):
    thread = threading.Thread(target=lambda: [shelf.audit("k", "x", str(n)) for n in range(30)])
    thread.start()
    while thread.is_alive():
        assert shelf.audit_check() is None
    assert shelf.audit_check() is None and shelf.count("audit") == 30


class Inside(Audit):
    """The audit log as a transaction sees it that changes rows behind the store's back."""

    def __init__(self, shelf, connection):
        super().__init__(shelf.tenant, shelf._reader, shelf._writer, shelf._clock)
        self.connection = connection

    def _rows(self, statement, values=None):
        return self.connection.execute(statement, values).fetchall()


def grow(shelf, rows):
    futures = [
        shelf._soon(lambda c, n=n: shelf._link(c, float(n), {"who": f"w{n % 3}", "what": "x", "target": str(n), "request": ""}))
        for n in range(rows)
    ]  # fmt: skip
    assert futures[-1].result().seq == rows and shelf.audit_check() is None


def row_at(inside, seq):
    return inside.audit_rows(seq - 1, 1)[0]


def write(inside, row, at=None):
    here = (audit.c.tenant == inside.tenant, audit.c.seq == (at or row.seq))
    inside.connection.execute(update(audit).where(*here).values(**vars(row)))


def remove(inside, condition):
    inside.connection.execute(delete(audit).where(audit.c.tenant == inside.tenant, condition))


def removed(inside, seq, rows):
    remove(inside, audit.c.seq == seq)
    return seq


def altered(inside, seq, rows):
    name, value = [("who", "x"), ("what", "y"), ("target", ""), ("request", "r"), ("time", 0.5), ("digest", "0" * 64)][
        seq % 6
    ]
    write(inside, replace(row_at(inside, seq), **{name: value}))
    return seq


def forged(inside, seq, rows):
    """Altered, with a digest that fits: the next link breaks, or the head after the last one."""
    before = row_at(inside, seq - 1).digest if seq > 1 else ""
    row = replace(row_at(inside, seq), who="forged")
    write(inside, replace(row, digest=link(inside.tenant, before, row)))
    return min(seq + 1, rows)


def swapped(inside, seq, rows):
    other = seq % rows + 1
    one, two = row_at(inside, seq), row_at(inside, other)
    write(inside, replace(two, seq=seq), at=seq), write(inside, replace(one, seq=other), at=other)
    return min(seq, other)


def cut(inside, seq, rows):
    remove(inside, audit.c.seq >= seq)
    return seq


def appended(inside, seq, rows):
    """A link that fits, of which the head knows nothing."""
    last = row_at(inside, rows)
    row = replace(last, seq=rows + 1, who=f"w{seq}")
    row = replace(row, digest=link(inside.tenant, last.digest, row))
    inside.connection.execute(audit.insert(), {"tenant": inside.tenant, **vars(row)})
    return rows + 1


def headless(inside, seq, rows):
    remove(inside, audit.c.seq > seq)
    inside.connection.execute(delete(heads).where(heads.c.tenant == inside.tenant))
    return 1


KINDS = (removed, altered, forged, swapped, cut, appended, headless)


def tamper(shared, shelf, rows):
    """How many changes were found, of how many; each with the right first link."""
    found = tried = 0
    with shared._writing.connect() as connection, connection.begin():
        inside = Inside(shelf, connection)
        for kind in KINDS:
            for seq in range(1, rows + 1):
                change = connection.begin_nested()
                expected = kind(inside, seq, rows)
                found += inside.audit_check() == expected
                tried += 1
                change.rollback()
        assert inside.audit_check() is None
    return found, tried


def test_every_change_is_found(shared, shelf):
    grow(shelf, 40)
    assert tamper(shared, shelf, 40) == (280, 280)


@pytest.mark.slow
def test_every_change_of_a_thousand_links_is_found(shared, shelf, backend):
    if backend == "postgresql":
        pytest.skip("the same code was asked on SQLite")
    grow(shelf, 1000)
    found = tamper(shared, shelf, 1000)
    print(found)
    assert found == (7000, 7000)


def test_heads_are_of_one_tenant(shared, shelf):
    shelf.audit("k", "x", "y")
    other = shared.of(shelf.tenant + "-other")
    assert other.audit_check() is None and other.audit("k", "x", "y").digest != shelf.audit_rows()[0].digest
    rows = shelf._rows(select(heads.c.count).where(heads.c.tenant.in_([shelf.tenant, other.tenant])))
    assert [row[0] for row in rows] == [1, 1]
