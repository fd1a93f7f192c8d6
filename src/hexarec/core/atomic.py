"""Files and folders written whole or not at all: beside their place first, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ".part-*"
"""Folders of files that are being written, or were when a process died."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; what is there takes the place of `path` when the block ends.

    It has the name of `path`, whose ending some writers look at, in a hidden folder beside it, where no pattern of
    endings finds half a file. After an error nothing has changed. Folders that are missing are made.
    """
    place = Path(path)
    aside = place.parent / PARTS.replace("*", secrets.token_hex(4))
    aside.mkdir(parents=True)
    try:
        yield aside / place.name
        os.replace(aside / place.name, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def clear_parts(folder: str | Path) -> None:
    """Delete what processes that died have half written here; nobody else may be writing in the folder."""
    for part in Path(folder).glob(PARTS):
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, "utf-8")
    return Path(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it takes the place of `path` when the block ends.

    A reader sees the old folder or the new one whole, or for a moment between them none. After an error nothing has
    changed.
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
    """Put the finished directory `part` in the place of `place`, which for a moment is not there."""
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
    with contextlib.suppress(OSError):  # the new one is in place; a leftover is no failure
        old.unlink() if old.is_symlink() else shutil.rmtree(old)
