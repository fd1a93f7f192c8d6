"""Where a cassette keeps its answers: JSON lines, SQLite, or memory. All are thread-safe."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Protocol

from hexarec.core.errors import StateError


class Tape(Protocol):
    """A map from keys (str) to JSON values. `damaged` counts entries that did not read, `lost` those not written."""

    damaged: int
    lost: int

    def get(self, key: str) -> Any:
        """The value, or None."""

    def put(self, key: str, value: Any) -> None:
        """Keep a value; a full disk costs the entry (`lost`), not the answer."""


def open_tape(path: str | Path | None, *, writable: bool) -> Tape:
    """The tape at `path`. Raises StateError when it must be read but is not there, or is no tape at all."""
    if path is None:
        return Lines(None, writable)
    place = Path(path)
    if not writable and not place.is_file():
        raise StateError(f"there is no cassette at {place}", hint="record one with mode='record'")
    place.parent.mkdir(parents=True, exist_ok=True)
    return Rows(place) if place.suffix == ".sqlite" else Lines(place, writable)


class Lines:
    """JSON lines, one answer each, appended by one write: a killed process loses at most the line it was writing."""

    def __init__(self, path: Path | None, writable: bool) -> None:
        self.damaged = self.lost = 0
        self._torn = False
        self._known: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._file: int | None = None
        if path is not None:
            self._load(path)
            if writable:
                self._open(path)

    def _load(self, path: Path) -> None:
        if path.is_dir():
            raise StateError(f"{path} is a folder, not a cassette", hint="name a file")
        if not path.is_file():
            return
        lines = path.read_bytes().split(b"\n")
        for line in lines[:-1]:
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["value"]
            except (ValueError, TypeError, KeyError):
                self.damaged += 1
        if self.damaged and not self._known:
            # somebody else's file: what is kept would be appended to it
            raise StateError(f"{path} is not a cassette: no line is an answer", hint="remove the file, or name another")
        # what follows the last new line is the half of a line
        self.damaged += bool(lines[-1])

    def _open(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def get(self, key: str) -> Any:
        """The value, or None."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value and append it to the file; a later value replaces an earlier one."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=True, separators=(",", ":")) + "\n"
        with self._lock:
            self._known[key] = value
            if self._file is None:
                return
            data = b"\n" * self._torn + line.encode("ascii")
            try:
                written = os.write(self._file, data)
            except OSError:
                written = 0
            self.lost += written < len(data)
            # the next line must not continue a line that a full disk cut
            self._torn = 0 < written < len(data) or (self._torn and not written)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]


class Rows:
    """One SQLite table in WAL mode, for cassettes too large for memory."""

    def __init__(self, path: Path) -> None:
        self.damaged = self.lost = 0
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("CREATE TABLE IF NOT EXISTS tape (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise StateError(f"{path} is not a cassette: {error}", hint="remove the file, or name another") from error

    def get(self, key: str) -> Any:
        """The value, or None."""
        try:
            with self._lock:
                found = self._base.execute("SELECT value FROM tape WHERE key = ?", (key,)).fetchone()
            return None if found is None else json.loads(found[0])
        except (ValueError, sqlite3.Error):
            # a damaged page costs its answers, not the run
            self.damaged += 1
            return None

    def put(self, key: str, value: Any) -> None:
        """Keep a value; a later value replaces an earlier one."""
        with self._lock:
            try:
                self._base.execute("INSERT OR REPLACE INTO tape VALUES (?, ?)", (key, json.dumps(value)))
            except sqlite3.Error:
                self.lost += 1

    def __del__(self) -> None:
        if hasattr(self, "_base"):
            self._base.close()
