"""Uploaded files that wait to be imported: kept aside in the home, looked into, and removed after the import."""

from __future__ import annotations

import gzip
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hexarec.core.atomic import atomic_folder
from hexarec.core.errors import DataError, OptionError
from hexarec.data.importer import ImportResult, import_data
from hexarec.serve.errors import ConflictError, MissingError

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

KEPT = 86_400.0
"""Seconds for which an upload waits."""
MOST_FILES = 8
MOST_WAITING = 20
"""Uploads of a tenant that may wait at a time, so that they do not fill the disk."""
SAMPLE = 500
"""Lines of each file that a preview reads."""
UNPACKED = 512_000_000
"""Bytes that a compressed file may hold."""
MOST_EVENTS = 1_000_000
"""Events of one import: they are written in one transaction, for which other writes wait."""
_LINES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".dat", ".inter", ".item", ".user")
_NAME = re.compile(r"[^\w.\- ()]+")


@dataclass(frozen=True)
class Reading:
    """How an upload is to be read; empty values are guessed. events, items, users: names of its files."""

    format: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    like: str = ""
    encoding: str = ""
    events: str = ""
    items: str = ""
    users: str = ""
    strict: bool = False

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> Reading:
        """The reading that the arguments of a job describe."""
        return cls(**{name: args[name] for name in cls.__dataclass_fields__ if name in args})

    def args(self) -> dict[str, Any]:
        """The arguments of a job that describe this reading."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Upload:
    """Files of one upload. id: a word nobody can guess; created: unix seconds."""

    id: str
    folder: Path
    created: float

    @property
    def files(self) -> list[Path]:
        """The files by name."""
        return sorted((self.folder / "files").iterdir())

    @property
    def name(self) -> str:
        """What to call the data: the one file without its endings, or `upload`."""
        files = self.files
        return files[0].name.split(".")[0] if len(files) == 1 else "upload"

    def refused(self, job: str) -> Path:
        """Where a job that checks the upload keeps the rows that an import would refuse."""
        return self.folder / f"refused-{job}.jsonl"

    def read(self, how: Reading, *, sample: bool = False) -> ImportResult:
        """The data set and what was refused; of the first lines alone with `sample`. Raises DataError, OptionError."""
        folder = self.folder / ("sample" if sample else "files")
        files = {path.name: path for path in folder.iterdir()}
        events = _one(files, how.events) or (next(iter(files.values())) if len(files) == 1 else folder)
        made = import_data(
            events, format=how.format or None, mapping=how.mapping, like=how.like or None, strict=how.strict,
            items=_one(files, how.items), users=_one(files, how.users), encoding=how.encoding or None, name=self.name,
        )  # fmt: skip
        if len(made.dataset.interactions) > MOST_EVENTS:
            raise DataError(
                f"{len(made.dataset.interactions):,} events; the page takes {MOST_EVENTS:,} at once",
                hint="hexarec data import, then hexarec serve --data",
            )
        return made


def _one(files: Mapping[str, Path], name: str) -> Path | None:
    if not name:
        return None
    if name not in files:
        raise OptionError(f"the upload has no file {name[:80]!r}", hint=", ".join(sorted(files)))
    return files[name]


def _home(tenant: Tenant) -> Path:
    return tenant.folder.parent.parent / "uploads" / tenant.name


def kept(tenant: Tenant, files: Mapping[str, IO[bytes]]) -> Upload:
    """Keep files aside, whole or not at all. Raises DataError for no file, or one that cannot be unpacked.

    Raises ConflictError where too many wait already.
    """
    swept(tenant, time.time())
    if (n := len(_folders(tenant))) >= MOST_WAITING:
        raise ConflictError(f"{n} uploads wait already", hint="import or remove some of them")
    if not files:
        raise DataError("no file was sent", hint="choose a CSV, JSON lines or Parquet file, or those of a known format")
    id = secrets.token_hex(12)
    with atomic_folder(_home(tenant) / id) as aside:
        for part in ("files", "sample"):
            (aside / part).mkdir()
        for name, content in files.items():
            path = aside / "files" / plain_name(name)
            if path.exists():
                raise DataError(f"two files are called {path.name!r}")
            with path.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            _sampled(path, aside / "sample" / path.name)
    return found(tenant, id)


def plain_name(name: str) -> str:
    """A file name that names a file of one folder, whatever was sent."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return _NAME.sub("_", last).strip(" .")[-100:].lstrip(" .") or "file"


def found(tenant: Tenant, id: str) -> Upload:
    """An upload that waits. Raises MissingError."""
    folder = _home(tenant) / id
    if not id.isalnum() or not (folder / "files").is_dir():
        raise MissingError("no such upload waits", hint="it was imported, or a day has passed: upload it again")
    return Upload(id, folder, folder.stat().st_mtime)


def waiting(tenant: Tenant) -> list[Upload]:
    """Uploads that wait, newest first."""
    there = [found(tenant, path.name) for path in _folders(tenant) if not path.name.startswith(".")]
    return sorted(there, key=lambda one: -one.created)


def dropped(upload: Upload) -> None:
    """Remove an upload."""
    shutil.rmtree(upload.folder, ignore_errors=True)


def swept(tenant: Tenant, now: float, older: float = KEPT) -> int:
    """Remove uploads that waited too long; how many."""
    old = [path for path in _folders(tenant) if now - path.stat().st_mtime > older]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _folders(tenant: Tenant) -> list[Path]:
    home = _home(tenant)
    return list(home.iterdir()) if home.is_dir() else []


# ------------------------------------------------------------------------------------------------------- samples
def _sampled(path: Path, out: Path) -> None:
    """The first lines of a file of lines, the first rows of a Parquet file, else the whole file."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    name = path.name.lower().removesuffix(".gz")
    if zipped:
        _check_size(path)
    if name.endswith(_LINES):
        with gzip.open(path) if zipped else path.open("rb") as lines, _opened(out, zipped) as made:
            for line in _first(lines):
                made.write(line)
    elif name.endswith(".parquet"):
        _parquet(path, out)
    else:
        shutil.copyfile(path, out)


def _opened(out: Path, zipped: bool) -> Any:
    return gzip.open(out, "wb") if zipped else out.open("wb")


def _first(lines: Any) -> Iterator[bytes]:
    """The first lines, of which none is longer than a megabyte: a binary file has few."""
    for _ in range(SAMPLE + 1):
        line = lines.readline(1 << 20)
        if not line:
            return
        yield line


def _check_size(path: Path) -> None:
    size = 0
    try:
        with gzip.open(path) as packed:
            while part := packed.read(1 << 20):
                size += len(part)
                if size > UNPACKED:
                    raise DataError(f"unpacked, it has more than {UNPACKED:,} bytes", file=path.name)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"the compressed file is cut short or damaged: {error}", file=path.name) from None


def _parquet(path: Path, out: Path) -> None:
    import polars as pl

    try:
        rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        if rows > MOST_EVENTS:
            raise DataError(f"{rows:,} rows; the page takes {MOST_EVENTS:,} at once", file=path.name)
        pl.scan_parquet(path).head(SAMPLE).collect().write_parquet(out)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"not a readable Parquet file: {str(error).splitlines()[0]}", file=path.name) from None
