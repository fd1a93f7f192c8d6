"""Users, and who was assigned to which arm of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, select, union

from hexarec.serve.store.access import Access
from hexarec.serve.store.checks import as_json, checked_id, checked_text, checked_user, from_json
from hexarec.serve.store.rows import UserRow
from hexarec.serve.store.schema import assignments, events, users
from hexarec.serve.store.statements import chunks, insert_new, upsert

_U, _A, _E = users.c, assignments.c, events.c
_LAST = "\U0010ffff"  # behind every letter that an id can hold


class Users(Access):
    """What the users of a tenant stated, and their arms."""

    def put_users(self, users: Sequence[UserRow]) -> None:
        """Write users, whole. Of equal ids the last one holds. Raises DataError before anything."""
        rows = self._user_rows(users)
        self._write(lambda connection: self._put_user_rows(connection, rows))

    def change_user(self, id: str, change: Callable[[UserRow], UserRow]) -> UserRow:
        """The user as `change` made them of what they stated, if anything; two at once both count.

        change: a function of the row alone; it may be called more than once.
        """
        blank = self._user_rows([UserRow(id)])
        query = select(_U.id, _U.attributes, _U.lang).where(_U.tenant == self.tenant, _U.id == id)

        def changed(connection: Connection) -> UserRow:
            insert_new(connection, users, blank)  # so that there is a row to wait for
            made = change(_user(connection.execute(query.with_for_update()).one()))
            self._put_user_rows(connection, self._user_rows([made]))
            return made

        return self._write(changed)

    def _user_rows(self, users: Sequence[UserRow]) -> list[dict[str, Any]]:
        return list({user.id: {"tenant": self.tenant, **_checked(user)} for user in users}.values())

    def _put_user_rows(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        upsert(connection, users, rows)

    def user(self, id: str) -> UserRow | None:
        """One user."""
        row = self._row(select(_U.id, _U.attributes, _U.lang).where(_U.tenant == self.tenant, _U.id == id))
        return _user(row) if row else None

    def users(self, after_id: str = "", most: int = 100) -> list[UserRow]:
        """Users by id; go on after the last id."""
        query = select(_U.id, _U.attributes, _U.lang).where(_U.tenant == self.tenant, _U.id > after_id)
        return [_user(row) for row in self._rows(query.order_by(_U.id).limit(most))]

    def users_of(self, ids: Sequence[str]) -> dict[str, UserRow]:
        """Those of these users who stated something, by id."""
        found: dict[str, UserRow] = {}
        for some in chunks(ids):
            query = select(_U.id, _U.attributes, _U.lang).where(_U.tenant == self.tenant, _U.id.in_(some))
            found.update((row.id, _user(row)) for row in self._rows(query))
        return found

    def people(self, beginning: str = "", most: int = 20) -> list[str]:
        """Ids that begin like this, of users who stated something or did something, by id."""
        stated = select(_U.id.label("id")).where(_U.tenant == self.tenant, _U.id >= beginning)
        acted = select(_E.user.label("id")).where(_E.tenant == self.tenant, _E.user.is_not(None), _E.user >= beginning)
        if beginning:
            stated, acted = stated.where(_U.id < beginning + _LAST), acted.where(_E.user < beginning + _LAST)
        both = union(
            select(stated.order_by(_U.id).limit(most).subquery()),
            select(acted.distinct().order_by(_E.user).limit(most).subquery()),
        ).subquery()
        return [row.id for row in self._rows(select(both.c.id).order_by(both.c.id).limit(most))]

    def assign(self, experiment: str, unit: str, arm: str) -> str:
        """The arm of the unit, for ever: the one that was written first."""
        key = {
            "tenant": self.tenant,
            "experiment": checked_id(experiment, "experiment"),
            "unit": checked_id(unit, "unit"),
        }
        query = select(_A.arm).where(*(_A[name] == value for name, value in key.items()))
        row = {**key, "arm": checked_id(arm, "arm")}
        found = self._row(query)
        return found.arm if found else self._write(lambda connection: _assign(connection, row, query))

    def assignments(self, experiment: str) -> list[tuple[str, str]]:
        """(unit, arm) of an experiment, by unit."""
        query = select(_A.unit, _A.arm).where(_A.tenant == self.tenant, _A.experiment == experiment)
        return [(row.unit, row.arm) for row in self._rows(query.order_by(_A.unit))]


def _assign(connection: Connection, row: dict[str, str], query: Any) -> str:
    insert_new(connection, assignments, [row])
    return str(connection.execute(query).scalar_one())


def _checked(user: UserRow) -> dict[str, Any]:
    return {
        "id": checked_user(user.id, "id"),
        "attributes": as_json(user.attributes, "attributes"),
        "lang": None if user.lang is None else checked_text(user.lang, "lang"),
    }


def _user(row: Any) -> UserRow:
    return UserRow(row.id, from_json(row.attributes), row.lang)
