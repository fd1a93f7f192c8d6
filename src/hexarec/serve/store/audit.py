"""The audit log: append-only, each row hashed with the one before it, its length and last hash kept apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, insert, select

from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import checked_text
from hexarec.serve.store.rows import AuditRow
from hexarec.serve.store.schema import audit, heads
from hexarec.serve.store.statements import upsert

_A, _H = audit.c, heads.c
_COLUMNS = (_A.seq, _A.time, _A.who, _A.what, _A.target, _A.request, _A.digest)
_PAGE = 10_000


class Audit(Access):
    """Who did what to what, at one tenant. It holds no content: name an erased user by `pseudonym`."""

    def audit(self, who: str, what: str, target: str, request: str = "") -> AuditRow:
        """The new last link."""
        words = {"who": who, "what": what, "target": target, "request": request}
        said = {name: checked_text(word, name) for name, word in words.items()}
        return self._write(lambda connection: self._link(connection, self._clock(), said))

    def audit_rows(self, after: int = 0, most: int = 1000) -> list[AuditRow]:
        """Links after a number, in order."""
        query = select(*_COLUMNS).where(_A.tenant == self.tenant, _A.seq > after).order_by(_A.seq).limit(most)
        return [AuditRow(*row) for row in self._rows(query)]

    def audit_check(self) -> int | None:
        """The number of the first link that is broken, changed, moved or missing; None when all are whole."""
        longest = select(func.max(_A.seq)).where(_A.tenant == self.tenant).scalar_subquery()
        count, last = self._head(_H.count), self._head(_H.digest)
        there, count, last = self._row(select(longest, count, last))  # one statement: nothing is linked in between
        seq, digest = 0, ""
        while seq < (count or 0):
            rows = self.audit_rows(seq, min(_PAGE, count - seq))
            for row in rows:
                if row.seq != seq + 1 or row.digest != link(self.tenant, digest, row):
                    return int(seq + 1)
                seq, digest = row.seq, row.digest
            if not rows:
                return int(seq + 1)
        if (there or 0) > seq:
            return int(seq + 1)
        return None if digest == (last or "") else int(seq)

    def _head(self, column: Any) -> Any:
        return select(column).where(_H.tenant == self.tenant).scalar_subquery()

    def _link(self, connection: Connection, time: float, said: Mapping[str, str]) -> AuditRow:
        head = connection.execute(select(_H.count, _H.digest).where(_H.tenant == self.tenant)).first()
        length, before = tuple(head) if head else (0, "")
        row = AuditRow(length + 1, time, **said, digest="")
        row = replace(row, digest=link(self.tenant, before, row))
        connection.execute(insert(audit), {"tenant": self.tenant, **vars(row)})
        upsert(connection, heads, [{"tenant": self.tenant, "count": row.seq, "digest": row.digest}])
        return row


def link(tenant: str, before: str, row: AuditRow) -> str:
    """The digest of a link: SHA-256 over the digest before it and all its fields."""
    said = [tenant, before, row.seq, row.time, row.who, row.what, row.target, row.request]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
