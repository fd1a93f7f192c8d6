"""What the commands of the server share: its settings, and its store opened without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import CONFIG

if TYPE_CHECKING:
    from hexarec.serve.service import Service
    from hexarec.serve.settings import Settings
    from hexarec.serve.store.shelf import Shelf

Home = Annotated[Path | None, typer.Option(help="Folder of the server's data; hexarec-home without it.")]
ServeConfig = Annotated[Path, typer.Option("-c", "--config", help="The configuration file; its section serve is read.")]
TenantName = Annotated[str, typer.Option("--tenant", help="The tenant.")]
EXTRA = "serve"


def needs_extra() -> None:
    """Raise MissingExtraError unless the server's packages are installed."""
    import importlib.util

    from hexarec.core.errors import MissingExtraError

    for package in ("fastapi", "sqlalchemy", "alembic", "uvicorn", "mcp"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, EXTRA)


def settings_from(config: Path, home: Path | None, **given: Any) -> Settings:
    """The section [serve] of a configuration file, with options of the command line instead.

    Only the file that nobody named may be missing.
    """
    needs_extra()
    from hexarec.pipeline.config import read_toml
    from hexarec.serve.settings import settings_of

    told = read_toml(config) if config.is_file() or config != Path(CONFIG) else {}
    return settings_of(told.get("serve", {}), home=home, **given)


def check_home(settings: Settings) -> None:
    """Raise OptionError when there is no home: a command in the wrong folder must not look as if it had worked."""
    if not settings.home.is_dir():
        from hexarec.core import OptionError

        raise OptionError(f"there is no server home {settings.home}", hint="give --home, or -c with its [serve] home")


@contextlib.contextmanager
def opened(settings: Settings, *, made: bool = False) -> Iterator[Service]:
    """The service over its store, for a command that needs no server; made: a home that is missing is made."""
    from hexarec.serve.service import Service
    from hexarec.serve.store.open import open_store

    if made:
        settings.home.mkdir(parents=True, exist_ok=True)
    check_home(settings)
    service = Service(open_store(settings.url), settings)
    try:
        yield service
    finally:
        service.close()


@contextlib.contextmanager
def shelf_of(config: Path, home: Path | None, tenant: str, *, made: bool = False) -> Iterator[Shelf]:
    """The shelf of a tenant, for a command that needs no pipeline; made: a home that is missing is made."""
    from hexarec.serve.store.open import open_store

    settings = settings_from(config, home)
    if made:
        settings.home.mkdir(parents=True, exist_ok=True)
    check_home(settings)
    with contextlib.closing(open_store(settings.url)) as store:
        yield store.of(tenant)


def page_of(settings: Settings) -> str:
    """The address under which a browser on this machine finds the page."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"
