"""What each kind of job does, on a tiny world without a model."""

import polars as pl
import pytest
from tests.serve.conftest import CLASSIC
from tests.serve.jobs.conftest import done
from tests.serve.jobs.stages import Bandit
from tests.serve.jobs.vectors import letters, vector_of

from hexarec.core import OptionError
from hexarec.eval.diff import read_run
from hexarec.eval.report import Report
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.save import load
from hexarec.serve import erase
from hexarec.serve.jobs import learning
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.jobs.kinds import KINDS
from hexarec.serve.live.asks import Ask
from hexarec.serve.store.rows import EventRow, ItemRow, ShownRow


# ---------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        ("fit", {"pipes": "x"}, "no argument 'pipes'"),
        ("fit", {"seed": "0"}, "seed is '0', not int"),
        ("fit", {"seed": True}, "seed is 'True', not int"),
        ("fit", {"seed": -1}, "seed is -1, not between 0"),
        ("fit", {"config": []}, "config is '[]', not dict"),
        ("fit", {"pipeline": ""}, "pipeline has 0 letters"),
        ("bench", {"k": 0}, "k is 0, not between 1"),
        ("learn", {"days": "1"}, "days is '1', not float"),
        ("learn", {"days": float("nan")}, "days is nan"),
        ("recommend", {"n": 10**6}, "n is 1000000"),
        ("recommend", {"shard": 0}, "shard is 0"),
        ("embed", {"encoder": 3}, "encoder is '3', not str"),
        ("enrich", {"tokens": -1}, "tokens is -1"),
    ],
)
def test_arguments_are_checked(kind, args, said):
    with pytest.raises(OptionError, match=said.replace("[", r"\[")):
        KINDS[kind].check(args)


def test_good_arguments_pass():
    KINDS["learn"].check({"days": 1, "pipeline": "default", "dollars": 0.5})
    KINDS["recommend"].check({"n": 5, "shard": 1, "tokens": 0})


# ---------------------------------------------------------------- fit, bench
def test_fit_publishes_the_next_version_and_serves_it(tenant, runner):
    ended = done(runner, tenant, "fit", config={"retrieve": [{"use": "popular"}]})
    assert ended.result["version"] == 2 == tenant.recommender().current.version
    assert [type(one).__name__ for one in tenant.recommender().current.pipeline.retrieve_] == ["Popular"]
    again = done(runner, tenant, "fit")
    assert again.result["version"] == 3, "without a configuration, that of the version in service"
    assert [type(one).__name__ for one in tenant.recommender().current.pipeline.retrieve_] == ["Popular"]


def test_a_configuration_that_cannot_be_fitted_fails_and_the_old_version_stays(tenant, runner):
    job = tenant.shelf.add_job("fit", {"config": {"retrieve": [{"use": "popula"}]}})
    runner.one()
    ended = tenant.shelf.job(job.id)
    assert ended.state == "failed" and "did you mean 'popular'" in ended.error
    assert tenant.recommender().current.version == 1 and len(tenant.shelf.versions("pipeline", "default")) == 1


def test_bench_measures_beside_the_floors(tenant, runner):
    ended = done(runner, tenant, "bench", max_users=20, k=10)
    report = Report.from_json(ended.result["report"])
    assert {"popular", "random", "ease", "default"} <= {row.system for row in report.rows}
    assert all(0 <= row.values["ndcg@10"].mean <= 1 for row in report.rows)
    kept = read_run(folder_of(tenant, ended.id) / ended.result["folder"])
    assert "default" in kept.systems and len(kept.users) == 20


def test_an_estimate_says_what_that_will_cost(tenant, runner):
    config = {"retrieve": [{"use": "popular"}], "rank": {"use": "llmrank", "lm": "fake:overlap", "rounds": 1}}
    ended = done(runner, tenant, "estimate", config=config, pipeline="asking", max_users=20, k=10)
    cost = ended.result["systems"]["asking"]
    assert cost["n"] == 20 and cost["calls"] == 20 and cost["tokens_in"] > 0 and cost["memory_mb"] > 0
    assert "20 users" in ended.result["title"] and not folder_of(tenant, ended.id).exists()


def test_an_erased_user_leaves_no_list_in_a_run_that_asked_about_them(tenant, runner):
    ended = done(runner, tenant, "bench", max_users=20, k=10)
    folder = folder_of(tenant, ended.id) / "run"
    inside = read_run(folder).users
    outside = next(one for one in tenant.data().users.ids.ids.tolist() if one not in inside)
    erase.erased(tenant, outside, scrub=False)
    assert read_run(folder).users == inside
    erase.erased(tenant, inside[0], scrub=False)
    kept = b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())
    assert inside[0].encode() not in kept and (folder / "report.json").is_file()


