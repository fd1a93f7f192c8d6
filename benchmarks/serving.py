"""The server under load: requests a second and latency of the classic path, overhead over a language model's endpoint,
time from an event to a changed answer, from a new item to a list that has it and from a cancel to the end of a call to
a model that hangs, overload, and memory over time.

The server is a process of its own; the load generator below (asyncio, keep-alive connections, requests sent at fixed
times whether or not answers came) runs in another on the same machine, so both share its cores.

    python benchmarks/serving.py --out docs/results/serving [--soak 600] [--only cache]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hexarec.core import (
    Cancel,
    CancelledError,
    Catalog,
    Dataset,
    IdTable,
    Interactions,
    Item,
    Users,
    rng,
    run,
)
from hexarec.lm.base import Prompt
from hexarec.lm.endpoint import Endpoint
from hexarec.lm.guard import Guarded
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store
from hexarec.testing.stub import Latency, Stub

ITEMS, USERS, EVENTS = 10_000, 5_000, 30
CLASSIC = {
    "pipeline": {"depth": 100},
    "retrieve": [{"use": "itemknn", "neighbours": 50}, {"use": "ials", "factors": 32, "sweeps": 3}],
    "control": [{"use": "mmr", "share": 0.9}],
}
MODEL = {
    "pipeline": {"depth": 20},
    "retrieve": [{"use": "popular"}],
    "rank": {"use": "llmrank", "backend": "list", "rounds": 1, "history": 5},
}


def shop() -> Dataset:
    """A catalog of 10,000 items and 5,000 users whose events follow a power law."""
    draw = rng(0, "serving")
    items = [Item(f"item-{i}", f"Thing number {i}", attributes={"genres": (f"g{i % 20}",)}) for i in range(ITEMS)]
    weight = 1.0 / np.arange(1, ITEMS + 1) ** 0.8
    drawn = draw.choice(ITEMS, (USERS, EVENTS), p=weight / weight.sum())
    log = {
        "user": np.repeat(np.arange(USERS), EVENTS),
        "item": drawn.ravel(),
        "time": np.tile(np.arange(EVENTS), USERS) + 1.7e9,
    }
    ids = IdTable.of(f"user-{i}" for i in range(USERS))
    return Dataset(Catalog.of(items), Interactions.of(log, USERS), Users(ids), name="shop")


class Server:
    """`hexarec serve` over a prepared home, in a process of its own."""

    def __init__(self, home: Path, **settings: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = home / "hexarec.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        config.write_text("[serve]\n" + "\n".join(lines) + "\n")
        command = [sys.executable, "-c", "from hexarec.cli.main import main; main()", "serve", "-c", str(config),
                   "--home", str(home), "--port", str(self.port)]  # fmt: skip
        self.log = (home / "server.log").open("w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self._wait()

    def _wait(self) -> None:
        import httpx

        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the server does not start: {Path(self.log.name).read_text()[-2000:]}")

    @property
    def rss(self) -> float:
        """Megabytes in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def cpu(self) -> float:
        """Milliseconds of processor time used so far."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return 1000 * (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def spread(self) -> list[int]:
        """Open connections of clients that each of its processes holds, the most first."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        here, established = f":{self.port:04X}", "01"
        open_ = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(here) and row[3] == established}
        counts = [
            sum(os.readlink(file) in open_ for file in Path(f"/proc/{child}/fd").iterdir())
            for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]
        return sorted((count for count in counts if count), reverse=True)

    def stop(self) -> float:
        """Stop it as an operator would; seconds until it has ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()
        return time.monotonic() - started


class Load:
    """Requests at fixed times over kept connections; latency counts from the time a request was due."""

    def __init__(self, port: int, connections: int) -> None:
        self._port, self._connections = port, connections
        self.seconds: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()

    async def run(self, bodies: list[bytes], path: str, rate: float, duration: float) -> Load:
        """`rate` requests a second for `duration` seconds; rate 0 = as fast as answers come."""
        self._bodies, self._path, self._rate = bodies, path, rate
        self._start = time.perf_counter()
        self._end, self._next = self._start + duration, 0
        await asyncio.gather(*(self._connection() for _ in range(self._connections)))
        return self

    async def _connection(self) -> None:
        reader, writer = await self._opened()
        while True:
            number, self._next = self._next, self._next + 1
            due = self._start + number / self._rate if self._rate else time.perf_counter()
            if due >= self._end or time.perf_counter() >= self._end:
                break
            await asyncio.sleep(max(due - time.perf_counter(), 0.0))
            body = self._bodies[number % len(self._bodies)]
            head = f"POST {self._path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            try:
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                status, kept = await _status(reader)
            except (OSError, asyncio.IncompleteReadError):
                status, kept = 0, False
            self.statuses[status] += 1
            (self.seconds if status < 300 else self.refused).append(time.perf_counter() - due)
            if not kept:
                writer.close()
                reader, writer = await self._opened()
        writer.close()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    def told(self, duration: float) -> dict[str, Any]:
        """Rates and percentiles in milliseconds."""
        p50, p99 = (1000 * np.percentile(self.seconds or [np.nan], [50, 99])).tolist()
        made = {"a second": round(len(self.seconds) / duration, 1), "p50 ms": round(p50, 2), "p99 ms": round(p99, 2),
                "statuses": dict(self.statuses)}  # fmt: skip
        if self.refused:
            made["refused p50 ms"] = round(1000 * float(np.median(self.refused)), 2)
        return made


async def _status(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status of the next answer, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")))
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" not in head


def bodies(n: int = 10, users: int = USERS) -> list[bytes]:
    """Questions of drawn users."""
    drawn = rng(0, "load").integers(0, users, 4_000)
    return [json.dumps({"user_id": f"user-{user}", "n": n}).encode() for user in drawn.tolist()]


def prepared(home: Path, config: dict[str, Any]) -> None:
    """A home with the shop imported and a pipeline fitted."""
    settings = Settings(home=home)
    home.mkdir(parents=True)
    service = Service(open_store(settings.url), settings)
    service.tenant().import_data(shop())
    service.tenant().fit("default", config)
    service.close()


def classic(home: Path, duration: float) -> dict[str, Any]:
    """The path without a model: saturation, two steady rates, ten times too much, and memory."""
    prepared(home, CLASSIC)
    server = Server(home)
    made: dict[str, Any] = {}
    asyncio.run(Load(server.port, 8).run(bodies(), "/v1/recommend", 0, 3.0))  # warm
    for name, rate, connections in (("saturated", 0.0, 32), ("300 a second", 300.0, 64), ("100 a second", 100.0, 32)):
        load = asyncio.run(Load(server.port, connections).run(bodies(), "/v1/recommend", rate, duration))
        made[name] = load.told(duration)
        print(name, made[name], flush=True)
    before = server.rss
    peak = float(made["saturated"]["a second"])
    for name, times in (("three times too much", 3), ("ten times too much", 10)):
        load = asyncio.run(Load(server.port, 900).run(bodies(), "/v1/recommend", times * peak, duration))
        made[name] = load.told(duration) | {"megabytes more": round(server.rss - before, 1)}
        print(name, made[name], flush=True)
    time.sleep(1.0)
    load = asyncio.run(Load(server.port, 32).run(bodies(), "/v1/recommend", 100.0, 5.0))
    made["a second later, 100 a second"] = load.told(5.0)
    made["event to changed answer"] = asyncio.run(_freshness(server.port))
    made["stopped in s"] = round(server.stop(), 2)
    return made


def two_processes(home: Path, duration: float, turns: int = 3) -> dict[str, Any]:
    """Two server processes saturated over 32 connections, several times anew: each turn, and the median rate."""
    prepared(home, CLASSIC)
    each = []
    for _ in range(turns):
        server = Server(home, workers=2)
        asyncio.run(Load(server.port, 8).run(bodies(), "/v1/recommend", 0, 6.0))
        load = Load(server.port, 32)
        spread = asyncio.run(_watched(server, load, duration))
        each.append(load.told(duration) | {"connections of each": spread})
        server.stop()
    return {"a second": float(np.median([one["a second"] for one in each])), "turns": each}


async def _watched(server: Server, load: Load, duration: float) -> list[int]:
    """How many connections each process of the server holds in the middle of the load."""
    working = asyncio.create_task(load.run(bodies(), "/v1/recommend", 0, duration))
    await asyncio.sleep(duration / 2)
    spread = server.spread()
    await working
    return spread


async def _freshness(port: int) -> dict[str, float]:
    """Milliseconds from sending an event until an answer that knows it has come, one after another."""
    import httpx

    taken = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for i in range(50):
            ask = {"user_id": f"user-{i}", "n": 5}
            first = (await http.post("/v1/recommend", json=ask)).json()["items"][0]["item_id"]
            started = time.perf_counter()
            event = {"event_id": f"fresh-{i}", "user_id": f"user-{i}", "item_id": first, "type": "like"}
            await http.post("/v1/events", json=event)
            later = (await http.post("/v1/recommend", json=ask)).json()["items"]
            assert first not in [one["item_id"] for one in later]
            taken.append(1000 * (time.perf_counter() - started))
    return _percentiles(taken)


def _percentiles(taken: list[float]) -> dict[str, float]:
    return {"p50 ms": round(float(np.median(taken)), 1), "p99 ms": round(float(np.percentile(taken, 99)), 1)}


def new_items(home: Path, times: int = 50) -> dict[str, float]:
    """Milliseconds from sending an item until a list that has it has come, from a retriever by words."""
    import httpx

    prepared(home, {"retrieve": [{"use": "frozen_encoder", "encoder": "tfidf"}]})
    server, taken = Server(home), []
    liked = {"history": ["item-1000"], "n": 2 * times}
    twin = {"title": "Thing number 1000", "attributes": {"genres": ["g0"]}}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30.0) as http:
        http.post("/v1/recommend", json=liked).raise_for_status()
        for i in range(times):
            started = time.perf_counter()
            http.put(f"/v1/items/new-{i}", json=twin).raise_for_status()
            found = http.post("/v1/recommend", json=liked).json()["items"]
            taken.append(1000 * (time.perf_counter() - started))
            assert f"new-{i}" in [one["item_id"] for one in found]
    server.stop()
    return _percentiles(taken)


def cancelled(times: int = 50) -> dict[str, float]:
    """Milliseconds from a cancel to the end of a call to a model that does not answer."""
    taken = []
    with Stub(["time.no_first_byte"]) as stub:
        lm = Guarded(Endpoint(f"{stub.url}#stub"))
        for _ in range(times):
            cancel, at = Cancel(), [0.0]

            def stop(cancel: Cancel = cancel, at: list[float] = at) -> None:
                at[0] = time.perf_counter()
                cancel.set()

            threading.Timer(0.1, stop).start()
            with run(cancel=cancel), contextlib.suppress(CancelledError):
                lm.generate([Prompt.user("x", max_tokens=5)])
            taken.append(1000 * (time.perf_counter() - at[0]))
    return _percentiles(taken)


def over_a_model(home: Path, duration: float, seconds: float = 0.2) -> dict[str, Any]:
    """The path with a ranker behind an endpoint that takes 200 ms: what the server adds to it."""
    with Stub(latency=Latency(fixed=seconds)) as stub:
        config = {**MODEL, "rank": {**MODEL["rank"], "lm": f"openai:{stub.url}#stub"}}
        prepared(home, config)
        server = Server(home, threads=4, deadline_ms=5_000)
        made = {}
        for rate in (10.0, 40.0):
            load = asyncio.run(Load(server.port, 64).run(bodies(), "/v1/recommend", rate, duration))
            told = load.told(duration)
            made[f"{rate:g} a second"] = told | {
                "added p50 ms": round(told["p50 ms"] - 1000 * seconds, 1),
                "added p99 ms": round(told["p99 ms"] - 1000 * seconds, 1),
            }
        server.stop()
    return made


def cache(home: Path, questions: int = 200, seconds: float = 0.05) -> dict[str, Any]:
    """What the answers kept in the store save and cost: one question after another, each to a server that keeps none
    and to one that does, by turns the first, over an endpoint that takes 50 ms; then all again to the second server."""
    import httpx

    def asked(server: Server, user: int, cached: int) -> float:
        started = time.perf_counter()
        made = httpx_of[server].post("/v1/recommend", json={"user_id": f"user-{user}", "n": 10}).json()
        taken = 1000 * (time.perf_counter() - started)
        assert made["usage"]["cached"] == cached and not made["degraded"], made
        return taken

    with Stub(latency=Latency(fixed=seconds)) as stub:
        config = {**MODEL, "rank": {**MODEL["rank"], "lm": f"openai:{stub.url}#stub"}}
        servers = []
        for name, megabytes in (("none", 0.0), ("kept", 64.0)):
            prepared(home / name, config)
            servers.append(Server(home / name, lm_cache_mb=megabytes))
        httpx_of = {one: httpx.Client(base_url=f"http://127.0.0.1:{one.port}", timeout=10.0) for one in servers}
        without, kept = servers
        for user in range(questions, questions + 20):  # warm
            asked(without, user, 0), asked(kept, user, 0)
        pairs = np.zeros((questions, 2))
        used = [[one.cpu for one in servers]]
        for user in range(questions):
            for column in (0, 1) if user % 2 else (1, 0):
                pairs[user, column] = asked(servers[column], user, 0)
        used.append([one.cpu for one in servers])
        again = np.array([asked(kept, user, 1) for user in range(questions)])
        used.append([one.cpu for one in servers])
        for one in servers:
            httpx_of[one].close()
            one.stop()
    added = pairs[:, 1] - pairs[:, 0]
    low, high = np.percentile(added[rng(0, "cache").integers(0, questions, (2_000, questions))].mean(1), [2.5, 97.5])
    spent = np.diff(used, axis=0) / questions
    columns = {
        "asked, nothing kept": (pairs[:, 0], spent[0, 0]), "asked and kept": (pairs[:, 1], spent[0, 1]),
        "kept before": (again, spent[1, 1]),
    }  # fmt: skip
    made: dict[str, Any] = {
        name: {"p50 ms": round(float(np.median(one)), 2), "p99 ms": round(float(np.percentile(one, 99)), 2),
               "processor ms": round(float(cpu), 2)} for name, (one, cpu) in columns.items()
    }  # fmt: skip
    made["a miss adds, ms"] = {"median": round(float(np.median(added)), 2), "mean": round(float(added.mean()), 2),
                               "of 95 %": [round(float(low), 2), round(float(high), 2)]}  # fmt: skip
    return made


TEN_MINUTES = 600.0


def soak(home: Path, duration: float) -> dict[str, Any]:
    """Memory while 100 questions and 20 events a second come in, in megabytes over time."""
    prepared(home, CLASSIC)
    server = Server(home)
    asyncio.run(Load(server.port, 8).run(bodies(), "/v1/recommend", 0, 5.0))
    marks, start = [(0.0, server.rss)], time.monotonic()
    number = 0
    while time.monotonic() - start < duration:
        events = [
            json.dumps({"event_id": f"soak-{number + i}", "user_id": f"user-{(number + i) % USERS}",
                        "item_id": f"item-{(7 * (number + i)) % ITEMS}"}).encode() for i in range(200)
        ]  # fmt: skip
        number += 200

        async def both(events: list[bytes] = events) -> None:
            await asyncio.gather(
                Load(server.port, 16).run(bodies(), "/v1/recommend", 100.0, 10.0),
                Load(server.port, 4).run(events, "/v1/events", 20.0, 10.0),
            )

        asyncio.run(both())
        marks.append((round(time.monotonic() - start, 1), round(server.rss, 1)))
    files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    server.stop()
    half = [rss for at, rss in marks if at > duration / 2]
    slope = (half[-1] - half[0]) / max(duration / 2 / 60, 1e-9) if len(half) > 1 else 0.0
    return {"megabytes": marks, "slope in the second half, MB a minute": round(slope, 2), "open files": files}


def main() -> None:
    """Measure and write."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--out", type=Path)
    told.add_argument("--seconds", type=float, default=15.0, help="of each load")
    told.add_argument("--soak", type=float, default=0.0, help="seconds of the soak; 0 leaves it out")
    told.add_argument(
        "--only", help="measure this alone",
        choices=("classic", "two processes", "over a model", "cache", "new items", "cancel", "soak"),
    )  # fmt: skip
    asked = told.parse_args()
    made = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "classic": lambda: classic(folder / "classic", asked.seconds),
            "two processes": lambda: two_processes(folder / "two", asked.seconds),
            "over a model": lambda: over_a_model(folder / "model", asked.seconds),
            "cache": lambda: cache(folder / "cache"),
            "new items": lambda: new_items(folder / "items"),
            "cancel": cancelled,
        }
        if asked.soak or asked.only == "soak":
            parts["soak"] = lambda: soak(folder / "soak", asked.soak or TEN_MINUTES)
        if asked.only:
            parts = {asked.only: parts[asked.only]}
        for part, measured in parts.items():
            made[part] = measured()
            print(json.dumps({part: made[part]}, indent=1), flush=True)
    if asked.out:
        asked.out.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
