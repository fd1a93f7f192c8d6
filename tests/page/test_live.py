"""Live, A/B and audit: what happened, what experiments say, and what shown lists did."""

import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hexarec.core import rng
from hexarec.metrics.assignment import assign
from hexarec.metrics.reference import Reference, Tags
from hexarec.metrics.runs import measure
from hexarec.serve import trials
from hexarec.serve.exposure import audited, drift
from hexarec.serve.http.app import make_app
from hexarec.serve.policies import outcomes_of
from hexarec.serve.recent import Recent
from hexarec.serve.store.rows import EventRow, ShownRow, UserRow
from serve.conftest import URL, backend_over
from serve.running import listening

from .conftest import LOOKS, PHONE, axe_clean, wide_enough

POPULAR = {"retrieve": [{"use": "popular"}]}
N = 600


def simulated(tenant, kind="ab", tau=0.1, *, lost=0, n=N):
    """An experiment with its traffic: people of the second arm take up more of what they see."""
    made = trials.created(tenant, "home", {"arms": {"control": "default", "new": "popular"}, "tau": tau, "salt": "s",
                                           "kind": kind, "guardrails": {"seconds": 0.05}}, 0.0)  # fmt: skip
    start = time.time() - 7_200.0
    trials.moved(tenant, "home", "running", start)
    items, draw = tenant.catalog.items.ids.tolist(), rng(0, "traffic", kind)
    tenant.shelf.put_users([UserRow(f"u{i:03d}", {"plan": "paid" if i % 3 else "free"}) for i in range(n)])
    shown, events = [], []
    for i in range(n):
        arm = assign("s", f"u{i:03d}", ["control", "new"], [0.5, 0.5], "")
        if arm == "new" and i < lost:
            continue
        some = [items[int(one)] for one in draw.permutation(len(items))[:5]]
        at, teams = start + 10.0 + i * (7_000.0 / n), ()
        if kind == "interleave":
            arm, teams = None, ("new", "control", "new", "control", "new")
        shown.append(
            ShownRow(f"r{i}", at, "default", "default", tuple(some), (1.0,) * 5, (), f"u{i:03d}", None, "home", arm, teams,
                     0.01 + 0.001 * draw.random(), i % 50 == 0)
        )  # fmt: skip
        place = int(draw.integers(0, 5)) if kind == "ab" else 2 * int(draw.integers(0, 3))
        if draw.random() < (0.2 if arm == "control" else 0.6):
            events.append(
                EventRow(f"e{i}", some[place], at + 5.0, "click", f"u{i:03d}", request=f"r{i}", position=place + 1)
            )
    tenant.shelf.log_shown_soon(shown).result()
    tenant.shelf.add_events(events)
    tenant.refresh()
    return made


@pytest.fixture(scope="module")
def busy(tmp_path_factory, data):
    backend = backend_over(tmp_path_factory.mktemp("busy") / "home", data)
    tenant = backend.service.tenant("default")
    tenant.fit("popular", POPULAR)
    simulated(tenant)
    return backend


@pytest.fixture(scope="module")
def client(busy):
    with TestClient(make_app(busy), base_url=URL, follow_redirects=False) as made:
        yield made


