"""The one walker that saves and loads stages: npz, JSON, a manifest with hashes written last. No pickle.

Source: the layout is ours. State is a graph of nodes (stages, parts, tables); a node that several others hold is
saved once and comes back shared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hexarec.core.atomic import atomic_folder
from hexarec.core.errors import StateError
from hexarec.core.ids import digest, strings
from hexarec.core.options import check_options, is_stage, learned, option_names

FORMAT = 1
MANIFEST = "manifest.json"
Resolve = Callable[[str, str, Mapping[str, Any]], Any]


class _Writer:
    """Turns values into JSON with references to nodes and arrays."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[int, int] = {}
        self._alive: list[Any] = []  # keeps ids from being reused while we walk

    def value(self, value: Any, where: str) -> Any:
        """The JSON form of one value. Raises StateError for a type that is not state."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | np.integer):
            return int(value)
        if isinstance(value, float | np.floating):
            return {"t": "float", "v": float(value).hex()}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, list | tuple | frozenset | set):
            listed = sorted(value) if isinstance(value, frozenset | set) else value
            return {"t": type(value).__name__, "v": [self.value(v, f"{where}[]") for v in listed]}
        if isinstance(value, Mapping):
            return {"t": "dict", "v": [[self.value(k, where), self.value(v, f"{where}.{k}")] for k, v in value.items()]}
        if type(value).__name__ in ("csr_array", "csr_matrix"):
            parts = {p: self._array(getattr(value, p), where) for p in ("data", "indices", "indptr")}
            return {"t": "csr", "shape": list(value.shape), **parts}
        # a model is saved as the name that opens it again, unless it learned something here
        if getattr(value, "spec", None) and not (is_stage(value) and learned(value)):
            kind = "encoder" if hasattr(value, "encode") else "lm"
            options = self.value(dict(getattr(value, "options", {})), where)
            return {"t": "model", "kind": kind, "spec": value.spec, "options": options}
        if is_stage(value):
            return {"t": "node", "n": self.node(value, where)}
        raise StateError(f"{where} holds a {type(value).__name__}, which cannot be saved", hint="see core/state.py")

    def _array(self, array: np.ndarray, where: str) -> dict[str, Any]:
        if array.dtype == object:
            if not all(one is None or isinstance(one, str) for one in array.flat):
                raise StateError(f"{where} is an object array with values other than text")
            return {"t": "strings", "v": array.tolist()}
        name = f"a{len(self.arrays)}"
        self.arrays[name] = array
        return {"t": "array", "k": name}

    def node(self, thing: Any, where: str) -> int:
        """The number of a node, written on first sight."""
        if id(thing) in self._known:
            return self._known[id(thing)]
        number = self._known[id(thing)] = len(self.nodes)
        self._alive.append(thing)
        self.nodes.append({})
        cls = type(thing)
        state = {**{n: getattr(thing, n) for n in option_names(thing)}, **learned(thing)}
        self.nodes[number] = {
            "class": f"{cls.__module__}:{cls.__qualname__}",
            "values": {name: self.value(v, f"{where}.{name}") for name, v in state.items()},
        }
        return number


class _Reader:
    """Rebuilds nodes; each once."""

    def __init__(self, nodes: list[dict[str, Any]], arrays: Mapping[str, np.ndarray], resolve: Resolve) -> None:
        self.nodes, self.arrays, self.resolve = nodes, arrays, resolve
        self._made: dict[int, Any] = {}
        self._models: dict[tuple[str, str, str], Any] = {}

    def value(self, saved: Any) -> Any:
        """The value of a JSON form."""
        if not isinstance(saved, dict):
            return saved
        kind = saved["t"]
        if kind == "float":
            return float.fromhex(saved["v"])
        if kind == "array":
            return self.arrays[saved["k"]]
        if kind == "strings":
            return strings(saved["v"])
        if kind in ("list", "tuple", "set", "frozenset"):
            made = [self.value(v) for v in saved["v"]]
            return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](made)
        if kind == "dict":
            return {self.value(k): self.value(v) for k, v in saved["v"]}
        if kind == "csr":
            from scipy.sparse import csr_array

            parts = tuple(self.value(saved[p]) for p in ("data", "indices", "indptr"))
            return csr_array(parts, shape=tuple(saved["shape"]))
        if kind == "model":
            name = (saved["kind"], saved["spec"], json.dumps(saved["options"]))
            if name not in self._models:
                self._models[name] = self.resolve(saved["kind"], saved["spec"], self.value(saved["options"]))
            return self._models[name]
        if kind == "node":
            return self.node(saved["n"])
        raise StateError(f"unknown kind of value {kind!r}", hint="this was saved by a newer version")

    def node(self, number: int) -> Any:
        """The object of a node."""
        if number not in self._made:
            saved = self.nodes[number]
            cls = class_named(saved["class"])
            thing: Any = object.__new__(cls)
            self._made[number] = thing
            options = option_names(cls)
            given = [n for n in saved["values"] if n in options or n.startswith("_") or not n.endswith("_")]
            check_options(cls, given)
            for f in dataclasses.fields(cls):
                if f.default is not dataclasses.MISSING:
                    object.__setattr__(thing, f.name, f.default)
                elif f.default_factory is not dataclasses.MISSING:
                    object.__setattr__(thing, f.name, f.default_factory())
            for name, value in saved["values"].items():
                object.__setattr__(thing, name, self.value(value))
        return self._made[number]


def class_named(name: str) -> type:
    """The dataclass `module:Name`, only from hexarec or a package that registered methods by entry point."""
    module, _, qualname = name.partition(":")
    allowed = {"hexarec"} | {point.value.split(":")[0].split(".")[0] for point in entry_points(group="hexarec.methods")}
    if module.split(".")[0] not in allowed:
        raise StateError(f"refusing to load class {name!r}", hint=f"allowed packages: {', '.join(sorted(allowed))}")
    try:
        thing: Any = importlib.import_module(module)
        for part in qualname.split("."):
            thing = getattr(thing, part)
    except (ImportError, AttributeError) as error:
        raise StateError(f"class {name!r} does not exist here: {error}") from None
    if not (isinstance(thing, type) and dataclasses.is_dataclass(thing)):
        raise StateError(f"{name!r} is not a stage")
    return thing


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(thing: Any, path: str | Path, meta: Mapping[str, Any] | None = None) -> Path:
    """Write a stage with its options, learned state and everything it holds to the directory `path`.

    Written beside the target and renamed at the end; the manifest is written last. Raises StateError.
    """
    path = Path(path)
    check_target(path)
    writer = _Writer()
    root = writer.node(thing, type(thing).__name__)
    with atomic_folder(path) as aside:
        (aside / "nodes.json").write_text(json.dumps(writer.nodes, ensure_ascii=True), "utf-8")
        np.savez(aside / "arrays.npz", allow_pickle=False, **writer.arrays)
        files = {name: _sha256(aside / name) for name in ("nodes.json", "arrays.npz")}
        manifest = {
            "format": FORMAT, "hexarec": version("hexarec"), "root": root, "files": files, **(meta or {})
        }  # fmt: skip
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
    return path


def check_target(path: Path) -> None:
    """Raise StateError when saving to `path` would destroy something that is not saved state."""
    if path.is_dir() and ((path / MANIFEST).is_file() or not any(path.iterdir())):
        return
    if path.exists() or path.is_symlink():
        what = "a folder with other things in it" if path.is_dir() else "a file"
        raise StateError(f"{path} is {what}; saving would destroy it", hint="choose a new folder")


def manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a saved stage. Raises StateError when it is missing or unreadable."""
    place = Path(path) / MANIFEST
    try:
        made = json.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        if not Path(path).exists():
            raise StateError(f"{path} does not exist", hint="check the path, or fit and save first") from None
        raise StateError(f"{path} holds no saved state (no {MANIFEST})", hint="save it again") from None
    except (ValueError, RecursionError, OSError) as error:
        raise StateError(f"{place} is damaged: {error}", hint="save it again") from None
    if not isinstance(made, dict) or made.get("format") != FORMAT:
        raise StateError(f"{place} has format {made.get('format') if isinstance(made, dict) else '?'}, not {FORMAT}")
    return made


