"""What was shown, the answers with their traces, and dialogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, delete, select

from hexarec.core.errors import StateError
from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import as_json, checked_id, checked_number, checked_user, from_json
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.rows import ShownRow
from hexarec.serve.store.schema import answers, dialogues, erased, shown
from hexarec.serve.store.statements import grown, insert_new, upsert

_S = shown.c
_LISTS = ("items", "propensities", "sources", "teams")
_REST = ("policy", "arm", "seconds", "degraded")


class Shown(Access):
    """What a tenant's users were given. Nothing is kept that is older than the erasure of its user."""

    def log_shown_soon(self, rows: Sequence[ShownRow]) -> Future[None]:
        """Write lists that were shown; a request that is there already changes nothing. Raises DataError at once."""
        checked = [{"tenant": self.tenant, **_checked(row)} for row in rows]
        return self._soon(lambda connection: insert_new(connection, shown, self._younger(connection, checked)))

    def shown(self, request: str) -> ShownRow | None:
        """What was shown under a request id."""
        row = self._row(select(shown).where(_S.tenant == self.tenant, _S.request == request))
        return _shown(row) if row else None

    def shown_between(
        self, start: float, stop: float, *, pipeline: str | None = None, experiment: str | None = None,
        most: int | None = None, source: str | None = "log",
    ) -> list[ShownRow]:  # fmt: skip
        """Lists shown at start <= time < stop, by time, then request. `most` None means all, `source` None any."""
        query = select(shown).where(_S.tenant == self.tenant, _S.time >= start, _S.time < stop)
        for column, wanted in ((_S.pipeline, pipeline), (_S.experiment, experiment), (_S.source, source)):
            query = query if wanted is None else query.where(column == wanted)
        return [_shown(row) for row in self._rows(query.order_by(_S.time, _S.request).limit(most))]

    def shown_newest(self, start: float, stop: float, most: int) -> list[ShownRow]:
        """The newest lists shown at start <= time < stop, of any pipeline, oldest first."""
        query = select(shown).where(_S.tenant == self.tenant, _S.time >= start, _S.time < stop, _S.source == "log")
        rows = self._rows(query.order_by(_S.time.desc(), _S.request.desc()).limit(most))
        return [_shown(row) for row in reversed(rows)]

    def keep_answer_soon(
        self, request: str, user: str | None, time: float, body: Mapping[str, Any], *, session: str | None = None
    ) -> Future[None]:
        """Keep an answer with its trace; a later one under the same request id replaces it."""
        row = {
            "tenant": self.tenant, "request": checked_id(request, "request"), "user": _maybe_user(user),
            "session": _maybe_id(session, "session"), "time": checked_number(time, "time"),
            "body": as_json(body, "body"),
        }  # fmt: skip
        return self._soon(lambda connection: upsert(connection, answers, self._younger(connection, [row])))

    def answer(self, request: str) -> Mapping[str, Any] | None:
        """The answer under a request id."""
        query = select(answers.c.body).where(answers.c.tenant == self.tenant, answers.c.request == request)
        row = self._row(query)
        return from_json(row.body) if row else None

    def sweep_answers(self, before: float) -> int:
        """Delete answers without a user that were kept before this moment; how many."""
        old = answers.c.user.is_(None) & (answers.c.time < before)
        gone = delete(answers).where(answers.c.tenant == self.tenant, old)
        return self._write(lambda connection: int(connection.execute(gone).rowcount))

    def put_dialogue(self, id: str, user: str | None, body: Mapping[str, Any], since: float | None = None) -> None:
        """Write a dialogue, whole. Raises StateError for one that was erased, or whose user was at `since` or later."""
        row = {
            "tenant": self.tenant, "id": checked_id(id, "id"), "user": _maybe_user(user), "time": self._clock(),
            "body": as_json(body, "body"),
        }  # fmt: skip
        asked = {"user": None if since is None else row["user"], "session": None, "time": since}

        def put(connection: Connection) -> None:
            if not self._living(connection, [asked])[0]:
                raise StateError("the user of this dialogue was erased meanwhile", hint="begin a new one")
            self._put_dialogue(connection, row)

        self._write(put)

    def put_dialogues(
        self, rows: Mapping[str, tuple[str | None, Mapping[str, Any]]], after: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        """Write dialogues (user, body) by id, all of them or none, where those in `after` still are what they were.

        None in `after`: there was no such dialogue. Raises ChangedError, StateError for one that was erased.
        """
        made = [
            {"tenant": self.tenant, "id": checked_id(id, "id"), "user": _maybe_user(user), "time": self._clock(),
             "body": as_json(body, "body")}
            for id, (user, body) in rows.items()
        ]  # fmt: skip

        def put(connection: Connection) -> None:
            self._check_dialogues(connection, after)
            for row in made:
                self._put_dialogue(connection, row)

        self._write(put)

    def dialogue(self, id: str) -> Mapping[str, Any] | None:
        """One dialogue."""
        row = self._row(select(dialogues.c.body).where(dialogues.c.tenant == self.tenant, dialogues.c.id == id))
        return from_json(row.body) if row else None

    def forget_dialogues(self, ids: Sequence[str], after: Mapping[str, Mapping[str, Any] | None] | None = None) -> int:
        """Delete dialogues for good: a reply still under way cannot bring one back. How many there were.

        after: as in `put_dialogues`. Raises ChangedError.
        """

        def forget(connection: Connection) -> int:
            self._check_dialogues(connection, after or {})
            return self._forget_dialogues(connection, list(dict.fromkeys(ids)))

        return self._write(forget)

    def sweep_dialogues(self, before: float) -> int:
        """Delete dialogues without a user that rest since this moment; how many."""
        old = dialogues.c.user.is_(None) & (dialogues.c.time < before)
        gone = delete(dialogues).where(dialogues.c.tenant == self.tenant, old)
        return self._write(lambda connection: int(connection.execute(gone).rowcount))

    def _check_dialogues(self, connection: Connection, after: Mapping[str, Mapping[str, Any] | None]) -> None:
        if after:
            grown(connection, self.tenant, "dialogues")  # its row of the counters is a lock
        for id, body in after.items():
            query = select(dialogues.c.body).where(dialogues.c.tenant == self.tenant, dialogues.c.id == id)
            there = connection.execute(query).scalar()
            if (None if there is None else from_json(there)) != body:
                raise ChangedError("the dialogue was changed meanwhile", hint="look at it, then try again")

    def _put_dialogue(self, connection: Connection, row: Mapping[str, Any]) -> None:
        if self._buried(connection, [self._mark("dialogue", row["id"])]):
            raise StateError("this dialogue was erased", hint="begin a new one, under another id")
        upsert(connection, dialogues, [row])

    def _forget_dialogues(self, connection: Connection, ids: Sequence[str]) -> int:
        here = (dialogues.c.tenant == self.tenant) & dialogues.c.id.in_(ids)
        gone = connection.execute(delete(dialogues).where(here)).rowcount
        now = self._clock()
        rows = [{"tenant": self.tenant, "mark": self._mark("dialogue", one), "time": now} for one in ids]
        if rows:
            upsert(connection, erased, rows)
        return gone

    def _younger(self, connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row, lives in zip(rows, self._living(connection, rows), strict=True) if lives]


def _maybe_user(user: str | None) -> str | None:
    return None if user is None else checked_user(user)


def _maybe_id(one: str | None, field: str) -> str | None:
    return None if one is None else checked_id(one, field)


def _checked(row: ShownRow) -> dict[str, Any]:
    body = {name: getattr(row, name) for name in (*_LISTS, *_REST)}
    return {
        "request": checked_id(row.request, "request"),
        "time": checked_number(row.time, "time"),
        "pipeline": checked_id(row.pipeline, "pipeline"),
        "source": checked_id(row.source, "source"),
        "user": _maybe_user(row.user),
        "session": _maybe_id(row.session, "session"),
        "experiment": _maybe_id(row.experiment, "experiment"),
        "body": as_json(body, "shown"),
    }


def _shown(row: Any) -> ShownRow:
    body = from_json(row.body)
    rest = {name: tuple(body[name]) for name in _LISTS} | {name: body[name] for name in _REST}
    return ShownRow(
        row.request, row.time, row.pipeline, user=row.user, session=row.session, experiment=row.experiment,
        source=row.source, **rest,
    )  # fmt: skip
