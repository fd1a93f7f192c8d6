"""What tuning leaves behind: a folder with `adapter.safetensors` and `manifest.json`, checked on the way in.

The manifest is written last and the folder put in place by a rename, so a folder that is there is whole. It holds the
SHA-256 of the weights and the fingerprint of the base they belong to: weights that fit another model, tokenizer or file
are the commonest silent fault of tuned models (peft #286 and its like), so a mismatch is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from hexarec.core.atomic import atomic_folder
from hexarec.core.errors import ModelError
from hexarec.core.state import MANIFEST, check_target

FORMAT = 1
OWN = ("format", "kind", "options", "base", "files", "versions")
"""Fields of a manifest that are not what its maker told of it."""
WEIGHTS = "adapter.safetensors"
KINDS = ("lora", "bottleneck", "prompt", "p-tuning", "prefix", "frozen")
"""What may be tuned; under `frozen` only the `extra` modules are."""


@dataclass(frozen=True, eq=False)
class Artefact:
    """What a folder holds. `digest` is the hash of its manifest, which holds that of the weights."""

    manifest: dict[str, Any]
    tensors: dict[str, Tensor]
    digest: str


def save(
    path: str | Path,
    kind: str,
    options: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    base: Mapping[str, str],
    about: Mapping[str, Any],
) -> Path:
    """Write an artefact; `about` (JSON values) goes into the manifest. An older artefact at `path` is replaced.

    Raises StateError when something else is there, ModelError for weights that are empty or not finite.
    """
    from safetensors.torch import save_file

    path = Path(path)
    check_target(path)
    _sane(tensors)
    with atomic_folder(path) as aside:
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, aside / WEIGHTS)
        manifest = {
            **about,
            "format": FORMAT,
            "kind": kind,
            "options": dict(options),
            "base": dict(base),
            "files": {WEIGHTS: file_hash(aside / WEIGHTS)},
            "versions": _versions(),
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
    return path


def read(path: str | Path) -> Artefact:
    """Read an artefact. Raises ModelError when it is missing, damaged, or of an unknown format or kind."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if "\0" in str(path):
        raise ModelError(f"{str(path)!r} is no path", hint="give the folder of an adapter")
    try:
        text = (path / MANIFEST).read_bytes()
        manifest = json.loads(text)
        _of_tuning(path, manifest)
        kind, expected = manifest["kind"], manifest["files"][WEIGHTS]
        dict(manifest["base"]), dict(manifest["options"])  # what every reader of it relies on
        if manifest["format"] != FORMAT or kind not in KINDS:
            raise ModelError(
                f"{path} has format {manifest['format']} and kind {kind!r}, which this version cannot read"
            )
        if file_hash(path / WEIGHTS) != expected:
            raise ModelError(f"{path / WEIGHTS} was changed or damaged: its SHA-256 differs", hint="tune again")
        return Artefact(manifest, load_file(path / WEIGHTS), hashlib.sha256(text).hexdigest())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path} holds no tuned weights: {Path(error.filename).name} is missing") from None
    except (ValueError, KeyError, TypeError, OSError, RecursionError, SafetensorError) as error:
        raise ModelError(f"{path} is damaged: {type(error).__name__}: {error}", hint="tune again") from None


def _of_tuning(path: Path, manifest: Any) -> None:
    """Raise ModelError for the manifest of a saved stage, which is whole but no adapter."""
    if isinstance(manifest, dict) and "root" in manifest and "kind" not in manifest:
        raise ModelError(
            f"{path} is a saved stage or pipeline, no tuned weights",
            hint="give the folder of an adapter: one that holds adapter.safetensors",
        )


def check_base(path: str | Path, made_for: Mapping[str, str], base: Mapping[str, str]) -> None:
    """Raise ModelError unless both fingerprints are of one base; the error names what differs.

    An artefact of before the chat template was part of it is compared in the other parts only.
    """
    parts = {*made_for, *base} - ({"template"} - set(made_for))
    differs = sorted(part for part in parts if made_for.get(part) != base.get(part))
    if differs:
        raise ModelError(
            f"{path} was tuned for another base: {', '.join(differs)} differ",
            hint="load the base it was tuned for, or tune again",
        )


def file_hash(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: str | Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of an artefact's files: equal stamps need no second reading. Raises ModelError."""
    try:
        found = [(name, os.stat(Path(path) / name)) for name in (MANIFEST, WEIGHTS)]
    except OSError as error:
        raise ModelError(f"{path} holds no tuned weights: {error}") from None
    return tuple((name, one.st_mtime_ns, one.st_size) for name, one in found)


def _sane(tensors: Mapping[str, Tensor]) -> None:
    if not tensors:
        raise ModelError("there is nothing to save: no weight was tuned")
    broken = [name for name, one in tensors.items() if not bool(one.isfinite().all())]
    if broken:
        raise ModelError(f"tuning diverged: {broken[0]} is not finite", hint="lower the rate")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("hexarec", "torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
