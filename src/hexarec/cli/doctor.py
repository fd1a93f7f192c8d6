"""`hexarec doctor`: what is here, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Annotated, Literal

import typer

from hexarec.cli.shared import Json

Level = Literal["ok", "warn", "bad"]
STYLE = {"ok": "green", "warn": "yellow", "bad": "red"}
LEAST_MEMORY, LEAST_DISK = 2.0, 1.0  # GB
PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; bad = hexarec cannot work without it."""

    name: str
    level: Level
    said: str
    mend: str = ""


def doctor(
    json_: Json = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an endpoint.")] = 2.0,
) -> None:
    """Look at this machine: Python, memory, disk, extras, models, endpoints; each with what mends it."""
    from hexarec.cli.shared import say_json, screen, table_of

    checks = [*machine(), *packages(), *embedded(), torch(), *endpoints(timeout)]
    if json_:
        say_json([asdict(one) for one in checks])
    else:
        from rich.text import Text

        rows = [
            (Text(one.level, style=STYLE[one.level]), one.name, f"{one.said}\n-> {one.mend}" if one.mend else one.said)
            for one in checks
        ]
        screen().print(table_of("", ("", "what", "found"), rows))
    if any(one.level == "bad" for one in checks):
        raise typer.Exit(1)


def machine() -> Iterator[Check]:
    """Python, platform, cores, memory, disk."""
    good = sys.version_info[:2] >= PYTHON
    yield Check("python", "ok" if good else "bad", platform.python_version(), "" if good else "install Python 3.11")
    yield Check("platform", "ok", f"{platform.system()} {platform.machine()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    slow = "" if cores > 1 else "it works with one, but language models answer at half the speed"
    yield Check("cores", "ok" if cores > 1 else "warn", f"{cores} usable", slow)
    memory = _memory()
    few = memory is not None and memory < LEAST_MEMORY
    said = "unknown" if memory is None else f"{memory:.1f} GB"
    yield Check("memory", "warn" if few else "ok", said, "close other programs; use small models" if few else "")
    from hexarec.lm.models import folder

    place = _existing(folder())
    free = shutil.disk_usage(place).free / 1e9
    little = free < LEAST_DISK or not os.access(place, os.W_OK)
    mend = "free some space, or set HEXAREC_MODELS to a folder you may write" if little else ""
    yield Check("disk", "warn" if little else "ok", f"{free:.1f} GB free for models in {folder()}", mend)


def _memory() -> float | None:
    """Memory of the machine in GB, or what this process may have of it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return None
    try:
        limit = float(Path("/sys/fs/cgroup/memory.max").read_text("ascii")) / 1e9
    except (OSError, ValueError):
        return total
    return min(total, limit)


def _existing(place: Path) -> Path:
    return next(one for one in (place, *place.parents) if one.exists())


def _required() -> dict[str, list[str]]:
    """Package names by extra, "" for those always needed, as the installed hexarec declares them."""
    made: dict[str, list[str]] = {}
    for line in metadata.requires("hexarec") or []:
        name, extra = re.match(r"[\w.\-]+", line), re.search(r"extra\s*==\s*[\"']([\w\-]+)[\"']", line)
        if name is not None and name[0] != "hexarec":
            made.setdefault(extra[1] if extra else "", []).append(name[0])
    return made


def _missing(names: list[str]) -> list[str]:
    out = []
    for name in names:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            out.append(name)
    return out


def packages() -> Iterator[Check]:
    """The packages hexarec needs, and each extra."""
    try:
        wanted = _required()
    except metadata.PackageNotFoundError:
        yield Check("hexarec", "bad", "not installed as a package", "pip install -e .")
        return
    lost = _missing(wanted.pop("", []))
    said = f"missing: {', '.join(lost)}" if lost else f"hexarec {metadata.version('hexarec')} and what it needs"
    yield Check("packages", "bad" if lost else "ok", said, "pip install hexarec" if lost else "")
    for extra, names in wanted.items():
        if extra == "dev":
            continue
        lost = _missing(names)
        said = f"missing: {', '.join(lost)}" if lost else "installed"
        yield Check(f"[{extra}]", "warn" if lost else "ok", said, f'pip install "hexarec[{extra}]"' if lost else "")


def embedded() -> Iterator[Check]:
    """The embedded models: installed, whole, or how to get them."""
    from hexarec.core.errors import ModelError
    from hexarec.lm import models

    for name, about in models.REGISTRY.items():
        try:
            models.verify(name)
            yield Check(f"model {name}", "ok", f"installed, SHA-256 verified, {about.licence}")
        except ModelError as error:
            yield Check(f"model {name}", "warn", error.message, f"hexarec models install {name}")


def torch() -> Check:
    """Whether `hf:` and training can run; nothing by default needs them, and torch is not imported to find out."""
    from hexarec.lm.kinds import KINDS

    mend = 'pip install "hexarec[train]"'
    if util.find_spec("torch") is None:
        return Check("torch", "ok", "not installed; only hf: models and training need it", mend)
    lost = [name for name in KINDS["hf"].packages if util.find_spec(name) is None]
    if lost:
        return Check("torch", "warn", f"{metadata.version('torch')}, but hf: also needs {', '.join(lost)}", mend)
    return Check("torch", "ok", f"{metadata.version('torch')}: hf: models open, and training runs")


def endpoints(timeout: float) -> Iterator[Check]:
    """The endpoint that the environment names; keys are never shown."""
    from hexarec.lm.address import without_secrets

    key = bool(os.environ.get("OPENAI_API_KEY"))
    url = os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        said = "a key is set, no OPENAI_BASE_URL" if key else "none in the environment; the embedded models need none"
        yield Check("endpoint", "ok", said)
        return
    shown = without_secrets(url)
    said, good = _reach(url, timeout)
    mend = "" if good else "start the server, or correct OPENAI_BASE_URL and OPENAI_API_KEY"
    yield Check("endpoint", "ok" if good else "warn", f"{shown}: {said}; key {'set' if key else 'not set'}", mend)


def _reach(url: str, timeout: float) -> tuple[str, bool]:
    import httpx

    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{url.rstrip('/')}/models", headers=headers, timeout=timeout)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"does not answer ({type(error).__name__})", False
    return (f"answers, status {reply.status_code}", reply.status_code < 400)
