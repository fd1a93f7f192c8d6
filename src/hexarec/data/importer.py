"""Import: any known layout -> one checked data set, and a report of everything that was guessed or refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hexarec.core import KINDS, Dataset, Interactions, Users, strings, track
from hexarec.core.errors import DataError, HexarecError
from hexarec.data.checks import check_events, check_table, empty_rejects, known_kinds, rejected, without_nul
from hexarec.data.columns import build_catalog, build_users
from hexarec.data.files import reading
from hexarec.data.formats import Fit, Options, Source, detect, source_named
from hexarec.data.impressions import build_exposures
from hexarec.data.likes import LikeRule, default_rule
from hexarec.data.report import ImportReport
from hexarec.data.tables import RawTables
from hexarec.data.times import parse_times

if TYPE_CHECKING:
    import polars as pl

    from hexarec.core import Catalog

STEPS = ("read", "check", "join", "report")
"""What an import does, as its progress counts it."""


@dataclass(frozen=True)
class ImportResult:
    """The data set and what the import did to get it."""

    dataset: Dataset
    report: ImportReport


def import_data(
    path: str | Path,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    like: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    strict: bool = False,
    items: str | Path | None = None,
    users: str | Path | None = None,
    encoding: str | None = None,
) -> ImportResult:
    """Read a file or folder of a known format into a data set; with `out`, also store it there.

    format: a name from `formats.sources()`, else detected. mapping: ours -> theirs for plain tables (user, item, time
    or order, value, kind, review; title, text, genres, year, since). like: `>= 4`, `kind in purchase`, `every event`;
    without it a 1 to 5 scale means `value >= 4`. items, users: separate files of those tables. strict: events on items
    that the item table lacks are refused; otherwise the items are added without a title. encoding: of all text files;
    without it UTF-8, and latin-1 in formats that are older than that.

    Wrong rows are refused one by one and reported. Raises DataError for a wrong file, layout or mapping, and when no
    row is left; OptionError for a like rule that cannot be read.
    """
    started = time.monotonic()
    steps = track(STEPS, "import")
    next(steps)
    rule = LikeRule.parse(like) if like else None
    place = Path(path)
    with reading(encoding or ""):
        source, fit = _chosen(place, format)
    options = Options(dict(mapping or {}), *(None if one is None else _existing(one) for one in (items, users)))
    if source.name != "plain" and (items or users):
        raise DataError(f"the format {source.name} finds its own tables", field="items", hint="say format='plain'")
    with reading(encoding or "", source.fallback):
        raw = _read(source, place, options)
    next(steps)
    work = _Import(raw, strict, rule)
    next(steps)
    data = work.dataset(name or _name_of(place), {"format": source.name, "licence": raw.licence or "not stated"})
    next(steps)
    report = work.report(place, source, fit, raw, time.monotonic() - started)
    next(steps, None)
    if out is not None:
        from hexarec.data.store import write_dataset

        write_dataset(data, out, report)
    return ImportResult(data, report)


def _chosen(path: Path, format: str | None) -> tuple[Source, Fit]:
    if format is None:
        return detect(path)
    _existing(path)
    return source_named(format), Fit(1.0, "the format was stated")


def _existing(path: str | Path) -> Path:
    place = Path(path)
    if not place.exists():
        raise DataError("no such file or folder", file=str(path), hint="check the path")
    return place


def _name_of(path: Path) -> str:
    name = path.resolve().name
    return (name if path.is_dir() else name.split(".")[0]) or "data"


def _read(source: Source, path: Path, options: Options) -> RawTables:
    """Read, turning whatever a library raises about a malformed file into one DataError."""
    import polars as pl

    try:
        return source.read(path, options)
    except HexarecError:
        raise
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"does not read as {source.title}: {said}", file=path.name, hint="check the format") from error


class _Import:
    """One import under way: checked frames, and what was refused on the way."""

    def __init__(self, raw: RawTables, strict: bool, rule: LikeRule | None) -> None:
        import polars as pl

        self.notes = list(raw.notes)
        self.lost = [empty_rejects(), _frame_of(raw)]
        self.repeats = self.orphans = 0
        self.rows = len(raw.events) + len(raw.rejects)
        self.times = parse_times(raw.events["time"], clock=raw.clock)
        events, wrong = check_events(raw.events, self.times)
        self.lost.append(wrong)
        self.items = self._table(raw.items, "item")
        self.users = self._table(raw.users, "user")
        events, strange = known_kinds(self._without_orphans(events, strict))
        self.notes += [f"{n:,} events of kind {kind!r} were read as clicks" for kind, n in strange.items()]
        self.events = events
        if not len(events):
            raise self._nothing(raw)
        self.notes += [self.times.note] if self.times.note else []
        self.raw, self.clock = raw, raw.clock
        self.value = events["value"].fill_null(float("nan")).to_numpy().astype(np.float32)
        self.rule = rule or self._default(raw)
        self.order = pl.concat([self.items["item"], events["item"]]) if self.items is not None else events["item"]

    def _table(self, table: pl.DataFrame | None, key: str) -> pl.DataFrame | None:
        if table is None:
            return None
        good, wrong, repeats = check_table(table, key)
        self.lost.append(wrong)
        self.repeats += repeats
        good, cleaned = without_nul(good)
        self.notes += [f"{n:,} values of {name!r} held NUL characters, which were taken out" for name, n in cleaned]
        return good

    def _without_orphans(self, events: pl.DataFrame, strict: bool) -> pl.DataFrame:
        import polars as pl

        if self.items is None:
            return events
        known = pl.col("item").is_in(self.items["item"].implode())
        if strict:
            why = events.filter(~known).with_columns(pl.lit("item is not in the item table").alias("reason"))
            self.lost.append(rejected(why, pl.lit("item"), pl.col("item")))
            return events.filter(known)
        return events

    def _default(self, raw: RawTables) -> LikeRule:
        if raw.like:
            return LikeRule.parse(raw.like)
        rule, note = default_rule(self.value)
        self.notes += [note] if note else []
        return rule

    def _nothing(self, raw: RawTables) -> DataError:
        """The one error for a file of which no row can be used."""
        lost = self.rejects()
        if not len(lost):
            file = raw.events["_file"][0] if len(raw.events) else next(iter(raw.encodings), "")
            return DataError("there are no events, only a header or nothing", file=file)
        top = next(iter(self.counts()))
        one = lost.filter(lost["reason"] == top).row(0, named=True)
        return DataError(
            f"no event can be used: all {self.rows:,} rows are refused, most because: {top} (here {one['value']!r})",
            file=one["_file"] or "",
            line=one["_line"],
            field=one["column"] or "",
            hint="check the delimiter, the format and the mapping",
        )

    def rejects(self) -> pl.DataFrame:
        """All refused rows in the order of file and line."""
        import polars as pl

        return pl.concat(self.lost).sort("_file", "_line", maintain_order=True)

    def counts(self) -> dict[str, int]:
        """Refused rows by reason, most frequent first."""
        counted = self.rejects()["reason"].value_counts(sort=True)
        return dict(counted.iter_rows())

    def dataset(self, name: str, meta: Mapping[str, Any]) -> Dataset:
        """The data set of the accepted rows."""
        events = self.events
        shown = self.raw.impressions
        catalog = self._catalog(shown)
        users = self._people(shown)
        kind = _codes(events["kind"], KINDS).astype(np.int8)
        words = events["text"]
        columns = {
            "user": _codes(events["user"], users.ids.ids.tolist()),
            "item": _codes(events["item"], catalog.items.ids.tolist()),
            "time": events["time"].to_numpy(),
            "kind": kind,
            "value": self.value,
            "liked": self.rule.liked(self.value, kind),
            "text": None if words.is_null().all() else strings(words.to_list()),
        }
        log = Interactions.of(columns, len(users), clock=self.clock, like_rule=str(self.rule))
        data = Dataset(catalog, log, users, name=name, meta=meta)
        if shown is None:
            return data
        exposures, notes = build_exposures(data, shown)
        self.notes += notes
        return Dataset(catalog, log, users, name=name, exposures=exposures, meta=meta)

    def _catalog(self, shown: pl.DataFrame | None) -> Catalog:
        import polars as pl

        extra = [] if shown is None else [shown["items"].explode(), shown["history"].explode()]
        named = pl.concat([self.order, *(one.drop_nulls().cast(pl.String).alias("item") for one in extra)])
        ids = pl.DataFrame({"item": named.unique(maintain_order=True)})
        if self.items is None:
            return build_catalog(ids)
        items = ids.join(self.items, on="item", how="left", maintain_order="left")
        self.orphans = len(items) - len(self.items)
        return build_catalog(items, self._since(items))

    def _since(self, items: pl.DataFrame) -> NDArray[np.float64] | None:
        import polars as pl

        if "since" not in items.columns:
            return None
        found = parse_times(items["since"], now=1e11).seconds  # an item may come out in the future
        return found.fill_null(float("-inf")).cast(pl.Float64).to_numpy().copy()

    def _people(self, shown: pl.DataFrame | None) -> Users:
        import polars as pl

        named = [] if self.users is None else [self.users["user"]]
        named += [self.events["user"]] + ([] if shown is None else [shown["user"].drop_nulls().alias("user")])
        ids = pl.DataFrame({"user": pl.concat(named).unique(maintain_order=True)})
        return build_users(
            ids if self.users is None else ids.join(self.users, on="user", how="left", maintain_order="left")
        )

    def report(self, path: Path, source: Source, fit: Fit, raw: RawTables, seconds: float) -> ImportReport:
        """What happened, for people and for `rejects.jsonl`."""
        odd = [f"{file} is not UTF-8; it was read as {code}" for file, code in raw.encodings.items() if code != "utf-8"]
        return ImportReport(
            path=path.name,
            format=source.name,
            why=fit.reason,
            rows=self.rows,
            accepted=len(self.events),
            rejected=self.counts(),
            rejects=self.rejects(),
            time_unit=self.times.unit,
            like_rule=str(self.rule),
            orphans=self.orphans,
            repeats=self.repeats,
            guesses=raw.guesses,
            encodings=raw.encodings,
            notes=tuple([*self.notes, *odd]),
            licence=raw.licence,
            seconds=seconds,
        )


def _frame_of(raw: RawTables) -> pl.DataFrame:
    import polars as pl

    rows = [(one.file, one.line, one.column, one.reason, one.value) for one in raw.rejects]
    return pl.DataFrame(rows, schema=empty_rejects().schema, orient="row")


def _codes(column: pl.Series, names: Any) -> NDArray[np.int32]:
    """The place of every value in `names`, which holds all of them once."""
    import polars as pl

    places = pl.DataFrame({"n": pl.Series("n", list(names), dtype=pl.String)}).with_row_index("p")
    found = pl.DataFrame({"n": column}).join(places, on="n", how="left", maintain_order="left")
    return found["p"].to_numpy().astype(np.int32)
