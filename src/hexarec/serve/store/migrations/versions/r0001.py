"""All tables of the first release."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "word": _WORD, "text": sa.Text(), "real": sa.Double(), "whole": sa.BigInteger(), "bool": sa.Boolean(),
    "bytes": sa.LargeBinary(),
}  # fmt: skip

# name: (columns of the key, other columns). A column is "name type", with "?" at its end when it may be empty.
_TABLES = {
    "tenants": ("tenant word", "created real, salt bytes"),
    "counters": ("tenant word, name word", "value whole"),
    "events": (
        "tenant word, id word",
        "seq whole, item word, time real, kind word, user word?, session word?, value real?, text text, request word?, "
        "position whole?, source word, digest bytes",
    ),
    "items": (
        "tenant word, id word",
        "version whole, deleted bool, title text, text text, attributes text, titles text, texts text, since real?",
    ),
    "users": ("tenant word, id word", "attributes text, lang word?"),
    "shown": (
        "tenant word, request word",
        "time real, pipeline word, source word, user word?, session word?, experiment word?, body text",
    ),
    "answers": ("tenant word, request word", "user word?, time real, body text"),
    "dialogues": ("tenant word, id word", "user word?, time real, body text"),
    "documents": ("tenant word, kind word, name word, version whole", "created real, active bool, body text"),
    "jobs": (
        "tenant word, id word",
        "seq whole, kind word, args text, created real, state word, worker word?, beat real?, started real?, "
        "ended real?, phase text, done whole, total whole?, since real?, cancel bool, "
        "result text?, error text?, attempts whole",
    ),
    "job_lines": ("tenant word, job word, seq whole", "line text"),
    "keys": (
        "tenant word, id word",
        "name text, digest word, scopes word, created real, expires real?, revoked real?, rate real?, burst whole?, "
        "calls whole?, tokens whole?, dollars real?",
    ),
    "spending": ("tenant word, key word, day word", "calls whole, tokens whole, dollars real"),
    "buckets": ("tenant word, key word", "level real, time real"),
    "audit": ("tenant word, seq whole", "time real, who text, what text, target text, request text, digest word"),
    "heads": ("tenant word", "count whole, digest word"),
    "cache": ("tenant word, key word", "value bytes, user word?"),
    "assignments": ("tenant word, experiment word, unit word", "arm word"),
    "erased": ("tenant word, mark word", "time real"),
}

# name: (table, columns, unique, condition)
_INDEXES = {
    "events_seq": ("events", "tenant, seq", True, ""),
    "events_user": ("events", "tenant, user, time, seq", False, '"user" IS NOT NULL'),
    "events_session": ("events", "tenant, session, time, seq", False, "session IS NOT NULL"),
    "events_request": ("events", "tenant, request", False, "request IS NOT NULL"),
    "items_version": ("items", "tenant, version", True, ""),
    "shown_time": ("shown", "tenant, time", False, ""),
    "shown_user": ("shown", "tenant, user", False, '"user" IS NOT NULL'),
    "shown_session": ("shown", "tenant, session", False, "session IS NOT NULL"),
    "answers_user": ("answers", "tenant, user", False, '"user" IS NOT NULL'),
    "dialogues_user": ("dialogues", "tenant, user", False, '"user" IS NOT NULL'),
    "documents_active": ("documents", "tenant, kind, name", True, "active"),
    "jobs_state": ("jobs", "tenant, state, seq", False, ""),
    "keys_id": ("keys", "id", True, ""),
    "cache_user": ("cache", "tenant, user", False, '"user" IS NOT NULL'),
    "assignments_unit": ("assignments", "tenant, unit", False, ""),
}


def _columns(said: str, *, key: bool) -> list[sa.Column[Any]]:
    return [
        sa.Column(name, _TYPES[kind.rstrip("?")], primary_key=key, nullable=kind.endswith("?"), autoincrement=False)
        for name, kind in (one.split() for one in said.split(", "))
    ]


def upgrade() -> None:
    """Make every table and index."""
    for table, (key, rest) in _TABLES.items():
        op.create_table(table, *_columns(key, key=True), *_columns(rest, key=False))
    for name, (table, columns, unique, condition) in _INDEXES.items():
        where = sa.text(condition) if condition else None
        op.create_index(
            name, table, columns.split(", "), unique=unique, sqlite_where=where, postgresql_where=where
        )  # fmt: skip
