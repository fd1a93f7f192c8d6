"""`hexarec serve` and what belongs to it: keys, users, pipelines, experiments, backups, MCP, bulk work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import CONFIG, Data, Json

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant
    from hexarec.serve.service import Service
    from hexarec.serve.settings import Settings

Home = Annotated[Path | None, typer.Option(help="Folder of the server's data; hexarec-home without it.")]
ServeConfig = Annotated[Path, typer.Option("-c", "--config", help="The configuration file; its [serve] is read.")]
TenantName = Annotated[str, typer.Option("--tenant", help="The tenant.")]
EXTRA = "serve"


def settings_from(config: Path, home: Path | None, **given: Any) -> Settings:
    """The section [serve] of a configuration file that may be missing, with options of the command line instead."""
    needs_extra()
    from hexarec.pipeline.config import read_toml
    from hexarec.serve.settings import settings_of

    told = read_toml(config) if config.is_file() else {}
    return settings_of(told.get("serve", {}), home=home, **given)


def needs_extra() -> None:
    """Raise MissingExtraError unless the server's packages are installed."""
    import importlib.util

    from hexarec.core.errors import MissingExtraError

    for package in ("fastapi", "sqlalchemy", "alembic", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, EXTRA)


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """The service over its store, for a command that needs no server."""
    from hexarec.serve.service import Service
    from hexarec.serve.store.open import open_store

    settings.home.mkdir(parents=True, exist_ok=True)
    service = Service(open_store(settings.url), settings)
    try:
        yield service
    finally:
        service.close()


def serve(
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 without it.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8090 without it.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Server processes.")] = None,
    tenant: TenantName = "default",
) -> None:
    """Serve recommendations over HTTP and MCP. The first start imports the data and fits the pipeline."""
    settings = settings_from(config, home, host=host, port=port, workers=workers)
    _prepare(settings, config, data, tenant)
    from hexarec.cli.shared import aside
    from hexarec.serve.run import listen

    aside().print(f"hexarec serves on http://{settings.host}:{settings.port} (stop with Ctrl-C)", markup=False)
    listen(settings)


