"""Files and folders written whole or not at all: beside their place first, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A new name beside `path` to write to; it takes the place of `path` when the block ends.

    It keeps the end of the name, which some writers look at. After an error nothing has changed. Folders that are
    missing are made.
    """
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{secrets.token_hex(4)}-{place.name}")
    try:
        yield part
        os.replace(part, place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, "utf-8")
    return Path(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it takes the place of `path` when the block ends.

    A reader sees the old folder or the new one. After an error nothing has changed.
    """
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        yield part
        replace_directory(part, place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def replace_directory(part: Path, place: Path) -> None:
    """Put the finished directory `part` in the place of `place`; a reader sees the old one or the new one."""
    os.chmod(part, 0o755)
    try:
        part.rename(place)
        return
    except OSError:
        if not place.exists():
            raise
    old = part.with_name(part.name + "-old")
    place.rename(old)
    try:
        part.rename(place)
    except BaseException:
        if not place.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)  # the new one is in place; a leftover is no failure
