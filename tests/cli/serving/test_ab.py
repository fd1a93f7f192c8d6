"""An experiment from its definition to its end, by the command line."""

import pytest
from tests.cli.calls import answer, call, fails
from tests.serve.conftest import backend_over

from hexarec.serve.client import Client


@pytest.fixture
def two(home):
    backend = backend_over(home)
    backend.service.tenant("default").fit("llm", {"retrieve": [{"use": "popular"}]})
    backend.service.close()
    return home


def test_an_experiment_from_start_to_ship(two, data):
    from tests.serve.running import listening

    made = call("ab", "create", "home", "--control", "default", "--variant", "llm", "--share", "40", "--guard", "hides=0.1",
                "--home", two)  # fmt: skip
    assert f"next: hexarec ab start home --home {two}\n" in made.stderr
    assert answer("ab", "read", "home", "--home", two)["state"] == "draft"
    backend = backend_over(two)
    with listening(backend) as url, Client(url) as client:
        call("ab", "start", "home", "--home", two)
        backend.service.tenant("default").refresh()
        arms = set()
        for user in data.users.ids.ids.tolist():
            given = client.recommend(user, n=3)
            arms.add(given["variant"])
            client.event(given["items"][0]["item_id"], user=user, request_id=given["request_id"])
        assert arms == {"control", "variant"}
        told = answer("ab", "read", "home", "--home", two)
        assert told["state"] == "running" and sum(told["units"].values()) == data.n_users
        assert set(told["effects"]) == {"variant"} and "hides" in told["guardrails"]["variant"]
        text = call("ab", "read", "home", "--home", two).stdout
        assert "effects variant" in text and "guardrails variant" in text
        assert "is shipped: variant" in call("ab", "ship", "home", "variant", "--home", two).stdout
        backend.service.tenant("default").refresh()
        assert client.recommend(data.users.ids.ids[0])["pipeline"] == "llm"


def test_what_cannot_be_is_refused(two):
    create = ("ab", "create", "x", "--control", "default", "--home", two)
    assert "no pipeline 'none'" in fails(*create, "--variant", "none")
    assert "is not METRIC=MARGIN" in fails(*create, "--variant", "llm", "--guard", "hides")
    assert "no guardrail 'p95'" in fails(*create, "--variant", "llm", "--guard", "p95=1")
    assert "no kind 'wish'" in fails(*create, "--variant", "llm", "--kind", "wish")
    assert "no experiment 'x'" in fails("ab", "start", "x", "--home", two)
    assert "no metric 'p95'" in fails(*create, "--variant", "llm", "--stop-if", "p95>800")
    assert "looks and planned go together" in fails(*create, "--variant", "llm", "--looks", "3")
    call(*create, "--variant", "llm", "--interleave", "--stop-if", "p95_ms>800", "--stop-if", "hides > 0.5")
    assert "is draft" in fails("ab", "stop", "x", "--home", two)
    call("ab", "start", "x", "--home", two)
    assert "no arm 'third'" in fails("ab", "ship", "x", "third", "--home", two)
    call("ab", "stop", "x", "--home", two)
    assert answer("ab", "read", "x", "--home", two)["state"] == "stopped"


def test_rules_and_planned_looks_are_kept_and_the_reason_is_shown(two):
    from hexarec.serve import trials

    call("ab", "create", "y", "--control", "default", "--variant", "llm", "--stop-if", "p95_ms > 800", "--looks", "4",
         "--users", "1000", "--home", two)  # fmt: skip
    call("ab", "start", "y", "--home", two)
    backend = backend_over(two)
    tenant = backend.service.tenant("default")
    body = trials.of(tenant, "y").body
    assert (body["stop_if"], body["looks"], body["users"], body["tau"]) == (["p95_ms>800"], 4, 1000, None)
    trials.moved(tenant, "y", "stopped", 2e9, why={"said": "p95_ms>800: 912 in arm variant"})
    backend.service.close()
    assert "y is stopped: p95_ms>800: 912 in arm variant" in call("ab", "read", "y", "--home", two).stdout
