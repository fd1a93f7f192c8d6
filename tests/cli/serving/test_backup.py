"""Backups of a server in use, and restores that forget whom the server had to forget."""

import shutil
import sqlite3
import sys
import tarfile
import threading
import zipfile

import pytest
from tests.cli.calls import answer, call, fails
from tests.serve.conftest import CLASSIC, backend_over

from hexarec.serve.live.asks import Ask
from hexarec.serve.store.rows import EventRow


def served(home, user):
    backend = backend_over(home)
    tenant = backend.service.tenant("default")
    given = tenant.recommender().submit(Ask(user=user, k=5)).result()
    count = tenant.shelf.count("events")
    backend.service.close()
    return given.items, count


@pytest.mark.parametrize("name", ["b.tar.gz", "b.tgz", "b.tar"])
def test_there_and_back(home, data, tmp_path, name):
    user = data.users.ids.ids[1]
    before = served(home, user)
    assert "1 saved pipelines" in call("backup", tmp_path / name, "--home", home).stdout
    assert (tmp_path / name).stat().st_mode & 0o077 == 0, "it holds what users did: nobody else may read it"
    call("restore", tmp_path / name, "--home", tmp_path / "other")
    assert served(tmp_path / "other", user) == before
    call("users", "forget", data.users.ids.ids[2], "--home", home)
    said = call("restore", tmp_path / name, "--home", home).stdout
    assert "erased again: 1 users" in said and "before-restore-" in said
    (kept,) = home.glob("before-restore-*")
    assert (kept / "store.sqlite").is_file() and (kept / "pipelines").is_dir()


def test_who_was_erased_stays_erased(home, data, tmp_path):
    user, other = data.users.ids.ids[3], data.users.ids.ids[4]
    call("backup", tmp_path / "b.tar", "--home", home)
    call("users", "forget", user, "--home", home)
    call("restore", tmp_path / "b.tar", "--home", home)
    assert call("users", "export", user, "--home", home).stdout == ""
    assert call("users", "export", other, "--home", home).stdout != ""
    backend = backend_over(home)
    shelf = backend.service.tenant("default").shelf
    late = EventRow("late", data.catalog.items.ids[0], 1.0, "click", user)
    assert shelf.add_events([late]) == ["erased"], "nor do old events of theirs come back"
    backend.service.close()
    marker = user.encode() + b"\x00"
    assert marker not in (home / "store.sqlite").read_bytes()


def test_a_visit_whose_user_was_erased_later_stays_erased(home, data, tmp_path):
    """The backup knows the visit, and a pipeline fitted on it, but not yet who it was."""
    backend, item = backend_over(home), data.catalog.items.ids[0]
    tenant = backend.service.tenant("default")
    tenant.shelf.add_events([EventRow("v", item, 5.0, "click", session="canary-visit")])
    tenant.shelf.keep_answer_soon("r", None, 5.0, {}, session="canary-visit").result()
    tenant.fit("default", {"retrieve": [{"use": "ials", "factors": 4, "sweeps": 1}]})
    backend.service.close()
    call("backup", tmp_path / "b.tar", "--home", home)
    backend = backend_over(home)
    event = EventRow("w", item, 6.0, "click", "newcomer", session="canary-visit")
    assert backend.service.tenant("default").shelf.add_events([event]) == ["new"]
    backend.service.close()
    call("users", "forget", "newcomer", "--home", home)
    call("restore", tmp_path / "b.tar", "--home", home)
    backend = backend_over(home)
    shelf = backend.service.tenant("default").shelf
    assert shelf.histories([], ["canary-visit"]) == {} and shelf.answer("r") is None
    backend.service.close()
    files = [one for one in (home / "pipelines").rglob("*") if one.is_file()]
    assert files and [one for one in [*files, home / "store.sqlite"] if holds(one, "canary-visit")] == []


def holds(file, word):
    """Whether a file has a word, arrays unpacked."""
    if file.suffix != ".npz":
        return word.encode() in file.read_bytes()
    with zipfile.ZipFile(file) as packed:
        forms = (word.encode(), word.encode("utf-32-le"))
        return any(form in packed.read(name) for name in packed.namelist() for form in forms)


