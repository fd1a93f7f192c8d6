"""The page over the bundled films: time of the server for every page and its pieces, and bytes of all a page loads.

Two benches, a simulation and an experiment with its lists stand there, so that no page is empty. Asked one after the
other over one connection, `--times` times each after a first one; the pipelines ask no model. About two minutes on one
core.

    python benchmarks/page.py --times 50
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import uvicorn

from hexarec.data import films
from hexarec.serve import trials
from hexarec.serve.backend import Backend
from hexarec.serve.http.app import make_app
from hexarec.serve.jobs.runner import Runner
from hexarec.serve.page.values.runs import bench_of
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import JobRow

RETRIEVE = [{"use": "ease"}, {"use": "itemknn"}]
PIPELINE = {"retrieve": RETRIEVE, "control": [{"use": "mmr"}], "explain": {"use": "because"}}
OTHER = {"retrieve": [{"use": "popular"}]}
PORT, LISTS = 8197, 200
FIXED = (
    "/", "/home/list?user=u0001", "/home/list?like=Alien&like=Solaris", "/playground", "/playground/list?user=u0001",
    "/chat", "/methods", "/methods/llmrank", "/experiments", "/simulate", "/data", "/data/health", "/data/items",
    "/data/found/items?q=love", "/data/users", "/data/import", "/live", "/live/now", "/live/drift", "/ab", "/ab/trial",
    "/ab/trial/reading", "/jobs", "/audit", "/audit/numbers", "/settings", "/settings/audit", "/settings/server",
)  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=50)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), background=False)
        service = Service(open_store(settings.url), settings)
        jobs = _filled(service)
        server = uvicorn.Server(uvicorn.Config(make_app(Backend(service)), port=PORT, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
            for n in range(LISTS):
                client.post("/v1/recommend", json={"user_id": f"u{n:04d}", "n": 10}).raise_for_status()
            _measure(client, [*FIXED, *_of_jobs(*jobs)], times)
        server.should_exit = True
        thread.join()


def _filled(service: Service) -> tuple[JobRow, JobRow, JobRow]:
    """Films, two pipelines, an experiment that runs, two benches and a simulation; those three jobs."""
    tenant, runner = service.tenant("default"), Runner(service)
    tenant.import_data(films.load())
    tenant.fit("default", PIPELINE)
    tenant.fit("popular", OTHER)
    trials.created(tenant, "trial", {"arms": {"control": "default", "variant": "popular"}, "tau": 0.1}, time.time())
    trials.moved(tenant, "trial", "running", time.time())
    bench, other = (
        tenant.shelf.add_job("bench", {"pipeline": "default", "max_users": most, "k": 10}) for most in (100, 50)
    )
    visits = tenant.shelf.add_job("simulate", {"pipelines": "default,popular", "users": 60, "pages": 3})
    while runner.one():
        pass
    for job in (bench, other, visits):
        done = tenant.shelf.job(job.id)
        assert done is not None and done.state == "done", done
    return bench, other, visits


def _of_jobs(bench: JobRow, other: JobRow, visits: JobRow) -> list[str]:
    run, simulated = f"/experiments/{bench_of(bench)}", f"/simulate/{visits.id}"
    both = f"/experiments/compare?run={bench_of(bench)}&run={bench_of(other)}"
    return [run, both, f"{run}/users?user=u", simulated, f"{simulated}/curves", f"/jobs/{bench.id}"]


def _measure(client: httpx.Client, paths: Sequence[str], times: int) -> None:
    print(f"| address | first, ms | median of {times}, ms | 95 %, ms | HTML, kB | all it loads, kB | packed, kB |")
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        seconds = [_asked(client, path) for _ in range(times + 1)]
        html = client.get(path).text
        loaded = sorted(set(re.findall(r'(?:src|href|content)="(/static/[^"]+)"', html)))
        if "data-plot=" not in html:
            loaded = [one for one in loaded if "/vendor/uPlot" not in one]
        whole, packed = (sum(_bytes(client, one, form) for one in (path, *loaded)) for form in ("identity", "gzip"))
        rest = sorted(seconds[1:])
        sizes = f"{whole / 1000:.0f} | {packed / 1000:.0f}" if loaded else "|"
        print(
            f"| {re.sub('[0-9a-f]{16,}', 'ID', path)} | {1000 * seconds[0]:.0f} | "
            f"{1000 * statistics.median(rest):.1f} | {1000 * rest[int(0.95 * (times - 1))]:.1f} | "
            f"{len(html.encode()) / 1000:.1f} | {sizes} |",
            flush=True,
        )


def _asked(client: httpx.Client, path: str) -> float:
    started = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - started


def _bytes(client: httpx.Client, path: str, form: str) -> int:
    """Bytes as they travel."""
    with client.stream("GET", path, headers={"accept-encoding": form}) as answer:
        return sum(len(one) for one in answer.iter_raw())


if __name__ == "__main__":
    main()