def load(path: str | Path, resolve: Resolve) -> Any:
    """Read what `save` wrote. `resolve(kind, spec, options)` opens a language model ("lm") or encoder ("encoder").

    Raises StateError when a file is missing, its hash differs, or a class is not allowed.
    """
    path = Path(path)
    about = manifest(path)
    try:
        return _loaded(path, about, resolve)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, RecursionError, BadZipFile) as error:
        raise StateError(f"{path} is damaged: {type(error).__name__}: {error}", hint="save it again") from None


def _loaded(path: Path, about: Mapping[str, Any], resolve: Resolve) -> Any:
    if set(about["files"]) != {"nodes.json", "arrays.npz"}:
        raise StateError(f"the manifest of {path} does not name its two files", hint="save it again")
    for name, expected in about["files"].items():
        if not (path / name).is_file():
            raise StateError(f"{path} lacks the file {name!r}", hint="save it again")
        if _sha256(path / name) != expected:
            raise StateError(f"{path / name} was changed or damaged: its SHA-256 differs", hint="save it again")
    nodes = json.loads((path / "nodes.json").read_text("utf-8"))
    with np.load(path / "arrays.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return _Reader(nodes, arrays, resolve).node(about["root"])


def state_digest(thing: Any) -> str:
    """A hash of options and learned state: equal hashes, equal behaviour."""
    writer = _Writer()
    writer.node(thing, type(thing).__name__)
    return digest(json.dumps(writer.nodes), *(writer.arrays[name] for name in sorted(writer.arrays)))
