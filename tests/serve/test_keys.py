"""Keys, rates and budgets: what is kept, who is refused, and what may be overspent."""

import hmac
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hexarec.core.errors import BudgetError, OptionError, StateError
from hexarec.lm.base import Prompt
from hexarec.lm.guard import Guarded
from hexarec.lm.open import open_lm
from hexarec.serve import keys
from hexarec.serve.errors import LimitError
from hexarec.serve.http.app import make_app
from hexarec.serve.keys import Doorkeeper, made_key, network_of, scopes_of
from hexarec.serve.limits import Bucket, Limits, day_of
from hexarec.serve.purse import Purse
from hexarec.serve.store.open import open_store

from .conftest import URL, TestClient, backend_over, key_for


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def bare(tmp_path):
    """A server without items, over a store in a folder."""
    backend = backend_over(tmp_path / "home")
    with TestClient(make_app(backend), base_url=URL) as client:
        yield client, backend


@pytest.fixture
def clock(monkeypatch):
    """The time of `keys`, which a test may move on: `clock.ahead` of what it measures by, `clock.later` of the day."""
    made = SimpleNamespace(ahead=0.0, later=0.0)
    made.monotonic, made.time = lambda: time.monotonic() + made.ahead, lambda: time.time() + made.later
    monkeypatch.setattr(keys, "time", made)
    return made


def status(client, secret):
    return client.get("/v1/items", headers=bearer(secret)).status_code


# --------------------------------------------------------------------------------------------------------- keys
def test_only_a_hash_is_on_disk(bare, tmp_path):
    client, backend = bare
    made = client.post("/v1/keys", json={"name": "k", "scopes": ["admin"]}).json()
    secret = made["key"].partition(".")[2]
    assert status(client, made["key"]) == 200
    told = client.get("/v1/keys", headers=bearer(made["key"])).text
    assert secret not in told and "digest" not in told
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(files) >= 1 and all(secret.encode() not in path.read_bytes() for path in files)
    with sqlite3.connect(tmp_path / "home" / "store.sqlite") as database:
        (digest,) = database.execute("SELECT digest FROM keys").fetchone()
    assert len(digest) == 64 and (tmp_path / "home" / "store.sqlite").stat().st_mode & 0o077 == 0


def test_a_secret_has_256_bits_and_none_is_met_twice():
    made = {made_key("k", ["read"])[1].partition(".")[2] for _ in range(500)}
    assert len(made) == 500 and all(len(one) == 43 for one in made)


def test_compared_in_constant_time(bare, monkeypatch):
    client, backend = bare
    row, secret = made_key("k", ["read"])
    backend.service.store.of("default").put_key(row)
    compared = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or hmac_equal(a, b))
    assert status(client, secret) == 200 and status(client, secret[:-1] + "!") == 401
    assert len(compared) == 2 and all(len(one) == 64 for pair in compared for one in pair)


hmac_equal = hmac.compare_digest


def test_expired_and_revoked_keys(bare, clock):
    client, backend = bare
    shelf = backend.service.store.of("default")
    row, secret = made_key("k", ["read"], days=1)
    shelf.put_key(row)
    admin = key_for(backend, "admin")
    assert status(client, secret) == 200
    assert client.delete(f"/v1/keys/{row.id}", headers=admin).json() == {"revoked": True}
    clock.ahead += 1.01
    assert status(client, secret) == 401  # a second later at most
    row, secret = made_key("k", ["read"], days=1)
    shelf.put_key(row)
    assert status(client, secret) == 200
    clock.later += 86_400.0
    assert status(client, secret) == 401  # the end is looked at with every call, not once a second


