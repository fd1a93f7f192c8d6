"""The page over the bundled films: time of the server for every page of the navigation, and bytes of all it loads.

Asked one after the other over one connection, 50 times each after a first one; the pipeline asks no model.

    python benchmarks/page.py
"""

from __future__ import annotations

import re
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
import uvicorn

from hexarec.data import films
from hexarec.serve.backend import Backend
from hexarec.serve.http.app import make_app
from hexarec.serve.page.routes import PAGES
from hexarec.serve.service import Service
from hexarec.serve.settings import Settings
from hexarec.serve.store.open import open_store

RETRIEVE = [{"use": "ease"}, {"use": "itemknn"}]
PIPELINE = {"retrieve": RETRIEVE, "control": [{"use": "mmr"}], "explain": {"use": "because"}}
TIMES, PORT = 50, 8197
LISTS = {"a list for a user": "/home/list?user=u0001", "a list for titles": "/home/list?like=Alien&like=Solaris"}


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), background=False)
        service = Service(open_store(settings.url), settings)
        tenant = service.tenant("default")
        tenant.import_data(films.load())
        tenant.fit("default", PIPELINE)
        app = make_app(Backend(service))
        server = uvicorn.Server(uvicorn.Config(app, port=PORT, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=30) as client:
            _measure(client)
        server.should_exit = True
        thread.join()


def _measure(client: httpx.Client) -> None:
    print("| page | first, ms | median of 50, ms | 95 %, ms | HTML, kB | all it loads, kB | packed, kB |")
    print("|---|---|---|---|---|---|---|")
    for name, path in {**{one.name: one.path for one in PAGES}, **LISTS}.items():
        seconds = [_asked(client, path) for _ in range(TIMES + 1)]
        html = client.get(path)
        html.raise_for_status()
        loaded = sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+)"', html.text)))
        whole, packed = (
            len(html.content) + sum(_bytes(client, one, form) for one in loaded) for form in ("identity", "gzip")
        )
        rest = sorted(seconds[1:])
        print(
            f"| {name} | {1000 * seconds[0]:.0f} | {1000 * statistics.median(rest):.1f} | "
            f"{1000 * rest[int(0.95 * TIMES)]:.1f} | {len(html.content) / 1000:.1f} | {whole / 1000:.0f} | "
            f"{packed / 1000:.0f} |"
        )


def _asked(client: httpx.Client, path: str) -> float:
    started = time.perf_counter()
    client.get(path)
    return time.perf_counter() - started


def _bytes(client: httpx.Client, path: str, form: str) -> int:
    """Bytes as they travel."""
    with client.stream("GET", path, headers={"accept-encoding": form}) as answer:
        return sum(len(one) for one in answer.iter_raw())


if __name__ == "__main__":
    main()
