"""A data set as a directory: Parquet tables, feature arrays, `dataset.toml` with a SHA-256 of each, written last."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hexarec.core import Dataset, Dialogue, Features, Message
from hexarec.core.atomic import atomic_folder
from hexarec.core.errors import DataError
from hexarec.data.encode import as_json

if TYPE_CHECKING:
    import polars as pl

    from hexarec.data.report import ImportReport

FORMAT = 1
ABOUT = "dataset.toml"
REJECTS = "rejects.jsonl"
BUNDLED = "films"
_AGAIN = "import or store the data set again"


class _Writer:
    """Files being written to a folder that is not yet in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}

    def table(self, name: str, frame: pl.DataFrame) -> None:
        """One Parquet file."""
        frame.write_parquet(self.folder / name)
        self.seal(name, len(frame))

    def seal(self, name: str, rows: int) -> None:
        """Note the hash of a finished file."""
        self.files[name] = {"rows": rows, "sha256": _sha256(self.folder / name)}


def write_dataset(data: Dataset, path: str | Path, report: ImportReport | None = None) -> Path:
    """Store a data set as the directory `path`; what was there is replaced only when everything is written.

    With an import report, the refused rows are written beside it. Raises DataError when `path` holds something else
    than a data set, or a value or the whole cannot be stored.
    """
    import polars as pl
    import tomli_w

    path = Path(path)
    if path.exists() and not (path / ABOUT).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} exists and is no data set", hint="choose an empty or new folder")
    try:
        with atomic_folder(path) as aside:
            about = _write_tables(data, _Writer(aside))
            if report is not None:
                report.write_rejects(aside / REJECTS)
                about["import"] = {
                    "report": as_json(report.as_dict(), "import"),
                    "rejects_sha256": _sha256(aside / REJECTS),
                }
            (aside / ABOUT).write_text(tomli_w.dumps(about), "utf-8")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot be stored: {error}", file=str(path), hint="check the free space") from error
    return path


def _write_tables(data: Dataset, writer: _Writer) -> dict[str, Any]:
    from hexarec.data import packing

    packed = {
        "events": packing.pack_events(data),
        "items": packing.pack_items(data.catalog),
        "users": packing.pack_users(data.users),
    }
    if data.exposures is not None:
        packed["impressions"] = packing.pack_exposures(data.exposures)
    if data.graph is not None:
        packed["graph"] = packing.pack_graph(data.graph)
    for name, (frame, _) in packed.items():
        writer.table(f"{name}.parquet", frame)
    features = [_write_features(writer, i, name, made) for i, (name, made) in enumerate(data.features.items())]
    if data.dialogues:
        _write_dialogues(writer, data)
    log = data.interactions
    return {
        "format": FORMAT,
        "name": data.name,
        "source_format": str(data.meta.get("format", "")),
        "licence": str(data.meta.get("licence", "not stated")),
        "like_rule": log.like_rule,
        "clock": log.clock,
        "simulated": data.simulated,
        "counts": {"users": data.n_users, "items": data.n_items, "events": len(log)},
        "meta": as_json(dict(data.meta), "meta"),
        "tables": {name: as_json(about, name) for name, (_, about) in packed.items()},
        "features": features,
        "files": writer.files,
    }


def _write_features(writer: _Writer, number: int, name: str, made: Features) -> dict[str, Any]:
    (writer.folder / "features").mkdir(exist_ok=True)
    file = f"features/{number}.npz"
    np.savez(writer.folder / file, allow_pickle=False, rows=made.rows, mask=made.mask)
    writer.seal(file, len(made.rows))
    return {"name": name, "file": file, "provenance": dict(made.provenance)}


def _write_dialogues(writer: _Writer, data: Dataset) -> None:
    lines = []
    for one in data.dialogues:
        turns = [{"role": turn.role, "text": turn.text, "items": list(turn.items)} for turn in one.turns]
        lines.append(as_json({"turns": turns, "state": dict(one.state), "user": one.user}, "dialogues"))
    (writer.folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    writer.seal("dialogues.jsonl", len(lines))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_dataset(path: str | Path) -> bool:
    """Whether a directory is a stored data set."""
    return (Path(path) / ABOUT).is_file()


def about_dataset(path: str | Path) -> dict[str, Any]:
    """What `dataset.toml` says. Raises DataError when it is missing or unreadable."""
    place = Path(path) / ABOUT
    try:
        made = tomllib.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"no stored data set (there is no {ABOUT})", file=str(path), hint=_AGAIN) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"damaged: {error}", file=str(place), hint=_AGAIN) from None
    if made.get("format") != FORMAT or not isinstance(made.get("files"), dict):
        raise DataError(f"format {made.get('format')!r} is not {FORMAT}", file=str(place), hint=_AGAIN)
    return made