def test_rotation_overlaps_and_ends(bare, clock):
    client, backend = bare
    admin = key_for(backend, "admin")
    row, secret = made_key("k", ["read"], days=10, rate=7.0, calls=99)
    backend.service.store.of("default").put_key(row)
    made = client.post(f"/v1/keys/{row.id}/rotate?overlap=600", headers=admin).json()
    assert (made["scopes"], made["rate"], made["calls"]) == (["read"], 7.0, 99)
    assert abs(made["expires"] - made["created"] - 864_000) < 1
    assert status(client, secret) == status(client, made["key"]) == 200
    clock.later += 600.0
    clock.ahead += 600.0
    assert status(client, secret) == 401 and status(client, made["key"]) == 200
    assert client.post(f"/v1/keys/{row.id}/rotate", headers=admin).status_code == 409  # it has no rights to pass on


def test_scopes_are_known_words():
    assert scopes_of(["reader"]) == {"recommend", "read"}
    with pytest.raises(OptionError, match="no scope"):
        scopes_of(["root"])


@pytest.mark.parametrize("token", ["", "hx_", "hx_.", "hx_a", "hx_a.", "x.y", "Bearer hx_a.b", "hx_\u00e9.b", "hx_' OR 1=1.b",
                                   "hx_%.b", "hx_" + "a" * 65 + ".b", "hx_a.\u00ff", "hx_a b.c", "hx_../x.b"])  # fmt: skip
def test_what_is_no_key_opens_nothing(bare, token):
    client, backend = bare
    key_for(backend, "admin")
    backend.doorkeeper._keyless = (0.0, False)
    headers = [(b"authorization", b"Bearer " + token.encode("latin-1"))]
    assert client.get("/v1/items", headers=headers).status_code == 401
    assert (
        client.get("/v1/items", headers={"authorization": f"Basic {token.encode('latin-1').hex()}"}).status_code == 401
    )


