"""`hexarec ab`: experiments on live traffic, from the machine of the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.serving import Home, ServeConfig, TenantName, opened, settings_from
from hexarec.cli.shared import CONFIG, Json

if TYPE_CHECKING:
    from hexarec.serve.live.tenant import Tenant

app = typer.Typer(help="Experiments on live traffic: create, start, read, stop, ship.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The experiment's name.")]


@contextlib.contextmanager
def _tenant(config: Path, home: Path | None, tenant: str) -> Iterator[Tenant]:
    with opened(settings_from(config, home)) as service:
        yield service.tenant(tenant)


@app.command("create")
def create(
    name: Name,
    control: Annotated[str, typer.Option(help="The pipeline in use.")],
    variant: Annotated[str, typer.Option(help="The pipeline to be tried.")],
    share: Annotated[float, typer.Option(min=0.0, max=100.0, help="Percent of users who get the variant.")] = 50.0,
    interleave: Annotated[bool, typer.Option("--interleave", help="Mix both lists into one instead.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Events that count; click without it.")] = None,
    window: Annotated[float, typer.Option(min=0.0, help="Hours after a list in which events count.")] = 24.0,
    guard: Annotated[
        list[str] | None, typer.Option(help="METRIC=MARGIN: seconds, degraded, hides or distinct may not get worse.")
    ] = None,
    tau: Annotated[
        float | None, typer.Option(min=0.0, help="Makes every look valid: the effect that is hoped for.")
    ] = None,
    looks: Annotated[
        int | None, typer.Option(min=1, max=100, help="Looks that are planned, at equal parts of --users.")
    ] = None,
    users: Annotated[int | None, typer.Option(min=1, help="Users of both arms at the last of these looks.")] = None,
    stop_if: Annotated[
        list[str] | None, typer.Option(help="End it when the newest lists of the variant meet this: 'p95_ms>800'.")
    ] = None,
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
) -> None:
    """Define an experiment. It takes no traffic before it is started."""
    import time

    from hexarec.cli.shared import again, next_steps, quoted, say

    body: dict[str, Any] = {
        "kind": "interleave" if interleave else "ab", "arms": {"control": control, "variant": variant},
        "shares": {"control": 1.0 - share / 100, "variant": share / 100}, "kinds": kind or ["click"],
        "window": 3_600.0 * window, "guardrails": dict(_margin(one) for one in guard or ()), "tau": tau,
        "looks": looks, "users": users, "stop_if": stop_if or [],
    }  # fmt: skip
    with _tenant(config, home, tenant) as served:
        from hexarec.serve import trials

        trials.created(served, name, body, time.time())
        served.shelf.audit("local", "create experiment", name)
    say(f"created {name}: control {control}, variant {variant}")
    same = again({"-c": config, "--home": home, "--tenant": None if tenant == "default" else tenant})
    next_steps(f"hexarec ab start {quoted(name)}{same}")


def _margin(words: str) -> tuple[str, float]:
    from hexarec.core import OptionError

    metric, _, margin = words.partition("=")
    try:
        return metric, float(margin)
    except ValueError:
        raise OptionError(f"--guard {words!r} is not METRIC=MARGIN", hint="for example seconds=0.2") from None


@app.command("start")
def start(name: Name, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default") -> None:
    """Let an experiment take traffic; running servers hear of it within a second."""
    _move(config, home, tenant, name, "running")


@app.command("stop")
def stop(name: Name, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default") -> None:
    """End an experiment; everybody gets what they got before it."""
    _move(config, home, tenant, name, "stopped")


@app.command("ship")
def ship(
    name: Name,
    arm: Annotated[str, typer.Argument(help="The arm that everybody gets: control or variant.")],
    config: ServeConfig = Path(CONFIG),
    home: Home = None,
    tenant: TenantName = "default",
) -> None:
    """End an experiment and give the pipeline of an arm to everybody."""
    _move(config, home, tenant, name, "shipped", arm)


def _move(config: Path, home: Path | None, tenant: str, name: str, state: str, arm: str | None = None) -> None:
    import time

    from hexarec.cli.shared import say

    with _tenant(config, home, tenant) as served:
        from hexarec.serve import trials

        trials.moved(served, name, state, time.time(), arm)
        served.shelf.audit("local", f"experiment {state}", name)
    say(f"{name} is {state}" + (f": {arm}" if arm else ""))


@app.command("read")
def read(
    name: Name, config: ServeConfig = Path(CONFIG), home: Home = None, tenant: TenantName = "default",
    json_: Json = False,
) -> None:  # fmt: skip
    """What an experiment says so far: users of each arm, effects with intervals, guardrails."""
    import time

    from hexarec.cli.shared import say, say_json

    with _tenant(config, home, tenant) as served:
        from hexarec.serve import trials

        told = trials.read(served, name, time.time())
    if json_:
        say_json(told)
        return
    why = told.get("stopped_by")
    say(f"{name} is {told['state']}" + (f": {why['said']}" if why else ""))
    for title in ("units", "effects", "guardrails", "preference"):
        for arm, values in told.get(title, {}).items():
            say(f"  {title} {arm}: {_told(values)}")


def _told(values: Any) -> str:
    if not isinstance(values, dict):
        return f"{values:.4g}" if isinstance(values, float) else str(values)
    return ", ".join(f"{key} {_told(one)}" for key, one in values.items() if one is not None) or "nothing yet"
