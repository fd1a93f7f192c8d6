"""The tables. The tenant is the first column of every primary key; ids sort by code point on both databases."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)  # fmt: skip

from hexarec.serve.store.checks import checked_text

REVISIONS = ("0001", "0002", "0003")
"""Every revision of the schema, oldest first; the last one is what this code reads."""
VERSION_TABLE = "hexarec_revision"
"""Where the revision of a database stands."""


class Word(TypeDecorator[str]):
    """An id or another short text: sorted by code point, and refused alike on both databases when it cannot be kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Also what is only looked for is refused: one database would find nothing, the other fail."""
        return value if value is None else checked_text(value, "id")


metadata = MetaData()
_WORD = Word().with_variant(Word(collation="C"), "postgresql")  # it would sort by the language of the database


def _key(name: str) -> Column[str]:
    return Column(name, _WORD, primary_key=True, nullable=False)


def _word(name: str) -> Column[str]:
    return Column(name, _WORD, nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _maybe(name: str) -> Column[str | None]:
    return Column(name, _WORD)


def _time(name: str = "time") -> Column[float]:
    return Column(name, Double, nullable=False)


def _count(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _number(name: str) -> Column[float | None]:
    return Column(name, Double)


def _whole(name: str) -> Column[int | None]:
    return Column(name, BigInteger)


def _index(name: str, *columns: str, unique: bool = False, where: str | None = None) -> Index:
    only = text(where) if where else None
    return Index(name, *columns, unique=unique, sqlite_where=only, postgresql_where=only)


tenants = Table("tenants", metadata, _key("tenant"), _time("created"), Column("salt", LargeBinary, nullable=False))

counters = Table("counters", metadata, _key("tenant"), _key("name"), _count("value"))

events = Table(
    "events", metadata,
    _key("tenant"), _key("id"), _count("seq"), _word("item"), _time(), _word("kind"), _maybe("user"), _maybe("session"),
    _number("value"), _text("text"), _maybe("request"), _whole("position"), _word("source"),
    Column("digest", LargeBinary, nullable=False),
    _index("events_seq", "tenant", "seq", unique=True),
    _index("events_user", "tenant", "user", "time", "seq", where='"user" IS NOT NULL'),
    _index("events_session", "tenant", "session", "time", "seq", where="session IS NOT NULL"),
    _index("events_request", "tenant", "request", where="request IS NOT NULL"),
)  # fmt: skip

items = Table(
    "items", metadata,
    _key("tenant"), _key("id"), _count("version"), Column("deleted", Boolean, nullable=False),
    _text("title"), _text("text"), _text("attributes"), _text("titles"), _text("texts"), _number("since"),
    _index("items_version", "tenant", "version", unique=True),
)  # fmt: skip

users = Table(
    "users", metadata, _key("tenant"), _key("id"), _text("attributes"), _maybe("lang")
)  # fmt: skip

shown = Table(
    "shown", metadata,
    _key("tenant"), _key("request"), _time(), _word("pipeline"), _word("source"), _maybe("user"), _maybe("session"),
    _maybe("experiment"), _text("body"),
    _index("shown_time", "tenant", "time"),
    _index("shown_user", "tenant", "user", where='"user" IS NOT NULL'),
    _index("shown_session", "tenant", "session", where="session IS NOT NULL"),
)  # fmt: skip

answers = Table(
    "answers", metadata,
    _key("tenant"), _key("request"), _maybe("user"), _time(), _text("body"), _maybe("session"),
    _index("answers_user", "tenant", "user", where='"user" IS NOT NULL'),
    _index("answers_session", "tenant", "session", where="session IS NOT NULL"),
    _index("answers_nobody", "tenant", "time", where='"user" IS NULL'),
)  # fmt: skip

dialogues = Table(
    "dialogues", metadata,
    _key("tenant"), _key("id"), _maybe("user"), _time(), _text("body"),
    _index("dialogues_user", "tenant", "user", where='"user" IS NOT NULL'),
)  # fmt: skip

documents = Table(
    "documents", metadata,
    _key("tenant"), _key("kind"), _key("name"), _count("version", key=True), _time("created"),
    Column("active", Boolean, nullable=False), _text("body"),
    _index("documents_active", "tenant", "kind", "name", unique=True, where="active"),
)  # fmt: skip

jobs = Table(
    "jobs", metadata,
    _key("tenant"), _key("id"), _count("seq"), _word("kind"), _text("args"), _time("created"),
    _word("state"), _maybe("worker"), _number("beat"), _number("started"), _number("ended"),
    _text("phase"), _count("done"), _whole("total"), _number("since"), Column("cancel", Boolean, nullable=False),
    Column("result", Text), Column("error", Text), _count("attempts"), _maybe("key"),
    _index("jobs_state", "tenant", "state", "seq"),
)  # fmt: skip

job_lines = Table("job_lines", metadata, _key("tenant"), _key("job"), _count("seq", key=True), _text("line"))

keys = Table(
    "keys", metadata,
    _key("tenant"), _key("id"), _text("name"), _word("digest"), _word("scopes"), _time("created"),
    _number("expires"), _number("revoked"), _number("rate"), _whole("burst"), _whole("calls"), _whole("tokens"),
    _number("dollars"),
    _index("keys_id", "id", unique=True),
)  # fmt: skip

spending = Table(
    "spending", metadata, _key("tenant"), _key("key"), _key("day"), _count("calls"), _count("tokens"), _time("dollars")
)

buckets = Table("buckets", metadata, _key("tenant"), _key("key"), _time("level"), _time())

audit = Table(
    "audit", metadata,
    _key("tenant"), _count("seq", key=True), _time(), _text("who"),
    _text("what"), _text("target"), _text("request"),
    _word("digest"),
)  # fmt: skip

heads = Table("heads", metadata, _key("tenant"), _count("count"), _word("digest"))

cache = Table(
    "cache", metadata,
    _key("tenant"), _key("key"), Column("value", LargeBinary, nullable=False), _time("used"),
    _index("cache_used", "tenant", "used"),
)  # fmt: skip

cache_owners = Table(
    "cache_owners", metadata,
    _key("tenant"), _key("key"), _key("owner"),
    _index("cache_owners_owner", "tenant", "owner"),
)  # fmt: skip

assignments = Table(
    "assignments", metadata, _key("tenant"), _key("experiment"), _key("unit"), _word("arm"),
    _index("assignments_unit", "tenant", "unit"),
)  # fmt: skip

erased = Table("erased", metadata, _key("tenant"), _key("mark"), _time())
