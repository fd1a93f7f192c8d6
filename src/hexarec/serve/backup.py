"""Backups of a server on SQLite: its store, copied while it is used, and every saved pipeline that the copy names.

A restore erases again whoever was erased after the backup was made.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import hexarec
from hexarec.core import OptionError, StateError
from hexarec.serve.live.enriched import KIND as ENRICHED
from hexarec.serve.live.publish import KIND as PIPELINE
from hexarec.serve.live.publish import forgotten
from hexarec.serve.settings import Settings
from hexarec.serve.store.engines import as_url
from hexarec.serve.store.open import Store, open_store

STORE, PIPELINES, ABOUT = "store.sqlite", "pipelines", "backup.json"
FORMAT = 1
ENDINGS = {".tar.gz": "gz", ".tgz": "gz", ".tar": "", ".tar.zst": "zst"}
TRIES = 3
"""Starts of a backup, when saved pipelines it needs are deleted under it."""


def file_of(settings: Settings) -> Path:
    """The SQLite file of a server. Raises OptionError for a server on PostgreSQL, which has tools of its own."""
    url = as_url(settings.url)
    if url.get_backend_name() != "sqlite":
        raise OptionError(
            f"the store is {url.get_backend_name()}, which is backed up by its own tools",
            hint=f"pg_dump -Fc {url.render_as_string(hide_password=True)} > store.dump, and tar the folder "
            f"{settings.home / PIPELINES}; restore with pg_restore",
        )
    return Path(str(url.database))


def backed_up(settings: Settings, out: Path) -> dict[str, int]:
    """Write a backup; bytes of the store, saved pipelines, and bytes of the file. The server may run."""
    source = file_of(settings)
    if not source.is_file():
        raise StateError(f"there is no store at {source}", hint="hexarec serve makes one")
    mode = _mode(out, "w")
    if out.exists():
        raise OptionError(f"{out} exists", hint="choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        for turn in range(TRIES):
            try:
                return _written(settings, source, Path(aside), out, mode)
            except FileNotFoundError as gone:  # an erasure or a new state replaced it after the copy
                if turn == TRIES - 1:
                    raise StateError(f"{gone.filename} is missing, which the store names") from gone
    raise AssertionError


def _written(settings: Settings, source: Path, aside: Path, out: Path, mode: str) -> dict[str, int]:
    copy, packed = aside / STORE, aside / out.name
    copy.unlink(missing_ok=True)
    _copied(source, copy)
    paths = _named(copy)
    about = {"format": FORMAT, "hexarec": hexarec.__version__, "created": time.time(), "pipelines": paths}
    (aside / ABOUT).write_text(json.dumps(about, indent=1), "utf-8")
    os.close(os.open(packed, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))  # it holds what users did
    with tarfile.open(packed, cast(Literal["w"], mode)) as tar:
        tar.add(aside / ABOUT, ABOUT)
        tar.add(copy, STORE)
        for path in paths:
            tar.add(settings.home / PIPELINES / path, f"{PIPELINES}/{path}")
    size = copy.stat().st_size
    packed.replace(out)
    return {"store": size, "pipelines": len(paths), "file": out.stat().st_size}


def _copied(source: Path, copy: Path) -> None:
    """A copy of a SQLite file as of one moment, while others read and write it."""
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(copy)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def _named(store: Path) -> list[str]:
    """The directories of pipelines and enriched items that a copy of the store names, as tenant/directory."""
    query = "SELECT tenant, body FROM documents WHERE kind = ? OR (kind = ? AND active)"
    with contextlib.closing(sqlite3.connect(store)) as copy:
        rows = copy.execute(query, (PIPELINE, ENRICHED)).fetchall()
    return sorted({f"{tenant}/{json.loads(body)['path']}" for tenant, body in rows})


@dataclass(frozen=True)
class Restored:
    """What a restore did: when the backup was made, users erased again, and where the state before it lies."""

    created: float
    erased: int
    before: Path | None


def restored(settings: Settings, file: Path) -> Restored:
    """Put a backup in the place of the store and the pipelines; what was there is moved aside.

    Raises StateError for a file that is no backup, and while a server has the store open.
    """
    target = file_of(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    _check_unused(target)
    with tempfile.TemporaryDirectory(dir=settings.home, prefix=".restore-") as folder:
        aside = Path(folder)
        about = _unpacked(file, aside)
        again = _erased_again(aside, target)
        before = _moved_aside(settings, target)
        (aside / STORE).replace(target)
        if (aside / PIPELINES).is_dir():
            (aside / PIPELINES).replace(settings.home / PIPELINES)
    return Restored(about["created"], again, before)


def _unpacked(file: Path, aside: Path) -> dict[str, Any]:
    try:
        with tarfile.open(file, cast(Literal["r"], _mode(file, "r"))) as tar:
            tar.extractall(aside, filter="data")  # nothing outside the folder, no links out of it, no devices
        about: dict[str, Any] = json.loads((aside / ABOUT).read_text("utf-8"))
        if about["format"] != FORMAT or not (aside / STORE).is_file():
            raise StateError(f"{file} has format {about['format']!r}, not {FORMAT}")
    except FileNotFoundError as error:
        raise StateError(f"{error.filename} does not exist" if error.filename == str(file) else
                         f"{file} is no backup of hexarec") from error  # fmt: skip
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{file} is damaged or no backup: {error}") from error
    return about


def _erased_again(aside: Path, current: Path) -> int:
    """Erase in the unpacked backup whoever the store in use has erased; how many users."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(contextlib.closing(open_store(aside / STORE)))
        if not current.is_file():
            return 0
        now = stack.enter_context(contextlib.closing(open_store(current)))
        return sum(_buried(old, now, name, aside) for name in old.tenants())