def _prepare(settings: Settings, config: Path, data: str | None, tenant: str) -> None:
    """Refuse an open address without a key; import data and fit a pipeline where there is none yet."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import aside

    with opened(settings) as service:
        if not settings.alone and not _has_key(service):
            from hexarec.core import OptionError

            raise OptionError(
                f"{settings.host} can be reached from other machines, and there is no key yet",
                hint="hexarec keys create admin --scope admin, then start again; or leave --host out",
            )
        served = service.tenant(tenant)
        with working():
            if data is not None or served.shelf.count("items") == 0:
                counts = _import(served, config, data)
                aside().print(f"imported: {counts}", markup=False)
            if not served.served:
                made = served.fit("default", _config(config))
                aside().print(f"fitted pipeline default, version {made.version}", markup=False)


def _has_key(service: Service) -> bool:
    return any(service.store.of(name).keys() for name in service.store.tenants())


def _import(served: Tenant, config: Path, data: str | None) -> dict[str, int]:
    from hexarec.cli.systems import open_configured
    from hexarec.data.store import BUNDLED
    from hexarec.pipeline.config import read_toml

    told = read_toml(config) if config.is_file() else {"data": {"path": BUNDLED}}
    return served.import_data(open_configured(told, config.parent, data))


def _config(config: Path) -> dict[str, Any]:
    from hexarec.pipeline.config import SLOTS, default_config, read_toml

    told = read_toml(config) if config.is_file() else {}
    return told if any(slot in told for slot in SLOTS) else default_config()


def worker(config: ServeConfig = Path(CONFIG), home: Home = None) -> None:
    """Work on background jobs until stopped; as many of these as there are machines."""
    settings = settings_from(config, home)
    from hexarec.serve.jobs.runner import Runner

    with opened(settings) as service:
        for name in {"default", *service.store.tenants()}:
            service.tenant(name)
        service.start()
        runner = Runner(service)
        try:
            runner.work()
        finally:
            runner.close()


def mcp(config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
        write: Annotated[bool, typer.Option("--write", help="Let it record feedback.")] = False) -> None:  # fmt: skip
    """Serve the MCP tools over stdio, for a chat client on this machine."""
    settings = settings_from(config, home)
    from hexarec.serve.backend import Backend
    from hexarec.serve.keys import ROLES, Caller
    from hexarec.serve.service import Service
    from hexarec.serve.store.open import open_store
    from hexarec.serve.tools import tools_of

    settings.home.mkdir(parents=True, exist_ok=True)
    backend = Backend(Service(open_store(settings.url), settings))
    backend.start()
    scopes = ROLES["reader"] | ({"events"} if write else set())
    try:
        tools_of(backend, Caller(tenant, None, frozenset(scopes))).run("stdio")
    finally:
        backend.close()


keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="A scope or a role (reader, writer, admin); may be repeated.")],
    rate: Annotated[float | None, typer.Option(help="Calls a second.")] = None,
    days: Annotated[float | None, typer.Option(help="Days until it ends.")] = None,
    calls: Annotated[int | None, typer.Option(help="Calls a day.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens of language models a day.")] = None,
    dollars: Annotated[float | None, typer.Option(help="Dollars of language models a day.")] = None,
    config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
) -> None:  # fmt: skip
    """Make a key. Its secret is printed once and kept nowhere."""
    from hexarec.cli.shared import say
    from hexarec.serve.keys import made_key

    with opened(settings_from(config, home)) as service:
        row, secret = made_key(
            name, [word for one in scope for word in one.split(",")], days=days, rate=rate, calls=calls,
            tokens=tokens, dollars=dollars,
        )  # fmt: skip
        shelf = service.store.of(tenant)
        shelf.put_key(row)
        shelf.audit("local", "create key", row.id)
    say(secret)


@keys.command("list")
def list_keys(config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default") -> None:
    """The keys of a tenant, without their secrets."""
    from hexarec.cli.shared import screen, table_of

    with opened(settings_from(config, home)) as service:
        rows = [
            (row.id, row.name, ", ".join(sorted(row.scopes)), "revoked" if row.revoked else "valid")
            for row in service.store.of(tenant).keys()
        ]
    screen().print(table_of("", ("id", "name", "scopes", "state"), rows))


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="The key's id.")],
    config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
) -> None:  # fmt: skip
    """Revoke a key; running servers refuse it within a second."""
    import time
    from dataclasses import replace

    from hexarec.cli.shared import say
    from hexarec.core import OptionError

    with opened(settings_from(config, home)) as service:
        shelf = service.store.of(tenant)
        found = shelf.key(key)
        if found is None:
            raise OptionError(f"no key {key!r}", hint="hexarec keys list")
        shelf.put_key(replace(found, revoked=time.time()))
        shelf.audit("local", "revoke key", key)
    say(f"revoked {key}")


users = typer.Typer(help="Users of a server: export, forget.", no_args_is_help=True)


@users.command("forget")
def forget_user(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default", json_: Json = False,
) -> None:  # fmt: skip
    """Erase a user everywhere, down to the bytes of the database file."""
    from hexarec.cli.shared import say, say_json
    from hexarec.serve.erase import erased

    with opened(settings_from(config, home)) as service:
        served = service.tenant(tenant)
        counts = erased(served, user)
        served.shelf.audit("local", "erase user", "one user")
    if json_:
        say_json(counts)
    else:
        say("erased: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


@users.command("export")
def export_user(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
) -> None:  # fmt: skip
    """Everything held on a user, as JSON lines."""
    import json

    with opened(settings_from(config, home)) as service:
        for row in service.store.of(tenant).export_user(user):
            typer.echo(json.dumps(row, ensure_ascii=False))
        service.store.of(tenant).audit("local", "export user", "one user")
