"""The registry: the versions of all pipelines and what was tuned for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.serve.live.publish import KIND

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant
    from hexarec.serve.store.rows import Versioned


def registered(tenant: Tenant, most: int) -> list[dict[str, Any]]:
    """The newest versions of all pipelines, each followed by what was tuned for it; newest first."""
    shelf = tenant.shelf
    versions = [one for name in shelf.names(KIND) for one in shelf.versions(KIND, name.name)]
    versions.sort(key=lambda one: (-one.created, one.name, -one.version))
    return [entry for one in versions[:most] for entry in _entries(one, tenant.folder)]


def _entries(version: Versioned, folder: Path) -> list[dict[str, Any]]:
    body = version.body
    of = {"pipeline": version.name, "version": version.version, "created": version.created, "active": version.active,
          "data_key": body.get("data_key")}  # fmt: skip
    artefacts = body.get("artefacts", [])
    files = folder / str(body["path"])
    whole = {
        **of, "id": f"{version.name}@{version.version}", "kind": KIND, "seed": body.get("seed"),
        "events": body.get("events"), "users": body.get("users"), "items": body.get("items"),
        "validation": body.get("validation", {}), "artefacts": [one["id"] for one in artefacts],
        "bytes": _size(files),
    }  # fmt: skip
    return [whole, *({**of, **one} for one in artefacts)]


def _size(folder: Path) -> int | None:
    """Bytes of the files of a folder; None when they are gone, or go while they are counted."""
    try:
        return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) or None
    except FileNotFoundError:
        return None
