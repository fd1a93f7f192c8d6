"""The schema by the command line, and what `db check` sees."""

import sqlite3

import pytest
from tests.cli.calls import answer, call, fails

from hexarec.serve.store.schema import REVISIONS


def test_a_good_store_passes(home):
    told = answer("db", "check", "--home", home)
    assert told == {"revision": REVISIONS[-1], "newest": REVISIONS[-1], "tenants": ["default"], "faults": []}
    assert f"schema {REVISIONS[-1]}" in call("db", "upgrade", "--home", home).stdout


@pytest.mark.skipif(len(REVISIONS) == 1, reason="no schema is older than the one of today")
def test_an_old_schema_is_seen_and_upgraded(home):
    from sqlalchemy import create_engine

    from hexarec.serve.store.migrate import upgrade

    (home / "store.sqlite").unlink()
    engine = create_engine(f"sqlite:///{home / 'store.sqlite'}")
    with engine.begin() as connection:
        upgrade(connection, "0001")
    engine.dispose()
    made = call("db", "check", "--home", home, code=1)
    assert "hexarec db upgrade" in made.stderr
    said = call("db", "upgrade", "--home", home).stdout
    assert f"schema {REVISIONS[-1]}, before 0001" in said
    assert call("db", "check", "--home", home).stdout


def test_a_store_that_is_not_there_is_not_made_by_a_check(tmp_path):
    made = call("db", "check", "--home", tmp_path / "none", code=1)
    assert "there is no database" in made.stderr and not (tmp_path / "none").exists()
    assert "before none" in call("db", "upgrade", "--home", tmp_path / "none").stdout


def test_a_changed_audit_log_is_seen(home):
    call("keys", "create", "a", "--scope", "read", "--home", home)
    with sqlite3.connect(home / "store.sqlite") as store:
        store.execute("UPDATE audit SET who = 'somebody else'")
    assert "the audit log of default is broken at link 1" in call("db", "check", "--home", home, code=1).stderr


def test_a_damaged_file_is_said_to_be_damaged(home):
    (home / "store.sqlite").write_bytes(b"no database at all " * 500)
    assert "damaged or no database" in call("db", "check", "--home", home, code=1).stderr
    assert "damaged or no database" in fails("keys", "list", "--home", home)


def test_unknown_settings_are_named(home, tmp_path):
    (tmp_path / "hexarec.toml").write_text("[serve]\nportt = 1\n")
    assert "did you mean 'port'" in fails("db", "check", "--home", home)