def test_a_store_that_is_written_to_is_copied_as_of_one_moment(home, data, tmp_path):
    backend = backend_over(home)
    shelf, stop, sent = backend.service.tenant("default").shelf, threading.Event(), []

    def writes():
        while not stop.is_set():
            n = len(sent)
            rows = [EventRow(f"pair-{n}-{side}", data.catalog.items.ids[0], 5.0, "click", "w") for side in "ab"]
            shelf.add_events(rows)
            sent.append(n)

    thread = threading.Thread(target=writes)
    thread.start()
    try:
        for turn in range(4):
            call("backup", tmp_path / f"{turn}.tar", "--home", home)
    finally:
        stop.set()
        thread.join()
        backend.service.close()
    assert len(sent) > 3
    for turn in range(4):
        with tarfile.open(tmp_path / f"{turn}.tar") as tar:
            tar.extract("store.sqlite", tmp_path / f"{turn}", filter="data")
        with sqlite3.connect(tmp_path / f"{turn}" / "store.sqlite") as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            ids = {row[0] for row in copy.execute("SELECT id FROM events WHERE id LIKE 'pair-%'")}
        assert all(f"{one[:-1]}{side}" in ids for one in ids for side in "ab"), "half of a commit"


def test_a_pipeline_that_goes_away_under_the_backup_is_taken_anew(home, data, tmp_path, monkeypatch):
    from hexarec.serve import backup

    real, gone = backup._named, []

    def outdated(store):
        paths = real(store)
        if not gone:
            gone.append(paths)
            call("users", "forget", data.users.ids.ids[0], "--home", home)
        return paths

    monkeypatch.setattr(backup, "_named", outdated)
    call("backup", tmp_path / "b.tar", "--home", home)
    with tarfile.open(tmp_path / "b.tar") as tar:
        names = tar.getnames()
    assert gone and not any(gone[0][0] in one for one in names)
    assert any(one.startswith("pipelines/default/default-") for one in names)


def test_a_running_server_is_not_restored_over(home, data, tmp_path):
    call("backup", tmp_path / "b.tar", "--home", home)
    backend = backend_over(home)
    said = fails("restore", tmp_path / "b.tar", "--home", home)
    assert "is in use" in said and "stop the server" in said
    backend.service.tenant("default").shelf.count("events")
    backend.service.close()
    call("restore", tmp_path / "b.tar", "--home", home)


def test_files_that_are_no_backups_change_nothing(home, data, tmp_path):
    before = served(home, data.users.ids.ids[0])
    (tmp_path / "text.tar.gz").write_text("no archive")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(__file__, "something.py")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(__file__, "../../outside.py")
    call("backup", tmp_path / "whole.tar.gz", "--home", home)
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:2_000])
    for name in ("text.tar.gz", "other.tar", "evil.tar", "cut.tar.gz"):
        said = fails("restore", tmp_path / name, "--home", home)
        assert "no backup" in said, said
    assert "does not exist" in fails("restore", tmp_path / "none.tar", "--home", home)
    assert not (tmp_path / "outside.py").exists() and not list(home.glob(".restore-*"))
    assert served(home, data.users.ids.ids[0]) == before


def test_what_cannot_be_backed_up_says_how_else(home, tmp_path):
    (tmp_path / "hexarec.toml").write_text('[serve]\nstore = "postgresql+psycopg://me:secret@host/db"\n')
    said = fails("backup", tmp_path / "b.tar", "--home", home)
    assert "pg_dump" in said and "secret" not in said
    (tmp_path / "hexarec.toml").unlink()
    assert "ends in none of" in fails("backup", tmp_path / "b.zip", "--home", home)
    assert "hexarec serve makes one" in fails("backup", tmp_path / "b.tar", "--home", tmp_path / "empty")
    (tmp_path / "b.tar").touch()
    assert "exists" in fails("backup", tmp_path / "b.tar", "--home", home)
    if sys.version_info < (3, 14):
        assert "3.14" in fails("backup", tmp_path / "b.tar.zst", "--home", home)


def test_every_version_is_in_the_backup(home, data, tmp_path):
    backend = backend_over(home)
    backend.service.tenant("default").fit("default", CLASSIC)
    backend.service.close()
    assert "2 saved pipelines" in call("backup", tmp_path / "b.tar", "--home", home).stdout
    shutil.rmtree(home)
    call("restore", tmp_path / "b.tar", "--home", home)
    backend = backend_over(home)
    assert backend.service.tenant("default").activate("default", 1).version == 1
    assert not backend.service.tenant("default").broken
    backend.service.close()
    assert answer("db", "check", "--home", home)["faults"] == []
