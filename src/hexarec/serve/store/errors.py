"""What the database says went wrong, as the errors of hexarec."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DataError as BadValue
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoConnection

from hexarec.core.errors import DataError, HexarecError, StateError


class FullError(StateError):
    """No room: nothing of this write is kept, reads go on, and writing goes on by itself when there is room again."""

    retryable = True


class BusyError(StateError):
    """Another process held the database too long, or the connection was lost; the same call may succeed later."""

    retryable = True


class ChangedError(StateError):
    """Somebody else changed it since it was looked at, so nothing was written; look again."""

    retryable = True


class StoppedError(StateError):
    """The disk failed to keep a write: this store takes no more of them until it is opened again. Reads go on."""


# a limit on the size of files is told as a failed write, a full disk sometimes as a shared index that cannot grow
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_READING = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
_PG_FULL = {"53100", "53200"}  # disk_full, out_of_memory
# None: no server answered; serialization, deadlock, lock, connections, shutdown, crash, starting
_PG_BUSY = {None, "40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"}


def sqlite_code(error: BaseException) -> int:
    """SQLite's extended code of an error, 0 when it is not one of SQLite's."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlite_errorcode", 0) if isinstance(original, sqlite3.Error) else 0


def harmless(error: BaseException) -> bool:
    """Whether only the statement failed: the transaction may go on after a rollback to a savepoint."""
    if isinstance(error, DBAPIError):
        return isinstance(error, IntegrityError | BadValue) and not error.connection_invalidated
    if isinstance(error, StatementError):
        return isinstance(error.orig, HexarecError)  # refused before it was sent
    return not isinstance(error, SQLAlchemyError | sqlite3.Error)


def fatal(error: BaseException, *, committing: bool) -> bool:
    """Whether nobody knows what the disk keeps: a failed sync, and any failed commit but for want of room."""
    code = sqlite_code(error)
    if code in _FULL or code & 0xFF in _BUSY:
        return False
    return bool(code) and (committing or (code & 0xFF == sqlite3.SQLITE_IOERR and code not in _READING))


def typed(error: BaseException) -> Exception:
    """The error as one of hexarec's; those and mistakes of the program come back as they are."""
    if isinstance(error, NoConnection):
        return BusyError("no connection to the database became free", hint="try again, or read in fewer threads")
    if isinstance(error, DBAPIError):
        gone = error.connection_invalidated
        return _of_database(error.orig or error, gone, isinstance(error, IntegrityError | BadValue))
    if isinstance(error, StatementError) and isinstance(error.orig, HexarecError):
        return error.orig
    if isinstance(error, sqlite3.Error) or hasattr(error, "sqlstate"):
        return _of_database(error, gone=False, refused=False)
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def _of_database(error: BaseException, gone: bool, refused: bool) -> HexarecError:
    said = " ".join(str(error).split())[:200]
    code, state = sqlite_code(error), getattr(error, "sqlstate", "")
    if code in _FULL or state in _PG_FULL:
        return FullError(f"the disk does not take it: {said}", hint="make room on the disk, then send it again")
    if gone or code & 0xFF in _BUSY or state in _PG_BUSY:
        return BusyError(f"the database is busy or went away: {said}", hint="send it again; ids count once")
    if refused:
        return DataError(f"the database refuses this row: {said}")
    if code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StateError(f"the file is damaged or no database: {said}", hint="restore it from a backup")
    return StateError(f"the database failed: {said}", hint="check its disk and its log")


def stopped(reason: str) -> StoppedError:
    """The error of every write after one that the disk failed to keep."""
    return StoppedError(
        f"the store takes no writes since the disk failed: {reason}", hint="check the disk, then open the store again"
    )