def test_guessing_ends_after_twenty(bare):
    client, backend = bare
    row, secret = made_key("k", ["admin"])
    backend.service.store.of("default").put_key(row)
    assert status(client, secret) == 200
    codes = [status(client, f"hx_{row.id}.{i}") for i in range(10_000 // 50)]
    assert codes[:20] == [401] * 20 and set(codes[20:]) == {429}
    refused = client.get("/v1/items", headers=bearer(secret))
    assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.get("/health/live").status_code == 200


def test_another_address_is_not_locked(bare):
    _, backend = bare
    door = backend.doorkeeper
    row, secret = made_key("k", ["read"])
    backend.service.store.of("default").put_key(row)
    for _ in range(20):
        assert door.caller(bearer("hx_a.b"), "2001:db8:1:2::1") is None
    for same in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"):
        with pytest.raises(LimitError):
            door.caller(bearer(secret), same)
    for other in ("2001:db8:1:3::1", "10.0.0.1", "", "testclient"):
        assert door.caller(bearer(secret), other).key.id == row.id


def test_memory_of_failures_is_bounded(bare, monkeypatch):
    _, backend = bare
    monkeypatch.setattr(keys, "NETWORKS", 50)
    key_for(backend, "read")
    for i in range(500):
        backend.doorkeeper.caller(bearer(f"hx_a{i}.b"), f"10.0.{i // 250}.{i % 250}")
    assert len(backend.doorkeeper._failures) == 50


def test_networks():
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")


def test_without_a_key_only_this_machine_is_let_in(tmp_path, clock):
    for more, want in (({}, 200), ({"host": "0.0.0.0"}, 401), ({"hosts": ("shop.example",)}, 401)):
        backend = backend_over(tmp_path / str(len(more)) / str(want) / more.get("host", "x"), **more)
        with TestClient(make_app(backend), base_url=URL) as client:
            assert client.get("/v1/items").status_code == want, more
            key_for(backend, "read")
            clock.ahead += 1.01
            assert client.get("/v1/items").status_code == 401  # with a key there is, one is needed


def test_an_open_address_is_refused_without_a_key(tmp_path):
    from typer.testing import CliRunner

    from hexarec.cli.main import app

    made = CliRunner().invoke(app, ["serve", "--home", str(tmp_path), "--host", "0.0.0.0"])
    assert made.exit_code != 0
    assert "no key yet" in made.output + str(made.exception)


# -------------------------------------------------------------------------------------------------------- rates
class Buckets(RuleBasedStateMachine):
    """Whatever the clock does, a bucket gives at most what its rate and burst allow, and always again after a while."""

    @initialize(rate=st.floats(0.1, 1000), burst=st.integers(1, 100))
    def begin(self, rate, burst):
        self.rate, self.burst, self.now, self.passed, self.taken = rate, burst, 1e9, 0.0, 0
        self.bucket = Bucket(rate, float(burst), float(burst), self.now)

    @rule(seconds=st.floats(0, 100))
    def later(self, seconds):
        self.now += seconds
        self.passed += seconds

    @rule(seconds=st.floats(0, 10_000))
    def clock_goes_back(self, seconds):
        self.now -= seconds

    @rule(times=st.integers(1, 30))
    def take(self, times):
        for _ in range(times):
            wait = self.bucket.take(self.now)
            self.taken += wait == 0.0
            assert 0.0 <= wait <= 1.0 / self.rate + 1e-6

    @rule()
    def restart(self):
        self.bucket = Bucket(self.rate, float(self.burst), self.bucket.level, min(self.bucket.time, self.now))

    @rule()
    def patience_is_rewarded(self):
        if wait := self.bucket.take(self.now):
            self.now += wait * (1 + 1e-9) + 1e-6
            self.passed += wait * (1 + 1e-9) + 1e-6
            assert self.bucket.take(self.now) == 0.0
        self.taken += 1

    @invariant()
    def never_more_than_allowed(self):
        assert self.taken <= self.burst + self.rate * self.passed * (1 + 1e-6) + 1e-3


TestBuckets = Buckets.TestCase
TestBuckets.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class Clock:
    def __init__(self):
        self.now = 1.8e9

    def __call__(self):
        return self.now


@pytest.fixture
def shelf(tmp_path):
    store = open_store(tmp_path / "s.sqlite")
    yield store.of("default")
    store.close()


def admitted(limits, key, clock, calls, seconds):
    count = 0
    for _ in range(calls):
        clock.now += seconds / calls
        try:
            limits.admit(key)
            count += 1
        except LimitError:
            pass
    return count


@pytest.mark.parametrize("rate, times", [(50.0, 20), (5.0, 20), (1_000.0, 3), (0.5, 40)])
def test_the_rate_is_kept_within_two_percent(shelf, rate, times):
    key, clock = made_key("k", ["read"], rate=rate, burst=5)[0], Clock()
    limits = Limits(shelf, clock)
    seconds = 5_000 / rate
    count = admitted(limits, key, clock, int(times * rate * seconds), seconds)
    assert abs(count / (rate * seconds) - 1) <= 0.02


def test_a_restart_fills_no_bucket(shelf):
    key, clock = made_key("k", ["read"], rate=1.0, burst=10)[0], Clock()
    limits = Limits(shelf, clock)
    assert admitted(limits, key, clock, 30, 0.001) == 10
    limits.save()
    assert admitted(Limits(shelf, clock), key, clock, 30, 0.001) == 0
    clock.now -= 3_600
    again = Limits(shelf, clock)
    assert admitted(again, key, clock, 30, 0.001) == 0
    assert admitted(again, key, clock, 60, 6.0) == 6  # and after the clock went back it goes on at once


def test_a_bucket_that_nobody_uses_is_not_written_again(shelf, monkeypatch):
    key, clock = made_key("k", ["read"], rate=1.0, burst=10)[0], Clock()
    limits, written = Limits(shelf, clock), []
    put = shelf.put_bucket
    monkeypatch.setattr(shelf, "put_bucket", lambda *row: written.append(row) or put(*row))
    limits.admit(key)
    limits.save()
    limits.save()
    assert len(written) == 1
    limits.admit(key)
    limits.save()
    assert len(written) == 2


def test_keys_without_a_rate_have_that_of_the_server(shelf):
    key, clock = made_key("k", ["read"])[0], Clock()
    assert admitted(Limits(shelf, clock), key, clock, 100, 1.0) == 100
    assert admitted(Limits(shelf, clock, rate=10.0), key, clock, 100, 1.0) <= 20


def test_too_many_calls_are_told_to_wait(bare):
    client, backend = bare
    head = key_for(backend, "read", rate=0.2, burst=2)
    answers = [client.get("/v1/items", headers=head) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 429, 429]
    assert answers[2].json()["error"]["type"] == "rate_limited" and answers[2].headers["retry-after"] == "5"
    assert client.get("/v1/items", headers=key_for(backend, "read")).status_code == 200


# ------------------------------------------------------------------------------------------------------ budgets
def test_budgets_of_calls_end_and_begin_again(shelf):
    key, clock = made_key("k", ["read"], calls=3)[0], Clock()
    limits = Limits(shelf, clock)
    for _ in range(3):
        limits.admit(key)
    with pytest.raises(BudgetError, match="3 calls a day"):
        limits.admit(key)
    limits.save()
    with pytest.raises(BudgetError):
        Limits(shelf, clock).admit(key)
    clock.now += 86_400
    limits.admit(key)
    limits.save()
    assert shelf.spent(key.id, day_of(clock.now))["calls"] == 1


def test_two_servers_share_a_budget(shelf):
    key, clock = made_key("k", ["read"], calls=10, tokens=100)[0], Clock()
    one, two = Limits(shelf, clock), Limits(shelf, clock)
    for limits in (one, two):
        for _ in range(4):
            limits.admit(key)
        limits.purse(key).add(30, 0.0)
    for _ in range(2):
        one.save(), two.save()
    assert shelf.spent(key.id, day_of(clock.now)) == {"calls": 8, "tokens": 60, "dollars": 0.0}
    assert one.purse(key).ledger.tokens_out == two.purse(key).ledger.tokens_out == 60
    one.admit(key), one.save(), two.save(), two.admit(key), two.save(), one.save()
    for limits in (one, two):
        with pytest.raises(BudgetError):
            limits.admit(key)


def test_what_cannot_be_saved_is_saved_later(shelf, monkeypatch):
    key, clock = made_key("k", ["read"])[0], Clock()
    limits = Limits(shelf, clock)
    limits.admit(key)
    limits.purse(key).add(7, 0.5)
    with monkeypatch.context() as broken:
        broken.setattr(shelf, "spend", lambda *given, **more: (_ for _ in ()).throw(StateError("full")))
        with pytest.raises(StateError):
            limits.save()
    limits.save(), limits.save()
    assert shelf.spent(key.id, day_of(clock.now)) == {"calls": 1, "tokens": 7, "dollars": 0.5}


@settings(max_examples=25, deadline=None)
@given(budget=st.integers(50, 3_000), workers=st.integers(1, 16), words=st.integers(1, 20))
def test_work_side_by_side_overspends_by_one_request_at_most(budget, workers, words):
    purse = Purse(budget, None)
    prompts = [Prompt.user("word " * words, max_tokens=8)]
    worst = len(prompts[0].text.encode()) + 8 + 64

    def ask():
        lm = Guarded(open_lm("fake:obedient"))
        for _ in range(20):
            try:
                lm.generate(prompts)
            except BudgetError:
                return

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: purse.paying(ask), range(workers)))
    assert purse.ledger.tokens_in + purse.ledger.tokens_out <= budget + worst


def test_doors_share_one_purse(bare):
    _, backend = bare
    row, secret = made_key("k", ["recommend"], tokens=100)
    backend.service.store.of("default").put_key(row)
    caller = Doorkeeper(backend.service.store).caller(bearer(secret), "")
    backend.paying(caller, lambda: backend.limits("default").purse(row).add(60, 0.0))
    assert backend.limits("default").purse(caller.key).ledger.tokens_out == 60
