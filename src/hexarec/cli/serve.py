"""`hexarec serve`, `hexarec worker` and `hexarec mcp`: the processes that run until they are stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.serving import Home, ServeConfig, TenantName, opened, page_of, settings_from
from hexarec.cli.shared import CONFIG, Data

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant
    from hexarec.serve.service import Service
    from hexarec.serve.settings import Settings


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
    from hexarec.cli.shared import aside
    from hexarec.serve.run import listen, one_heap

    one_heap()  # before the first thread has one of its own
    link = _prepare(settings, config, data, tenant)
    page = page_of(settings)
    where = page if settings.loopback else f"http://{settings.host}:{settings.port}, here {page}"
    aside().print(f"hexarec serves on {where} (stop with Ctrl-C); the page is there too", markup=False)
    if link:
        aside().print(f"open the page, once, within 15 minutes: {page}/login?link={link}", markup=False, soft_wrap=True)
    listen(settings)


def _prepare(settings: Settings, config: Path, data: str | None, tenant: str) -> str:
    """Refuse an open address without a key; import data and fit a pipeline where there is none yet.

    Returns the secret of a link to the page, where it takes one and nobody has opened it yet; else "".
    """
    from hexarec.cli.progress import working
    from hexarec.cli.shared import aside

    with opened(settings, made=True) as service:
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
                aside().print("imported: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()), markup=False)
            elif not served.worded:
                _name_values(served)
            if not served.served:
                made = served.fit("default", _config(config))
                aside().print(f"fitted pipeline default, version {made.version}", markup=False)
        return _first_link(service, served)


def _first_link(service: Service, served: Tenant) -> str:
    """The secret of a link, when there are keys and nobody has opened the page before."""
    from hexarec.serve.passes import SESSION, new_link

    if not _has_key(service) or any(SESSION in row.scopes for row in served.shelf.keys()):
        return ""
    return new_link(served.shelf)


def _has_key(service: Service) -> bool:
    return any(service.store.of(name).keys() for name in service.store.tenants())


def _import(served: Tenant, config: Path, data: str | None) -> dict[str, int]:
    from hexarec.cli.systems import open_configured
    from hexarec.data.store import BUNDLED
    from hexarec.pipeline.config import read_toml

    told = read_toml(config) if config.is_file() else {"data": {"path": BUNDLED}}
    return served.import_data(open_configured(told, config.parent, data))


def _name_values(served: Tenant) -> None:
    """Words of genres in Chinese for the bundled films of a home that was made before values had any.

    Other data may be called films: only where every stored item is one of ours do ours hold.
    """
    from hexarec.data import films

    if served.settings.get("name") != films.NAME or not served.settings.get("simulated"):
        return
    bundled = films.catalog()
    if all(one in bundled.items for one in served.catalog.items.ids.tolist()):
        served.name_values(bundled)


def _config(config: Path) -> dict[str, Any]:
    from hexarec.pipeline.config import SLOTS, default_config, read_toml

    told = read_toml(config) if config.is_file() else {}
    return told if any(slot in told for slot in SLOTS) else default_config()


def worker(
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    once: Annotated[bool, typer.Option("--once", help="End when no job waits.")] = False,
    stale: Annotated[
        float, typer.Option(min=1.0, help="Seconds of silence after which a job of another worker is taken over.")
    ] = 60.0,
) -> None:
    """Work on background jobs until stopped; as many of these as there are machines."""
    settings = settings_from(config, home)
    import sys

    from hexarec.serve.jobs.runner import Runner
    from hexarec.serve.observe import log_to
    from hexarec.serve.run import stopped

    log_to(sys.stderr)
    with opened(settings) as service:
        for name in {"default", *service.store.tenants()}:
            service.tenant(name)
        service.start()
        runner = Runner(service, stale=stale)
        if once:
            while runner.one():
                pass
            return
        with stopped() as stop:
            runner.start()
            stop.wait()
            runner.close(settings.stop_seconds)


def mcp(
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
    write: Annotated[bool, typer.Option("--write", help="Let it record feedback.")] = False,
) -> None:
    """Serve the MCP tools over stdio, for a chat client on this machine."""
    settings = settings_from(config, home)
    import sys

    from hexarec.serve.backend import Backend
    from hexarec.serve.keys import ROLES, Caller
    from hexarec.serve.observe import log_to
    from hexarec.serve.service import Service
    from hexarec.serve.store.open import open_store
    from hexarec.serve.tools import tools_of

    log_to(sys.stderr)  # stdout belongs to the protocol
    settings.home.mkdir(parents=True, exist_ok=True)
    backend = Backend(Service(open_store(settings.url), settings))
    backend.start()
    scopes = ROLES["reader"] | ({"events"} if write else set())
    try:
        tools_of(backend, Caller(tenant, None, frozenset(scopes))).run("stdio")
    finally:
        backend.close()
