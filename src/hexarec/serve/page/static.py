"""Files that a page loads: under an address that holds their hash, kept for ever, compressed once."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file: its content, packed content, type, and the hash in its address."""

    name: str
    content: bytes
    packed: bytes
    type: str
    digest: str

    @property
    def address(self) -> str:
        """Where it is."""
        return f"/static/{self.digest}/{self.name}"


@lru_cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name, as `page.css` or `vendor/htmx.min.js`."""
    found = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {(name := path.relative_to(FOLDER).as_posix()): _asset(name, path) for path in found}


def _asset(name: str, path: Path) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(name, content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix], digest)


def address(name: str) -> str:
    """The address of a file. Raises KeyError for one that is not there."""
    return assets()[name].address


async def served(request: Request) -> Response:
    """One file, for the hash it has now."""
    found = assets().get(request.path_params["name"])
    if found is None or request.path_params["digest"] != found.digest:
        return PlainTextResponse("no such file", 404)
    headers = {"cache-control": FOR_EVER, "vary": "accept-encoding"}
    packs = "gzip" in request.headers.get("accept-encoding", "")
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(found.packed if packs else found.content, headers=headers, media_type=found.type)