def _buried(old: Store, now: Store, tenant: str, aside: Path) -> int:
    shelf, known = old.of(tenant), dict(old.of(tenant).tombstones())
    later = [(mark, at) for mark, at in now.of(tenant).tombstones() if at > known.get(mark, -math.inf)]
    if not later:
        return 0
    marks = {mark for mark, _ in later}
    gone = [one for one in _everybody(shelf) if shelf.pseudonym(one) in marks]
    shelf.bury(later)
    for one in shelf.names(PIPELINE) if gone else ():
        forgotten(shelf, aside / PIPELINES / tenant, one.name, gone)
    shelf.scrub()
    return sum(not one.startswith("session:") for one in gone)


def _everybody(shelf: Any) -> list[str]:
    """The ids of all users who did or stated anything, and "session:" + id of every visit that said no name."""
    found, last = dict.fromkeys(one for one in shelf.event_columns()["user"] if one is not None), ""
    while page := shelf.users(after_id=last, most=1_000):
        found.update(dict.fromkeys(one.id for one in page))
        last = page[-1].id
    return list(found)


def _check_unused(store: Path) -> None:
    """Raise StateError while another process has the store open."""
    if not store.is_file():
        return
    try:
        with contextlib.closing(sqlite3.connect(store, timeout=0.2)) as alone:
            alone.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.OperationalError as busy:
        raise StateError(f"{store} is in use: {busy}", hint="stop the server and its workers first") from busy


def _moved_aside(settings: Settings, target: Path) -> Path | None:
    there = [one for one in (target, settings.home / PIPELINES) if one.exists()]
    if not there:
        return None
    before = settings.home / time.strftime("before-restore-%Y%m%d-%H%M%S", time.gmtime())
    before.mkdir()
    for one in there:
        shutil.move(one, before / one.name)
    return before


def _mode(file: Path, verb: str) -> str:
    """How `tarfile` opens a file of this name. Raises OptionError for another ending, or one this Python cannot."""
    ending = next((one for one in ENDINGS if file.name.endswith(one)), None)
    if ending is None:
        raise OptionError(f"{file.name} ends in none of {', '.join(ENDINGS)}")
    if ending == ".tar.zst" and sys.version_info < (3, 14):
        raise OptionError("this Python cannot write Zstandard, 3.14 can", hint="name the file .tar.gz")
    return f"{verb}:{ENDINGS[ending]}"
