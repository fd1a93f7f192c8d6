"""Pictures of every page, for people to look at: `make screenshots` writes them into build/screenshots.

A server on the bundled films gets some traffic; then every page of the navigation, and the addresses in MORE, are taken
in English and Chinese, light and dark, on a desktop and on a phone. The home of the server stays in
build/screenshots-home, so that only the first run fits the pipeline. `--only NAME` takes one page; `--docs` takes those of
README and docs alone, and writes them into docs/pictures.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from hexarec.data import films  # noqa: E402
from hexarec.lm.models import installed  # noqa: E402
from hexarec.pipeline.config import default_config  # noqa: E402
from hexarec.serve.page.routes import PAGES  # noqa: E402
from hexarec.serve.page.routes import home as home_page  # noqa: E402
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
    "ab-one": "/ab/home-page",
    "login": "/login?link=hx_0123456789ab.this-is-no-real-link",
}
"""Pages below those of the navigation, by the name of their picture; {bench} is the newest bench that is done."""
DOCS = {
    "page-home": ("home-list", "en", "light", 1000), "page-home-zh": ("home-list", "zh", "dark", 1000),
    "page-playground": ("playground-list", "en", "light", 1000), "page-ab": ("ab-one", "en", "light", 1000),
    "page-experiment": ("experiments-one", "en", "light", 1250),
}  # fmt: skip
"""By the name of a picture of the docs: its page, language, theme, and the height of the window."""
PATIENCE_MS = 120_000
LOCALES = {"en": "en-US", "zh": "zh-CN"}
PREPARED: dict[str, str] = {}
"""By the name of a picture: what to press before it is taken (a selector), after which the network must rest."""


def traffic(url: str) -> None:
    """Lists, clicks, a failing question, a job, an experiment, items that were put: what a server has after an hour."""
    with httpx.Client(base_url=url, timeout=60) as http:
        http.post("/v1/experiments", json={
            "name": "home-page", "arms": {"control": "default", "variant": "baseline"}, "tau": 0.1,
            "kinds": ["click", "like"], "guardrails": {"hides": 0.1},
        })  # fmt: skip
        http.patch("/v1/experiments/home-page", json={"state": "running"})
        for i in range(40):
            answer = http.post("/v1/recommend", json={"user_id": f"u{i:04d}", "n": 8, "explain": i % 4 == 0}).json()
            for place, item in enumerate(answer.get("items", [])[: i % 3]):
                http.post("/v1/events", json={
                    "event_id": f"shot-{i}-{place}", "user_id": f"u{i:04d}", "item_id": item["item_id"],
                    "type": "click" if place else "like", "request_id": answer["request_id"], "position": place,
                })  # fmt: skip
        for i in range(40, 340):  # enough users for an effect to be read
            answer = http.post("/v1/recommend", json={"user_id": f"u{i:04d}", "n": 8}).json()
            for place in range(0, 8, 3 + i % 4):
                http.post("/v1/events", json={
                    "event_id": f"more-{i}-{place}", "user_id": f"u{i:04d}", "type": "click",
                    "item_id": answer["items"][place]["item_id"], "request_id": answer["request_id"], "position": place,
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
    told.add_argument("--docs", action="store_true", help="those of README and docs, into docs/pictures")
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
        home, films.load() if fresh else None, default_config() if whole else CLASSIC, background=True,
        longest_ms=PATIENCE_MS,
    )  # fmt: skip
    home_page.PATIENCE_MS = PATIENCE_MS  # a slow machine would show lists without the model's words
    tenant = backend.service.tenant("default")
    if fresh:
        tenant.fit("baseline", CLASSIC)
        tenant.make_default("default")
    with listening(backend) as url:
        if fresh:
            traffic(url)
        if args.docs:
            pictures_of_docs(url, ROOT / "docs" / "pictures")
        else:
            pictures(url, args.out, args.only)


def addresses(url: str) -> dict[str, str]:
    """The address of every page by the name of its picture."""
    jobs = httpx.get(f"{url}/v1/jobs", timeout=60).json()["jobs"]
    bench = next((job["id"] for job in jobs if job["kind"] == "bench" and job["state"] == "done"), "none")
    return {one.name: one.path for one in PAGES} | {name: path.format(bench=bench) for name, path in MORE.items()}


def pictures_of_docs(url: str, out: Path) -> None:
    """The first window of some pages, 1,024 wide, in few colours."""
    wanted = addresses(url)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for name, (which, lang, theme, height) in DOCS.items():
            viewport = {"width": 1280, "height": height}
            context = browser.new_context(base_url=url, locale=LOCALES[lang], color_scheme=theme, viewport=viewport)
            page = context.new_page()
            page.goto(wanted[which], timeout=180_000)
            page.wait_for_load_state("networkidle", timeout=180_000)
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            small = shot.resize((1024, height * 4 // 5), Image.Resampling.LANCZOS)
            small.quantize(256, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
            context.close()
        browser.close()


def pictures(url: str, out: Path, only: str | None) -> None:
    wanted = addresses(url)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for lang, locale in LOCALES.items():
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
