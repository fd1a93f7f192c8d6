"""Pictures of every page, for people to look at: `make screenshots` writes them into build/screenshots.

A server on the bundled films gets some traffic; then every page of the navigation, and the addresses in MORE, are taken
in English and Chinese, light and dark, on a desktop and on a phone. The home of the server stays in
build/screenshots-home, so that only the first run fits the pipeline. `--only NAME` takes one page.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from hexarec.data import films  # noqa: E402
from hexarec.lm.models import installed  # noqa: E402
from hexarec.pipeline.config import default_config  # noqa: E402
from hexarec.serve.page.routes import PAGES  # noqa: E402
from page.conftest import CHROMIUM, DESKTOP, FLAGS, PHONE  # noqa: E402
from serve.conftest import CLASSIC, backend_over  # noqa: E402
from serve.running import listening  # noqa: E402

MORE: dict[str, str] = {
    "home-list": "/?like=Alien&like=Solaris&like=Stalker",
    "home-unknown": "/?like=Alein&like=Nothing+of+the+kind",
    "playground-list": "/playground?user=u0001&pipeline=default&other=baseline",
    "settings-audit": "/settings/audit",
    "settings-server": "/settings/server",
    "methods-one": "/methods/llmrank",
    "experiments-one": "/experiments/job-{bench}",
    "login": "/login?link=hx_0123456789ab.this-is-no-real-link",
}
"""Pages below those of the navigation, by the name of their picture; {bench} is the newest bench that is done."""
PREPARED: dict[str, str] = {}
"""By the name of a picture: what to press before it is taken (a selector), after which the network must rest."""


def traffic(url: str) -> None:
    """Lists, clicks, a failing question, a job, and items that were put: what a server has after an hour."""
    with httpx.Client(base_url=url, timeout=60) as http:
        for i in range(40):
            answer = http.post("/v1/recommend", json={"user_id": f"u{i:04d}", "n": 8, "explain": i % 4 == 0}).json()
            for place, item in enumerate(answer.get("items", [])[: i % 3]):
                http.post("/v1/events", json={
                    "event_id": f"shot-{i}-{place}", "user_id": f"u{i:04d}", "item_id": item["item_id"],
                    "type": "click" if place else "like", "request_id": answer["request_id"], "position": place,
                })  # fmt: skip
        http.put("/v1/items/new-film", json={"title": "A film nobody has seen", "attributes": {"year": 2026}})
        http.post("/v1/jobs", json={"kind": "bench", "args": {"pipeline": "baseline", "max_users": 50}})
        end = time.monotonic() + 60
        while time.monotonic() < end and any(
            job["state"] in ("waiting", "running") for job in http.get("/v1/jobs").json()["jobs"]
        ):
            time.sleep(0.5)


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--out", type=Path, default=ROOT / "build" / "screenshots")
    told.add_argument("--home", type=Path, default=ROOT / "build" / "screenshots-home")
    told.add_argument("--only", help="one page, or one of " + ", ".join(MORE))
    told.add_argument("--classic", action="store_true", help="a pipeline without models, which is fitted at once")
    args = told.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    whole = {"smollm2", "minilm"} <= set(installed()) and not args.classic
    home = args.home.with_name(args.home.name + ("" if whole else "-classic"))
    fresh = not (home / "store.sqlite").is_file()
    if fresh:
        print(f"fitting a pipeline {'with' if whole else 'without'} models into {home}", flush=True)
        home.parent.mkdir(parents=True, exist_ok=True)
    backend = backend_over(
        home, films.load() if fresh else None, default_config() if whole else CLASSIC, background=True
    )
    tenant = backend.service.tenant("default")
    if fresh:
        tenant.fit("baseline", CLASSIC)
        tenant.make_default("default")
    with listening(backend) as url:
        if fresh:
            traffic(url)
        pictures(url, args.out, args.only)


def pictures(url: str, out: Path, only: str | None) -> None:
    jobs = httpx.get(f"{url}/v1/jobs", timeout=60).json()["jobs"]
    bench = next((job["id"] for job in jobs if job["kind"] == "bench" and job["state"] == "done"), "none")
    wanted = {one.name: one.path for one in PAGES} | {name: path.format(bench=bench) for name, path in MORE.items()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for lang, locale in (("en", "en-US"), ("zh", "zh-CN")):
            for theme in ("light", "dark"):
                for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
                    context = browser.new_context(
                        base_url=url, locale=locale, color_scheme=theme, viewport=viewport,
                        device_scale_factor=2 if size == "phone" else 1,
                    )  # fmt: skip
                    for name, path in wanted.items():
                        if only and name != only and not name.startswith(f"{only}-"):
                            continue
                        page = context.new_page()
                        page.goto(path)
                        page.wait_for_load_state("networkidle")
                        if name in PREPARED:
                            page.locator(PREPARED[name]).first.click()
                            page.wait_for_load_state("networkidle")
                        page.screenshot(path=out / f"{name}-{lang}-{theme}-{size}.png", full_page=True)
                        page.close()
                    context.close()
        browser.close()
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")


if __name__ == "__main__":
    main()