# ---------------------------------------------------------------------------------------------------------- live
def test_the_window_slides_and_knows_its_quantiles():
    now = [1_000_000.0]
    recent = Recent(lambda: now[0])
    for i in range(1, 101):
        recent.request("a", "/v1/recommend", 200 if i < 90 else 503, i / 1000)
    recent.request("a", "/v1/items", 404, 0.001)
    recent.request("b", "/v1/items", 200, 0.001)
    window = recent.window("a")
    line = window.routes[0]
    assert (line.route, line.n, line.failed, line.refused) == ("/v1/recommend", 100, 11, 0)
    assert line.p95 == pytest.approx(0.095, rel=0.07) and line.p50 == pytest.approx(0.05, rel=0.07)
    assert (window.requests, window.failed, window.refused) == (101, 11, 1)
    now[0] += 1_800
    recent.request("a", "/v1/items", 200, 0.001)
    assert recent.window("a").requests == 102
    minutes = recent.window("a").minutes
    assert [one[1] for one in minutes] == [101, *[0] * 29, 1]  # a quiet minute is no line between two busy ones
    assert minutes[0][0] == 60.0 * (1_000_000 // 60) and minutes[-1][0] - minutes[0][0] == 1_800
    assert recent.window("nobody").minutes == ()
    now[0] += 1_900  # the first minute has left
    assert recent.window("a").requests == 1 and recent.window("nobody").requests == 0
    for seconds in (0.0, 1e-9, 1e9):
        recent.request("a", "/x", 200, seconds)


def test_long_times_are_written_right():
    from hexarec.serve.page.numbers import seconds

    assert [seconds(one) for one in (3_600, 86_400, 90_000, 187_200)] == ["1 h 0 min", "1 d 0 h", "1 d 1 h", "2 d 4 h"]


def test_lists_and_what_degraded_are_counted(client, busy):
    from hexarec.serve.live.given import Given

    for _ in range(3):
        assert client.post("/v1/recommend", json={"user_id": "u001", "n": 3}).status_code == 200
    trace = ({"stage": "rank", "tokens_in": 100, "tokens_cached": 80},)
    broken = Given((), (), degraded=({"stage": "rank", "method": "x", "why": "<i>slow</i>"},), trace=trace, tokens=120)
    busy.recent.answered("default", broken)
    busy.recent.answered("other", broken)
    window = busy.recent.window("default")
    assert window.lists == 4 and window.degraded == 1 and window.reasons == (("rank", "<i>slow</i>", 1),)
    assert (window.tokens, window.tokens_in, window.tokens_cached) == (120, 100, 80)
    text = client.get("/live").text
    assert "/v1/recommend" in text and "25 %" in text and "80 %" in text and "process alone" in text
    assert "&lt;i&gt;slow" in text and "<i>slow" not in text
    assert client.get("/live/now").status_code == 200
    told = client.get("/live/figures/traffic.json").json()
    assert sum(told["series"][1]["values"]) == 4


def test_budgets_are_for_admins(tmp_path, data):
    from serve.conftest import key_for

    backend = backend_over(tmp_path / "home", data)
    admin = key_for(backend, "admin", calls=50)["authorization"].removeprefix("Bearer ")
    reader = key_for(backend, "reader")["authorization"].removeprefix("Bearer ")
    with TestClient(make_app(backend), base_url=URL) as api:
        api.post("/login", data={"key": admin})
        assert "Spent today, by key" in api.get("/live").text and "/ 50" in api.get("/live").text
        api.cookies.clear()
        api.post("/login", data={"key": reader})
        assert "Spent today, by key" not in api.get("/live").text
        assert "latest changes" not in api.get("/audit").text


def test_drift_is_the_percentile_of_popularity(client, busy):
    tenant = busy.service.tenant("default")
    made = drift(tenant, days=1.0)
    assert sum(made.lists) >= N and all(value is None or 0.0 <= value <= 1.0 for value in made.percentile)
    known = [value for value in made.percentile if value is not None]
    assert np.mean(known) == pytest.approx(0.5, abs=0.1)  # drawn evenly from the catalog
    assert drift(tenant, days=1.0, now=1_000.0) is None
    assert "figure-drift" in client.get("/live/drift").text


# ----------------------------------------------------------------------------------------------------------- a/b
def test_an_experiment_with_its_effect_over_time(client, busy):
    assert "home" in client.get("/ab").text
    text = client.get("/ab/home").text
    assert "Ship new" in text and "Stop" in text
    text = client.get("/ab/home/reading").text
    assert "got the users they should" in text and "hold at every look" in text and "held" in text
    told = client.get("/ab/home/figures/course.json").json()
    low, high = told["series"][0]["low"], told["series"][0]["high"]
    known = [(a, b) for a, b in zip(low, high, strict=True) if a is not None]
    assert known[-1][0] > 0.1 and told["places"] == sorted(told["places"])
    assert known[-1][1] - known[-1][0] <= known[0][1] - known[0][0]  # more users, narrower
    last = trials.read(busy.service.tenant("default"), "home", time.time())["effects"]["new"]
    assert (low[-1], high[-1]) == (last["low"], last["high"])
    for path in ("/ab/nothing", "/ab/nothing/reading", "/ab/nothing/figures/course.svg"):
        assert client.get(path).status_code == 404
    assert client.post("/ab/nothing/move", data={"state": "stopped"}).status_code == 404


@pytest.fixture
def own(tmp_path, data):
    backend = backend_over(tmp_path / "home", data)
    backend.service.tenant("default").fit("popular", POPULAR)
    with TestClient(make_app(backend), base_url=URL, follow_redirects=False) as made:
        yield made, backend.service.tenant("default")


def test_an_assignment_that_leaks_is_an_alarm(own):
    client, tenant = own
    simulated(tenant, lost=300)
    text = client.get("/ab/home/reading").text
    assert 'role="alert"' in text and "did not get the users" in text and "sample ratio" in text


def test_stop_and_ship(own):
    client, tenant = own
    simulated(tenant, n=20)
    assert client.post("/ab/home/move", data={"state": "shipped", "ship": "nobody"}).status_code == 422
    assert client.post("/ab/home/move", data={"state": "stopped"}).headers["location"] == "/ab/home"
    assert client.post("/ab/home/move", data={"state": "running"}).status_code == 409
    assert client.post("/ab/home/move", data={"state": "shipped", "ship": "new"}).status_code == 303
    assert tenant.recommender().current.name == "popular" and "shipped" in client.get("/ab/home").text
    assert [row.what for row in tenant.shelf.audit_rows()][-2:] == ["experiment stopped", "experiment shipped"]


def test_interleaving_wins(own):
    client, tenant = own
    simulated(tenant, kind="interleave", tau=None, n=80)
    reading = trials.read(tenant, "home", time.time())
    assert reading["wins"]["new"] > 10 and reading["wins"]["control"] == 0
    assert sum(reading["wins"].values()) == reading["preference"]["impressions"]
    text = client.get("/ab/home/reading").text
    assert "Preference for control" in text and "ties" in text
    assert client.get("/ab/home/figures/course.csv").text.count("\n") > 3


# --------------------------------------------------------------------------------------------------------- audit
def test_the_audit_has_the_numbers_of_the_metrics(client, busy):
    tenant = busy.service.tenant("default")
    made = audited(tenant, days=1.0)
    exposures = outcomes_of(tenant, "default", days=1.0)
    tags = Tags.of(tenant.catalog.attributes[made.tag]) if made.tag else None
    counts = np.array([tenant.popularity.get(one, 0) for one in tenant.catalog.items.ids.tolist()])
    reference = Reference(exposures.queries, counts, None, tags)
    same = measure(exposures.shown, reference, ["gini@1000", "coverage@1000", "popularity_lift@1000"])
    for name in ("gini", "coverage", "popularity_lift"):
        assert made.measures[name] == pytest.approx(same[f"{name}@1000"].value)
    assert made.bys == ("plan",) and set(made.gaps["liked"].names) == {"free", "paid"}
    assert 0.0 < made.measures["liked"] < 0.2  # a fifth of a list at most
    x, y = made.lorenz
    assert y[0] == 0.0 and y[-1] == pytest.approx(1.0) and (np.diff(y) >= 0).all() and (y <= x + 1e-9).all()
    assert audited(tenant, days=1.0, now=1_000.0) is None


def test_the_audit_page(client):
    assert "The latest changes" in client.get("/audit").text
    text = client.get("/audit/numbers").text
    assert "Gini of exposure" in text and "plan" in text and "figure-exposure" in text
    assert client.get("/audit/figures/7/exposure.csv").text.startswith('"share of items')
    assert client.get("/audit/figures/7/users-liked.json?by=plan").json()["names"][0].startswith("free (")
    for path in ("/audit/figures/7/nothing.json", "/audit/figures/7/exposure.exe", "/audit/figures/x/exposure.csv"):
        assert client.get(path).status_code in (404, 422)
    assert "Nothing was shown" not in text


def test_an_audit_of_nothing_says_so(page_client):
    assert "Nothing was shown in this time" in page_client.get("/audit/numbers").text
    assert "There are no experiments yet" in page_client.get("/ab").text


# ------------------------------------------------------------------------------------------------------- browser
@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    backend = backend_over(tmp_path_factory.mktemp("site") / "home", data)
    tenant = backend.service.tenant("default")
    tenant.fit("popular", POPULAR)
    simulated(tenant)
    with listening(backend) as url:
        yield url


@pytest.mark.parametrize("lang, theme", LOOKS)
def test_pages_in_a_browser(open_page, lang, theme):
    for path, ready in (("/live", "#figure-drift canvas"), ("/ab", "#experiments tbody"),
                        ("/ab/home", "#figure-course canvas"), ("/audit", "#figure-exposure canvas")):  # fmt: skip
        page = open_page(path, lang=lang, theme=theme)
        page.locator(ready).wait_for()
        axe_clean(page)
        page = open_page(path, lang=lang, theme=theme, viewport=PHONE, touch=True)
        page.locator(ready).wait_for()
        wide_enough(page)


def test_a_plot_is_drawn_once_however_often_and_early_it_is_asked_for(open_page):
    """htmx tells of a part of the page as loaded more than once, and the theme can change while a figure is fetched."""
    page = open_page("/")
    page.route("**/audit/figures/**", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.goto("/audit")
    page.locator("#figure-exposure").wait_for(state="attached")
    loaded = (
        "() => document.body.dispatchEvent(new CustomEvent('htmx:load', {bubbles: true, detail: {elt: document.body}}))"
    )
    for theme in ("dark", "light", "dark"):
        page.evaluate(loaded)
        page.emulate_media(color_scheme=theme)
    page.locator("#figure-exposure canvas").first.wait_for()
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(200)
    assert page.locator("#figure-exposure canvas").count() == 1


def test_an_experiment_is_read_and_stopped(open_page):
    page = open_page("/ab")
    page.get_by_role("link", name="home", exact=True).click()
    page.locator("#effects tbody tr").first.wait_for()
    assert "new" in page.locator("#effects tbody").first.inner_text()
    page.locator("#course canvas").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#state .state.warn").wait_for()
    page.get_by_role("button", name="Ship new").click()
    page.locator("#state .state.ok").wait_for()
