"""`hexarec db`: the schema of the store, and whether the store is whole."""

from __future__ import annotations

from pathlib import Path

import typer

from hexarec.cli.serving import Home, ServeConfig, settings_from
from hexarec.cli.shared import CONFIG, Json

app = typer.Typer(help="The database of a server: upgrade, check.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(config: ServeConfig = Path(CONFIG), home: Home = None) -> None:
    """Bring the database to the newest schema, all of it or nothing. A server does the same when it starts."""
    from hexarec.cli.shared import say

    settings = settings_from(config, home)
    from hexarec.serve.store.look import looked_at
    from hexarec.serve.store.open import open_store

    settings.home.mkdir(parents=True, exist_ok=True)
    before = looked_at(settings.url).revision
    open_store(settings.url).close()
    after = looked_at(settings.url).revision
    say(f"schema {after}" + ("" if before == after else f", before {before or 'none'}"))


@app.command("check")
def check(config: ServeConfig = Path(CONFIG), home: Home = None, json_: Json = False) -> None:
    """Check schema, database file and audit logs without changing anything; exit code 1 when something is wrong."""
    from dataclasses import asdict

    from hexarec.cli.shared import say, say_json, warn

    settings = settings_from(config, home)
    from hexarec.serve.store.look import looked_at

    found = looked_at(settings.url)
    if json_:
        say_json(asdict(found))
    else:
        say(f"schema {found.revision or 'none'}, newest {found.newest}; {len(found.tenants)} tenants")
        for fault in found.faults:
            warn(fault)
    if found.faults:
        raise typer.Exit(1)
