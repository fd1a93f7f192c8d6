"""`hexarec keys`: create, list, rotate and revoke API keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hexarec.cli.serving import Home, ServeConfig, TenantName, shelf_of
from hexarec.cli.shared import CONFIG, Json

if TYPE_CHECKING:
    from hexarec.serve.store.rows import KeyRow

app = typer.Typer(help="API keys of a server: create, list, rotate, revoke.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="The key's id.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="Scopes or a role (reader, writer, admin), comma separated.")],
    rate: Annotated[float | None, typer.Option(min=0.001, help="Calls a second.")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Calls at once.")] = None,
    days: Annotated[float | None, typer.Option(min=0.0, help="Days until it ends.")] = None,
    calls: Annotated[int | None, typer.Option(min=0, help="Calls a day.")] = None,
    tokens: Annotated[int | None, typer.Option(min=0, help="Tokens of language models a day.")] = None,
    dollars: Annotated[float | None, typer.Option(min=0.0, help="Dollars of language models a day.")] = None,
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
) -> None:
    """Make a key. Its secret is printed once and kept nowhere."""
    from hexarec.cli.shared import say

    with shelf_of(config, home, tenant, made=True) as shelf:
        from hexarec.serve.keyring import issued

        words = [word.strip() for one in scope for word in one.split(",")]
        _, secret = issued(shelf, "local", "", name, words, days=days, rate=rate, burst=burst, calls=calls,
                           tokens=tokens, dollars=dollars)  # fmt: skip
    say(secret)


@app.command("list")
def listed(
    config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default", json_: Json = False
) -> None:
    """The keys of a tenant, without their secrets."""
    import time

    from hexarec.cli.shared import say_json, screen, table_of

    with shelf_of(config, home, tenant) as shelf:
        from hexarec.serve.passes import is_pass

        now, found = time.time(), [row for row in shelf.keys() if not is_pass(row)]
        rows = [(row.id, row.name, ", ".join(sorted(row.scopes)), _state(row, now)) for row in found]
    if json_:
        say_json([dict(zip(("id", "name", "scopes", "state"), row, strict=True)) for row in rows])
    else:
        screen().print(table_of("", ("id", "name", "scopes", "state"), rows))


@app.command("rotate")
def rotate(
    key: KeyId,
    overlap: Annotated[float, typer.Option(min=0.0, help="Seconds for which the old key stays valid.")] = 3_600.0,
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
) -> None:
    """Make a key with the same scopes and limits; the old one ends after a while. The secret is printed once."""
    from hexarec.cli.shared import say

    with shelf_of(config, home, tenant) as shelf:
        from hexarec.serve.keyring import replaced

        _, secret = replaced(shelf, "local", "", key, overlap)
    say(secret)


@app.command("revoke")
def revoke(key: KeyId, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default") -> None:
    """Revoke a key; running servers refuse it within a second."""
    from hexarec.cli.shared import say

    with shelf_of(config, home, tenant) as shelf:
        from hexarec.serve.keyring import revoked

        revoked(shelf, "local", "", key)
    say(f"revoked {key}")


@app.command("link")
def link(
    port: Annotated[int | None, typer.Option(help="Port of the server, where its settings do not say it.")] = None,
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
) -> None:
    """Print a link that opens the page once, with every right, within fifteen minutes."""
    from hexarec.cli.serving import page_of, settings_from
    from hexarec.cli.shared import say

    settings = settings_from(config, home, port=port)
    with shelf_of(config, home, tenant) as shelf:
        from hexarec.serve.passes import new_link

        secret = new_link(shelf)
    say(f"{page_of(settings)}/login?link={secret}")


def _state(row: KeyRow, now: float) -> str:
    if row.revoked is not None and row.revoked <= now:
        return "revoked"
    return "ended" if row.expires is not None and row.expires <= now else "valid"