# ---------------------------------------------------------------- recommend, embed
def lists_of(tenant, ended):
    return pl.read_parquet(folder_of(tenant, ended.id) / ended.result["file"])


def test_lists_for_every_user_are_those_of_single_questions(tenant, runner, data):
    ended = done(runner, tenant, "recommend", n=5, shard=7)
    table = lists_of(tenant, ended)
    assert ended.result["users"] == data.n_users == table["user_id"].n_unique() and ended.result["degraded"] == []
    for user in table["user_id"].unique().to_list()[::15]:
        one = tenant.recommender().submit(Ask(user=user, k=5)).result()
        mine = table.filter(pl.col("user_id") == user).sort("rank")
        assert tuple(mine["item_id"].to_list()) == one.items
    kept = [one.name for one in folder_of(tenant, ended.id).iterdir()]
    assert kept == ["lists.parquet"], "what the work copied is gone"


def test_an_erased_user_is_taken_out_of_results_and_of_unfinished_work(tenant, runner, data):
    user, other = data.users.ids.ids[3], data.users.ids.ids[4]
    ended = done(runner, tenant, "recommend", n=2)
    unfinished = folder_of(tenant, "later") / "data"
    unfinished.mkdir(parents=True)
    (unfinished / "events.parquet").write_bytes(b"somebody")
    counts = erase.erased(tenant, user, scrub=False)
    users = set(lists_of(tenant, ended)["user_id"])
    assert user not in users and other in users
    assert counts["files of jobs"] == 2 and not unfinished.exists()


def test_vectors_of_items_whose_encoder_fails_say_why(tenant, runner):
    job = tenant.shelf.add_job("embed", {"encoder": "tfidf"})
    runner.one()
    assert "learns from all texts" in tenant.shelf.job(job.id).error


def test_vectors_of_every_item_are_those_of_the_encoder(tenant, runner, data):
    with letters() as (encoder, asked):
        ended = done(runner, tenant, "embed", encoder=encoder, shard=5)
        table = lists_of(tenant, ended)
        assert ended.result["items"] == len(table) == data.n_items
        assert len(items_of(asked)) == data.n_items
    place = table["item_id"].to_list().index(data.catalog.items.ids[2])
    text = next(one for one in asked if data.catalog.titles[2] in one)
    got = table["vector"].to_list()[place]
    wanted = vector_of(text)
    scale = got[-1] / wanted[-1]
    assert got == pytest.approx([scale * one for one in wanted], rel=1e-5)


def items_of(asked):
    """The texts of items among what was asked; an encoder also asks how long its vectors are."""
    return [one for one in asked if one != "a"]


# ---------------------------------------------------------------- enrich
def enriching(encoder):
    return {
        "use": {"vectors": {"encoder": encoder}, "text": {"use": "frozen_encoder", "encoder": "@vectors", "dim": 4}},
        "enrich": [{"use": "@text"}],
        "retrieve": [{"use": "@text"}],
    }


def test_enriching_keeps_its_result_and_fits_use_it(tenant, runner, data):
    from hexarec.parts.encoded import forget_encoded

    with letters() as (encoder, asked):
        config = enriching(encoder)
        ended = done(runner, tenant, "enrich", config=config, shard=5)
        assert len(items_of(asked)) == data.n_items and ended.result["rows"] == data.n_items
        table = lists_of(tenant, ended)
        name = next(one for one in table.columns if one.startswith("feature:"))
        assert table[name].null_count() == 0
        forget_encoded()
        done(runner, tenant, "fit", config=config)
        assert len(items_of(asked)) == data.n_items, "the fit paid for nothing again"
        tenant.shelf.put_items([ItemRow("new", "A new story"), ItemRow(data.catalog.items.ids[0], "Another title")])
        forget_encoded()
        done(runner, tenant, "enrich", config=config, shard=5)
        assert len(items_of(asked)) == data.n_items + 2, "only what is new or changed was asked for"
        made = tenant.data()
        fresh = made.features[name.removeprefix("feature:")]
        assert fresh.mask.all() and len(fresh.rows) == data.n_items + 1
        folders = [one.name for one in tenant.folder.iterdir() if one.name.startswith("enriched-")]
        assert len(folders) == 2
        done(runner, tenant, "enrich", config=config)
        assert sum(one.name.startswith("enriched-") for one in tenant.folder.iterdir()) == 2


