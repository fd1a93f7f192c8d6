"""`hexarec users`: what a server holds on a user, and their erasure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hexarec.cli.serving import Home, ServeConfig, TenantName, opened, settings_from, shelf_of
from hexarec.cli.shared import CONFIG, Json

app = typer.Typer(help="Users of a server: export, forget.", no_args_is_help=True)
User = Annotated[str, typer.Argument(help="The user's id.")]


@app.command("forget")
def forget(
    user: User, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
    json_: Json = False,
) -> None:  # fmt: skip
    """Erase a user everywhere, down to the bytes of the database file."""
    from hexarec.cli.shared import say, say_json

    with opened(settings_from(config, home)) as service:
        from hexarec.serve.erase import erased

        served = service.tenant(tenant)
        counts = erased(served, user)
        served.shelf.audit("local", "erase user", "one user")
    if json_:
        say_json(counts)
    else:
        say(
            "erased: " + (", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing was held")
        )


@app.command("export")
def export(user: User, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default") -> None:
    """Everything held on a user, as JSON lines."""
    import json

    with shelf_of(config, home, tenant) as shelf:
        for row in shelf.export_user(user):
            typer.echo(json.dumps(row, ensure_ascii=False))
        shelf.audit("local", "export user", "one user")