def read_dataset(path: str | Path) -> Dataset:
    """Read what `write_dataset` wrote. Raises DataError when a file is missing or was changed."""
    path = Path(path)
    about = about_dataset(path)
    for name, said in about["files"].items():
        place = path / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not place.is_file():
            raise DataError("the file is missing", file=str(place), hint=_AGAIN)
        if _sha256(place) != said.get("sha256"):
            raise DataError("the file was changed: its SHA-256 differs", file=str(place), hint=_AGAIN)
    try:
        return _read_tables(path, about)
    except DataError:
        raise
    except Exception as error:  # polars, numpy and JSON raise many things about a table that is not what we wrote
        raise DataError(f"does not read as a data set: {error}", file=str(path), hint=_AGAIN) from error


def _read_tables(path: Path, about: Mapping[str, Any]) -> Dataset:
    import polars as pl

    from hexarec.data import packing

    told = {name: json.loads(text) for name, text in about["tables"].items()}

    def table(name: str) -> pl.DataFrame:
        if f"{name}.parquet" not in about["files"]:
            raise DataError("the table is not listed", file=str(path / ABOUT), field=name, hint=_AGAIN)
        return pl.read_parquet(path / f"{name}.parquet")

    catalog = packing.unpack_items(table("items"), told["items"])
    users = packing.unpack_users(table("users"), told["users"])
    shown = "impressions" in told
    return Dataset(
        catalog,
        packing.unpack_events(table("events"), told["events"], users, catalog),
        users,
        name=about["name"],
        exposures=packing.unpack_exposures(table("impressions"), told["impressions"], users, catalog)
        if shown
        else None,
        graph=packing.unpack_graph(table("graph"), told["graph"]) if "graph" in told else None,
        dialogues=_read_dialogues(path) if "dialogues.jsonl" in about["files"] else (),
        features={one["name"]: _read_features(path, one) for one in about["features"]},
        simulated=bool(about["simulated"]),
        meta=json.loads(about["meta"]),
    )


def _read_features(path: Path, about: Mapping[str, Any]) -> Features:
    with np.load(path / about["file"], allow_pickle=False) as file:
        return Features(file["rows"], file["mask"], dict(about["provenance"]))


def _read_dialogues(path: Path) -> tuple[Dialogue, ...]:
    rows = [json.loads(line) for line in (path / "dialogues.jsonl").read_text("utf-8").split("\n") if line]
    return tuple(
        Dialogue(
            tuple(Message(t["role"], t["text"], tuple(t["items"])) for t in row["turns"]), row["state"], row["user"]
        )
        for row in rows
    )


def open_data(name_or_path: str | Path, **options: Any) -> Dataset:
    """A data set by name or path: `films`, `world:<name>`, a stored directory, or raw files, which are imported.

    Options go to the one that makes it (`import_data`, the film simulator, the world); a stored directory takes none.
    Raises DataError with a suggestion for a name nobody knows.
    """
    name = str(name_or_path)
    if name == BUNDLED:
        from hexarec.data import films

        return films.load(**options)
    if name.startswith("world:"):
        from hexarec.data import worlds

        return worlds.world(name.removeprefix("world:"), **options).data
    path = Path(name_or_path)
    if is_dataset(path):
        if options:
            raise DataError("a stored data set takes no options", field=next(iter(options)), hint="import it anew")
        return read_dataset(path)
    if not path.exists():
        raise _unknown(name, path)
    from hexarec.data.importer import import_data

    return import_data(path, **options).dataset


def _unknown(name: str, path: Path) -> DataError:
    from hexarec.data.worlds import WORLDS

    known = [BUNDLED, *(f"world:{one}" for one in WORLDS)]
    beside = [str(path.parent / one.name) for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(name, [*known, *beside], 1)
    return DataError(
        f"no data set {name!r}" + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"give a path, or one of {', '.join(known)}",
    )
