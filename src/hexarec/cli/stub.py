"""`hexarec stub`: an OpenAI-compatible server that answers without a model, rightly or with a fault by name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import Deadline, Json

if TYPE_CHECKING:
    from hexarec.testing.stub import Fault


def stub(
    fault: Annotated[list[str] | None, typer.Option(help="A fault to show; several are shown in turn.")] = None,
    fault_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the requests that meet it.")] = 1.0,
    after: Annotated[int, typer.Option(min=0, help="Requests that are answered rightly first.")] = 0,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults and stop.")] = False,
    answer_as: Annotated[
        str, typer.Option(help="Who answers: overlap, position, garbage, counting, or obedient (obeys item text).")
    ] = "overlap",
    latency: Annotated[float, typer.Option(min=0.0, help="Milliseconds before every answer.")] = 0.0,
    per_token_in: Annotated[float, typer.Option(min=0.0, help="Milliseconds more for each token read.")] = 0.0,
    per_token_out: Annotated[float, typer.Option(min=0.0, help="Milliseconds more for each token written.")] = 0.0,
    pace: Annotated[float, typer.Option(min=0.0, help="Multiplies the seconds of the faults of time.")] = 1.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8089,
    deadline: Deadline = None,
    as_json: Json = False,
) -> None:
    """Serve a stub of an OpenAI-compatible server, for tests and load; stop it with Ctrl-C."""
    from hexarec.cli.shared import next_steps, say, say_json
    from hexarec.testing.stub import FAULTS, Latency, Stub

    if faults:
        return say_json([_row(one) for one in FAULTS.values()]) if as_json else _listed(list(FAULTS.values()))
    times = Latency(latency / 1000, per_token_in / 1000, per_token_out / 1000)
    made = Stub(
        fault or (), answer_as=answer_as, rate=fault_rate, after=after, latency=times, pace=pace, host=host, port=port
    )
    with made:
        shown = f" with {', '.join(fault)}" if fault else ""
        say_json({"url": made.url, "faults": fault or []}) if as_json else say(f"serving {made.url}{shown}")
        next_steps(f"hexarec models test openai:{made.url}#stub")
        _wait(deadline)


def _wait(seconds: float | None) -> None:
    end = float("inf") if seconds is None else time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))


def _row(fault: Fault) -> dict[str, Any]:
    return {"name": fault.name, "where": fault.where, "asks": fault.asks, "harmless": fault.harmless, "is": fault.says}


def _listed(faults: list[Fault]) -> None:
    from hexarec.cli.shared import screen, table_of

    rows = [[one.name, one.where, one.asks, "yes" if one.harmless else "", one.says] for one in faults]
    screen().print(table_of(f"{len(faults)} faults", ("name", "where", "met by", "harmless", "what it is"), rows))
