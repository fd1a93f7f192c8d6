"""The section [serve] of a configuration: every limit of the server by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hexarec.core import OptionError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OWN = "default"
"""The tenant of callers on this machine while there are no keys."""
RUNS = "runs"
"""The folder in the home whose runs the page shows beside those of jobs."""
OF_PAGE, TALK_SECONDS = "page-", 30 * 86_400.0
"""How ids of the page's dialogues begin; how long its browser, and the store, keep one without a user that rests."""
ANSWER_SECONDS = 30 * 86_400.0
"""How long the store keeps an answer to a question without a user, which no erasure may find."""


@dataclass(frozen=True)
class Settings:
    """How the server runs. Sizes are bytes, times seconds."""

    home: Path = Path("hexarec-home")
    """Folder of the store, the fitted pipelines and the artefacts."""
    store: str = ""
    """Address of the database, for example postgresql+psycopg://user@host/name; a SQLite file in `home` without it."""
    host: str = "127.0.0.1"
    """Address to listen on; another than loopback needs a key, and so do further `hosts`."""
    port: int = 8090
    hosts: tuple[str, ...] = ()
    """Host headers that are answered, besides loopback and `host`."""
    origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may call (CORS); none by default."""
    body: int = 1_000_000
    """Largest request body; of batches of events and of uploads `batch_body`."""
    batch_body: int = 64_000_000
    depth: int = 64
    """Deepest nesting of a JSON body."""
    read_seconds: float = 10.0
    """How long a client may take to send a request."""
    deadline_ms: int = 2_000
    """How long an answer may take, where the request says nothing; after it the list is served without model."""
    longest_ms: int = 60_000
    """The longest deadline that a request may ask for."""
    merge: int = 64
    """Questions that are answered together at most."""
    waiting: int = 128
    """Questions that may wait before more are refused with 503."""
    threads: int = 1
    """Batches of one pipeline at a time."""
    calls: int = 64
    """Other calls at a time; more are refused with 503."""
    poll_seconds: float = 0.2
    """How often changes of other servers are looked for."""
    stop_seconds: float = 10.0
    """How long a stop waits for answers that are on their way."""
    rate: float = 0.0
    """Calls a second of a caller without limits of its own; 0 for no limit."""
    endpoints: tuple[str, ...] = ()
    """Addresses of language models that pipelines sent by API may name; those of the configuration always may."""
    remote_pii: bool = False
    """Whether words about a person may leave for a model on another machine; off removes what looks like such."""
    lm_cache_mb: float = 64.0
    """Megabytes of answers of language models that are kept for the same question again, per tenant; 0 for none."""
    log_shown: bool = True
    """Whether shown lists are kept for off-policy estimates, experiments and audits."""
    gorse: bool = False
    """Whether /api/feedback, /api/recommend, /api/item(s) and /api/user(s) answer in the shapes of gorse."""
    workers: int = 1
    """Server processes on this machine."""
    background: bool = True
    """Whether this server also works on background jobs."""
    refit_hours: float = 0.0
    """Age at which the newest version of a pipeline is fitted anew in the background; 0 for never."""

    origin: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each setting that is no default comes from: file or option; no setting itself."""

    def __post_init__(self) -> None:
        for name in (
            "body",
            "batch_body",
            "depth",
            "deadline_ms",
            "longest_ms",
            "merge",
            "waiting",
            "threads",
            "calls",
        ):
            if getattr(self, name) < 1:
                raise OptionError(f"[serve] {name} is {getattr(self, name)}, not at least 1")
        for name in ("refit_hours", "lm_cache_mb"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise OptionError(f"[serve] {name} is {getattr(self, name)}, not at least 0")
        if not 0 <= self.port < 65536:
            raise OptionError(f"[serve] port is {self.port}, which is no port")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    @property
    def alone(self) -> bool:
        """Whether a caller can only be somebody on this machine: no other address, and no other name (of a proxy)."""
        return self.loopback and not self.hosts

    @property
    def url(self) -> str:
        """Address of the store."""
        return self.store or f"sqlite:///{self.home / 'store.sqlite'}"


def settings_of(section: Mapping[str, Any], **given: Any) -> Settings:
    """The settings of a section [serve], with what is given instead. Raises OptionError for an unknown name or type."""
    known = {one.name: one for one in fields(Settings) if one.name != "origin"}
    options = {key: one for key, one in given.items() if one is not None}
    made: dict[str, Any] = {}
    for name, value in {**section, **options}.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise OptionError(
                f"[serve] has no {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}",
            )
        made[name] = _typed(name, value, str(known[name].type))
    return Settings(**made, origin={**dict.fromkeys(section, "file"), **dict.fromkeys(options, "option")})


def _typed(name: str, value: Any, wanted: str) -> Any:
    if wanted.startswith("tuple") and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if wanted == "Path" and isinstance(value, str | Path):
        return Path(value)
    if wanted == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, {"str": str, "int": int, "bool": bool}.get(wanted, ())) and not (
        wanted == "int" and isinstance(value, bool)
    ):
        return value
    raise OptionError(f"[serve] {name} = {value!r} is not {wanted}")
