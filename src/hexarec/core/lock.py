"""A folder in which one process at a time works; the lock ends with the process, however that ends."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hexarec.core.errors import StateError
from hexarec.core.run import current

LOCK = ".lock"
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def alone_in(folder: str | Path) -> Iterator[Path]:
    """The folder, made if it is missing, with nobody else in it. Raises StateError while somebody is.

    A file system without locks is told of in a note, and the work goes on.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOCK).open("ab") as file:  # left behind: one deleted while another opens it would lock nothing
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno in _BUSY:
                raise StateError(
                    f"another process works in {place}", hint="wait until it has ended, or take another folder"
                ) from None
            said = f"{place} cannot be locked ({error}): let no other process work in it"
            current().emit({"kind": "note", "text": said})
        yield place


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
