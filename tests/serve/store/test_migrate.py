"""Schemas: every released one is upgraded, an interrupted upgrade is repeated, a newer one is refused."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from tests.serve.store.filled import check, fill
from tests.serve.store.lives import upgrade

from hexarec.core import MissingExtraError, OptionError, StateError
from hexarec.serve.store import crash, migrate
from hexarec.serve.store.engines import as_url
from hexarec.serve.store.open import open_store
from hexarec.serve.store.schema import REVISIONS, VERSION_TABLE, metadata

FIXTURES = Path(__file__).with_name("fixtures")
NEWEST = REVISIONS[-1]
NEXT = f'''
"""A revision of the future."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "next", "{NEWEST}", None, None
def upgrade():
    op.add_column("users", sa.Column("born", sa.Text()))
    op.execute("UPDATE users SET born = 'long ago'")
    op.create_table("wishes", sa.Column("tenant", sa.Text(), primary_key=True))
'''


def load(backend, url, revision):
    """A database as a release left it."""
    script = (FIXTURES / f"{revision}.{backend}.sql").read_text("utf-8")
    if backend == "sqlite":
        with sqlite3.connect(url) as file:
            file.executescript(script)
        file.close()
        return
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.connection.driver_connection.execute(script)
    engine.dispose()


def query(url, words):
    engine = create_engine(as_url(url))
    with engine.begin() as connection:
        rows = connection.execute(text(words))
        found = rows.fetchall() if rows.returns_rows else []
    engine.dispose()
    return found


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_released_store_is_upgraded_with_all_its_rows(backend, url, revision):
    load(backend, url, revision)
    for _ in range(2):
        store = open_store(url)
        check(store)
        store.close()


def test_a_store_of_today_holds_what_the_fixtures_hold(url):
    store = open_store(url)
    fill(store), check(store)
    assert store.of("tenant-1").cached("c1") == b"\x00\xff"
    store.close()


def test_every_released_schema_has_its_fixture():
    assert {file.name.split(".")[0] for file in FIXTURES.iterdir()} == set(REVISIONS)


def test_the_migrations_end_at_the_tables_of_the_code(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    open_store(url).close()
    engine = create_engine(as_url(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        found = inspect(connection)
        for table in metadata.tables.values():
            keys = found.get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key] and keys[0] == "tenant"
            for column in found.get_columns(table.name):
                assert column["nullable"] == table.c[column["name"]].nullable
    engine.dispose()


def test_the_code_knows_every_revision():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    known = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(known)) == REVISIONS


@pytest.fixture
def future(tmp_path, monkeypatch):
    """The migrations with one more."""
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "next.py").write_text(NEXT)
    return str(scripts)


@pytest.mark.parametrize("point", [point for point in crash.POINTS if point.startswith("migrate")])
def test_an_interrupted_upgrade_is_all_or_nothing_and_repeated(processes, backend, url, future, point):
    load(backend, url, NEWEST)
    process = processes.Process(target=upgrade, args=(url, future, point))
    process.start(), process.join(60)
    assert process.exitcode == 137
    done = query(url, f"SELECT version_num FROM {VERSION_TABLE}")[0][0]
    assert done == ("next" if point == "migrate.after" else NEWEST)
    process = processes.Process(target=upgrade, args=(url, future, None))
    process.start(), process.join(60)
    assert process.exitcode == 0
    assert query(url, "SELECT DISTINCT born FROM users") == [("long ago",)] and query(url, "SELECT * FROM wishes") == []
    with pytest.raises(StateError) as caught:
        open_store(url)
    assert "next" in caught.value.message and "update" in caught.value.hint


def test_a_newer_schema_is_refused_and_left_alone(url):
    open_store(url).close()
    query(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StateError):
        open_store(url)
    assert query(url, f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]


def test_a_database_of_something_else_is_refused(url):
    query(url, "CREATE TABLE users (name TEXT)")
    with pytest.raises(StateError) as caught:
        open_store(url)
    assert "users" in caught.value.message


def test_an_encoding_that_does_not_keep_every_text_is_refused(postgres):
    with pytest.raises(StateError) as caught:
        open_store(postgres.create("latin", encoding="LATIN1"))
    assert "UTF8" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x/y",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+asyncpg://x/y",
        "://",
        "redis://localhost",
        "x://[::",
    ],
)
def test_other_places_are_refused(url):
    with pytest.raises(OptionError):
        open_store(url)


def test_forms_of_a_place(tmp_path):
    for where in (tmp_path / "deep" / "er" / "a.db", str(tmp_path / "b.db"), f"sqlite:///{tmp_path / 'c.db'}"):
        store = open_store(where)
        assert store.url.startswith("sqlite:///") and store.tenants() == []
        store.close()
    assert as_url("postgresql://u:secret@h/d").drivername == "postgresql+psycopg"


def test_without_psycopg_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError) as caught:
        open_store("postgresql://nobody@localhost/none")
    assert "scale" in caught.value.hint


def test_without_sqlalchemy_the_extra_is_named():
    import subprocess
    import sys

    words = "import sys; sys.modules['sqlalchemy'] = None\ntry:\n import hexarec.serve.store.open\nexcept Exception as e: print(type(e).__name__, e)"
    told = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60).stdout
    assert told.startswith("MissingExtraError") and "hexarec[serve]" in told


def test_a_server_that_does_not_answer(tmp_path):
    with pytest.raises(StateError) as caught:
        open_store("postgresql://nobody@127.0.0.1:9/none")
    assert caught.value.hint and caught.value.retryable


def test_a_password_is_not_shown(postgres):
    url = postgres.create("secret").replace("hexarec@", "hexarec:hunter2@")
    store = open_store(url)
    assert "hunter2" not in store.url
    store.close()
