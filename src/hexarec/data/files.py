"""Opening foreign files: compression, encoding, delimiters, and tables of text with the line of every row."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hexarec.core.errors import DataError, OptionError
from hexarec.core.run import current
from hexarec.data.tables import Reject, shortened

if TYPE_CHECKING:
    import polars as pl

HEAD = 1 << 15
LONG = 1 << 20  # a record of one user with all their games is a long line
DELIMITERS = (",", "\t", ";", "|")
_CONTROL = bytes(one for one in range(32) if one < 9 or one > 13)  # what text never holds
_READING: ContextVar[tuple[str, str]] = ContextVar("hexarec_reading", default=("", ""))  # stated, fallback
ARCHIVES = frozenset({"zip", "7z", "rar", "tar", "tgz", "bz2", "xz", "zst"})
_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zX": "an xz file",
}


@dataclass(frozen=True)
class Table:
    """A file read as text columns. lines: Int64 line number per row. encoding: what the bytes turned out to be."""

    frame: pl.DataFrame
    lines: pl.Series
    encoding: str = "utf-8"
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class Head:
    """The first lines of a file, for guessing what it is; empty when it cannot be read as text."""

    lines: tuple[str, ...] = ()
    name: str = ""

    @property
    def first(self) -> str:
        """The first line, or ""."""
        return self.lines[0] if self.lines else ""


def bare_name(path: Path) -> str:
    """The file name in lower case without .gz."""
    return path.name.lower().removesuffix(".gz")


def suffix(path: Path) -> str:
    """The last suffix in lower case, looking through .gz: "csv", "json", ..."""
    name = bare_name(path)
    return name.rpartition(".")[2] if "." in name else ""


def inside(folder: Path) -> list[Path]:
    """The visible files of a folder in name order (a file stands for itself)."""
    if folder.is_file():
        return [folder]
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def find(folder: Path, *names: str) -> Path | None:
    """The first of these file names (lower case, with or without .gz) that the folder has."""
    if not folder.is_dir():
        return None
    there = {bare_name(p): p for p in inside(folder)}
    return next((there[name] for name in names if name in there), None)


def _raw(path: Path, limit: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return file.read(limit)
            with gzip.GzipFile(fileobj=file) as packed:
                return packed.read(limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"the compressed file is cut short or damaged: {error}", file=path.name, hint="fetch it again"
        ) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path.name) from None


@contextmanager
def reading(encoding: str = "", fallback: str = "") -> Iterator[None]:
    """Inside, text is read in the stated encoding; without one in UTF-8 (or UTF-16 with its mark), else in `fallback`.

    A fallback is for formats that are older than UTF-8; without it other bytes are an error. What an outer reading
    states stays. Raises OptionError for an encoding Python does not know.
    """
    outer = _READING.get()
    try:
        stated = (encoding or outer[0]).lower()
        "".encode(stated or "utf-8")  # not codecs.lookup: that also knows what makes no text, such as base64
    except LookupError:
        hint = "for example utf-8, gbk, big5, shift_jis, latin-1, cp1252"
        raise OptionError(f"there is no text encoding {encoding!r}", hint=hint) from None
    token = _READING.set((stated, fallback or outer[1]))
    try:
        yield
    finally:
        _READING.reset(token)


def _decoded(data: bytes, file: str) -> tuple[str, str]:
    """The text and its encoding. Raises DataError naming the first byte that is wrong, and what may mend it."""
    stated, fallback = _READING.get()
    if not stated and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace"), "utf-16"
    try:
        return data.decode("utf-8-sig" if stated in ("", "utf-8") else stated), stated or "utf-8"
    except UnicodeDecodeError as error:
        if fallback and not stated:
            return data.decode(fallback), fallback
        likely = _likely(data)
        raise DataError(
            f"the text is not {stated or 'UTF-8'}: byte 0x{data[error.start]:02x} at offset {error.start:,}",
            file=file,
            line=data.count(b"\n", 0, error.start) + 1,
            hint=f"say its encoding: encoding={likely!r} may be right",
        ) from None


def _likely(data: bytes) -> str:
    """Which encoding other than UTF-8 bytes look like: Chinese letters are pairs of high bytes."""
    try:
        data.decode("gb2312")
    except UnicodeDecodeError:
        return "latin-1"
    return "gbk"


def _glimpse(data: bytes) -> str:
    """Text for guessing, whatever the bytes; a last letter that is cut in two is left out."""
    stated, _ = _READING.get()
    if stated or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode(stated or "utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return data[: error.start].decode("utf-8-sig") if error.start > len(data) - 4 else data.decode("latin-1")


def _is_binary(data: bytes) -> bool:
    if _READING.get()[0] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    sample = data[:8192]
    odd = len(sample) - len(sample.translate(None, _CONTROL))
    return odd > 0.02 * len(sample) + 4


def head(path: Path, n: int = 50, size: int = HEAD) -> Head:
    """The first `n` lines, or an empty head for a binary, damaged or missing file."""
    try:
        data = _raw(path, size)
    except DataError:
        return Head(name=bare_name(path))
    if _is_binary(data):
        return Head(name=bare_name(path))
    lines = _glimpse(data).splitlines()
    return Head(tuple(lines[:n]), bare_name(path))


def text_of(path: Path) -> tuple[str, str]:
    """The whole text of a file and its encoding, as `reading` says.

    Raises DataError when it is empty, binary, damaged, or in another encoding.
    """
    data = _raw(path)
    for magic, what in _PACKED.items():
        if data.startswith(magic):
            raise DataError(f"this is {what}", file=path.name, hint="unpack it and give the folder")
    if not data.strip():
        raise DataError("the file is empty", file=path.name)
    if _is_binary(data):
        raise DataError(
            "this is a binary file, not text", file=path.name, hint="give CSV, JSON lines, Parquet or a known folder"
        )
    text, code = _decoded(data, path.name)
    return (text.replace("\r", "\n") if "\r" in text and "\n" not in text else text), code  # as old Macs end a line


def text_lines(path: Path, every: int = 20000) -> Iterator[tuple[int, str]]:
    """Numbered non-blank lines, telling the current run how far we are."""
    text, _ = text_of(path)
    lines = text.split("\n")
    work = current()
    for number, line in enumerate(lines, 1):
        if number % every == 0:
            work.check()
            work.emit({"kind": "progress", "label": f"reading {path.name}", "done": number, "total": len(lines)})
        if line.strip():
            yield number, line


def delimiter_of(line: str) -> str:
    """The delimiter that cuts a header or row into most fields; a comma when none does."""
    counts = {one: line.count(one) for one in DELIMITERS}
    return max(counts, key=lambda one: counts[one]) if any(counts.values()) else ","


def delimited(
    path: Path, separator: str, names: Sequence[str] = (), *, quote: str | None = '"', escape: str | None = None
) -> Table:
    """A delimited file as text columns. `names` are given for a file without a header.

    The fast reader takes clean files; one with stray quotes or rows that are too long goes through the tolerant one,
    which names each wrong row. Raises DataError for a header that repeats a name.
    """
    import polars as pl

    text, encoding = text_of(path)
    if not names:
        _no_repeats(path, text, separator, quote)
    if escape is None or escape not in text:
        try:
            frame = pl.read_csv(
                io.BytesIO(text.encode("utf-8", "replace")),
                separator=separator,
                has_header=not names,
                new_columns=list(names) or None,
                quote_char=quote,
                infer_schema=False,
            )
        except pl.exceptions.PolarsError:
            pass
        else:
            if not names or len(frame.columns) == len(names):
                return _numbered(frame, header=not names, encoding=encoding)
    return _tolerant(path, text, encoding, separator, names, quote, escape)


def _no_repeats(path: Path, text: str, separator: str, quote: str | None) -> None:
    """Raise DataError for a header with a name that stands in it twice: which column is meant cannot be known."""
    start = text.lstrip("\r\n")
    line = start[: start.find("\n")] if "\n" in start else start
    try:
        header = next(
            csv.reader(
                [line.rstrip("\r")],
                delimiter=separator,
                quotechar=quote,
                quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
            ),
            [],
        )
    except csv.Error:
        return  # the tolerant reader says what is wrong
    for name, times in Counter(name.strip() for name in header).items():
        if name and times > 1:
            raise DataError(
                f"the column {name!r} occurs {times} times", file=path.name, line=1, field=name,
                hint="rename all but one in the header",
            )  # fmt: skip


def _numbered(frame: pl.DataFrame, *, header: bool, encoding: str) -> Table:
    import polars as pl

    numbered = frame.with_row_index("_n").select(
        pl.exclude("_n"), (pl.col("_n").cast(pl.Int64) + 1 + header).alias("_n")
    )
    breaks = frame.select(pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True)).alias("b"))["b"].fill_null(
        0
    )
    if breaks.sum():  # a quoted field may span lines
        before = breaks.cum_sum().shift(1, fill_value=0).cast(pl.Int64)
        numbered = numbered.with_columns(pl.col("_n") + before)
    kept = numbered.filter(pl.any_horizontal(pl.all().exclude("_n").is_not_null()))
    return Table(kept.drop("_n"), kept["_n"], encoding)


def _tolerant(
    path: Path, text: str, encoding: str, separator: str, names: Sequence[str], quote: str | None, escape: str | None
) -> Table:
    import polars as pl

    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quotechar=quote,
        escapechar=escape,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
    )
    header = list(names)
    rows: list[list[str | None]] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    start = 1
    try:
        for row in reader:
            line, start = start, reader.line_num + 1
            if not row or not any(row):
                continue
            if not header:
                header = row
            elif len(row) > len(header):
                why = f"{len(row)} fields where {len(header)} are expected"
                rejects.append(Reject(path.name, line, "", why, shortened(separator.join(row))))
            elif len(row) < len(header) and reader.line_num - line > 50:
                raise DataError("a quotation mark is opened and never closed", file=path.name, line=line)
            elif swallowed := _swallowed(row, separator, len(header)):
                why = f"a stray quotation mark joins {swallowed} lines into one row"
                rejects += [Reject(path.name, line + n, "", why, "") for n in range(swallowed)]
            else:
                rows.append([one or None for one in row] + [None] * (len(header) - len(row)))
                lines.append(line)
    except csv.Error as error:
        raise DataError(f"not a delimited table: {error}", file=path.name, line=start) from None
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    unique = [name if name not in header[:i] else f"{name}_{i}" for i, name in enumerate(header)]
    frame = pl.DataFrame({n: pl.Series(n, c, dtype=pl.String) for n, c in zip(unique, columns, strict=True)})
    return Table(frame, pl.Series("_line", lines, dtype=pl.Int64), encoding, tuple(rejects))


def _swallowed(row: Sequence[str], separator: str, width: int) -> int:
    """How many lines of the file stand inside one field of this row and look like rows themselves; 0 for none.

    A line break inside quotes is fine in a description; whole rows inside them mean that a mark was never closed.
    """
    for field in row:
        inner = field.split("\n")
        if len(inner) > 1 and sum(part.count(separator) >= width - 1 for part in inner[1:]) * 2 >= len(inner) - 1:
            return len(inner)
    return 0


def separated(path: Path, separator: str, names: Sequence[str]) -> Table:
    """A headerless file whose fields are divided by a separator of several characters (the `::` of MovieLens)."""
    import polars as pl

    text, encoding = text_of(path)
    frame = pl.DataFrame({"raw": pl.Series(text.split("\n"), dtype=pl.String)}).with_row_index("_line", offset=1)
    frame = frame.with_columns(pl.col("raw").str.strip_chars_end("\r")).filter(pl.col("raw").str.strip_chars() != "")
    fields = frame.with_columns(pl.col("raw").str.count_matches(separator, literal=True).alias("_n"))
    wrong = fields.filter(pl.col("_n") != len(names) - 1)
    rejects = tuple(
        Reject(path.name, line, "", f"{n + 1} fields where {len(names)} are expected", shortened(raw))
        for line, raw, n in wrong.select("_line", "raw", "_n").iter_rows()
    )
    good = fields.filter(pl.col("_n") == len(names) - 1)
    cut = good.select(pl.col("raw").str.split_exact(separator, len(names) - 1).struct.rename_fields(list(names)))
    return Table(cut.unnest("raw"), good["_line"].cast(pl.Int64), encoding, rejects)