def test_enriching_in_shards_gives_what_a_pipeline_would_make(tenant, runner, data):
    from hexarec.eval.opening import pipeline_of

    with letters() as (encoder, _):
        config = enriching(encoder)
        (stage,) = pipeline_of(config).enrich_by
        whole = stage.enrich(tenant.data())
        done(runner, tenant, "enrich", config=config, shard=7)
        parts = tenant.data()
        for name, table in whole.features.items():
            assert (parts.features[name].rows == table.rows).all()
            assert parts.features[name].provenance == table.provenance


def test_an_encoder_that_learns_is_enriched_as_a_whole(tenant, runner, data):
    ended = done(runner, tenant, "enrich", config=enriching("tfidf"), shard=3)
    assert ended.result["rows"] == data.n_items


def test_nothing_to_enrich_is_said(tenant, runner):
    job = tenant.shelf.add_job("enrich", {})
    runner.one()
    assert "enriches nothing" in tenant.shelf.job(job.id).error


# ---------------------------------------------------------------- learn
@pytest.fixture
def bandit(tenant, monkeypatch):
    """A pipeline with a learning stage in service; its class is saved by a name that may be loaded."""
    import sys

    from hexarec.serve.live.publish import saved

    monkeypatch.setattr(Bandit, "__module__", "hexarec.bandit_of_a_test")
    monkeypatch.setitem(sys.modules, "hexarec.bandit_of_a_test", sys.modules["tests.serve.jobs.stages"])
    path = saved(Pipeline([Bandit()], name="bandit").fit(tenant.data()), tenant.folder, "bandit")
    tenant.shelf.put("pipeline", "bandit", {"config": CLASSIC, "path": path, "seed": 0}, activate=True)
    tenant.refresh()
    return tenant.recommender("bandit")


def show(tenant, request, items, clicked):
    import time

    now = time.time() - 10
    tenant.shelf.log_shown_soon(
        [ShownRow(request, now, "bandit", "bandit@1", tuple(items), (1.0,) * len(items), user="u")]
    ).result()
    tenant.shelf.add_events(
        [EventRow(f"{request}-{one}", one, now + 1, "click", "u", request=request) for one in clicked]
    )


def test_learning_serves_what_it_learned_everywhere(tenant, runner, bandit, data):
    before = bandit.submit(Ask(history=(), k=3)).result()
    wanted = [one for one in data.catalog.items.ids if one not in before.items][:2]
    show(tenant, "r1", [*before.items, *wanted], wanted)
    ended = done(runner, tenant, "learn", pipeline="bandit")
    assert (ended.result["version"], ended.result["lists"]) == (2, 1)
    after = bandit.submit(Ask(history=(), k=2)).result()
    assert set(after.items) == set(wanted) and after.version == 2
    kept = tenant.shelf.get("pipeline", "bandit")
    again = load(tenant.folder / kept.body["path"])
    assert again.retrieve_[0].value_.sum() == 2, "another server, or a restart, knows it too"


def test_no_list_is_learned_from_twice(tenant, runner, bandit, data):
    items = data.catalog.items.ids[:3].tolist()
    show(tenant, "r1", items, items[:1])
    done(runner, tenant, "learn", pipeline="bandit")
    ended = done(runner, tenant, "learn", pipeline="bandit")
    assert ended.result["lists"] == 0 and ended.result["version"] == 2
    assert bandit.current.pipeline.retrieve_[0].value_.sum() == 1


def test_a_pipeline_that_learns_nothing_says_so(tenant, runner):
    job = tenant.shelf.add_job("learn", {})
    runner.one()
    assert "no stage of default learns" in tenant.shelf.job(job.id).error


def test_a_version_published_meanwhile_is_not_overwritten(tenant, runner, bandit, data, monkeypatch):
    items = data.catalog.items.ids[:3].tolist()
    show(tenant, "r1", items, items[:1])
    real = learning.saved

    def slow(*args):
        body = tenant.shelf.get("pipeline", "bandit").body
        tenant.shelf.put("pipeline", "bandit", body, activate=True)
        return real(*args)

    monkeypatch.setattr(learning, "saved", slow)
    job = tenant.shelf.add_job("learn", {"pipeline": "bandit"})
    runner.one()
    assert "another version by now" in tenant.shelf.job(job.id).error
    assert tenant.shelf.get("pipeline", "bandit").version == 2
