"""Two servers over one database: what one looked at is not overwritten by the other."""

import threading
from dataclasses import replace

import polars as pl
import pytest
from tests.serve.test_erase import everybody

from hexarec.core import StateError
from hexarec.data.worlds import world
from hexarec.serve import trials
from hexarec.serve.erase import erased
from hexarec.serve.errors import ConflictError
from hexarec.serve.jobs import learning
from hexarec.serve.jobs.files import folder_of
from hexarec.serve.live import publish
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.store.errors import ChangedError
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import ItemRow

CONFIG = {"retrieve": [{"use": "ials", "factors": 4, "sweeps": 1}, {"use": "popular"}]}
ARMS = {"arms": {"control": "default", "new": "default"}}


@pytest.fixture
def shelves(url):
    """The shelf of one tenant as two servers have it."""
    stores = [open_store(url), open_store(url)]
    yield [one.of("shop") for one in stores]
    for one in stores:
        one.close()


@pytest.fixture
def servers(shelves, folder):
    """One tenant, served twice from the same folder."""
    first = Tenant(shelves[0], folder / "pipelines" / "shop")
    first.import_data(world("checkerboard").data)
    first.fit("default", CONFIG)
    second = Tenant(shelves[1], first.folder)
    second.refresh()
    yield first, second
    first.close()
    second.close()


def at_once(*acts):
    """What each act returned or raised, all begun together."""
    start, made = threading.Barrier(len(acts)), [None] * len(acts)

    def run(place, act):
        start.wait()
        try:
            made[place] = act()
        except Exception as error:
            made[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return made


def test_a_version_is_rewritten_only_from_what_it_says(shelves):
    first, second = shelves
    old = first.put("pipeline", "p", {"path": "a"}, activate=True)
    assert second.rewrite(old, {"path": "b"}) is True
    assert first.rewrite(old, {"path": "c"}) is False and first.get("pipeline", "p").body == {"path": "b"}
    assert first.rewrite(replace(old, version=2), {"path": "c"}) is False


def test_put_sees_what_the_other_wrote(shelves):
    first, second = shelves
    base = first.put("pipeline", "p", {"path": "a"}, activate=True, first=True)
    with pytest.raises(ChangedError, match="changed meanwhile"):
        second.put("pipeline", "p", {"path": "b"}, first=True)
    second.rewrite(base, {"path": "a2"})
    with pytest.raises(ChangedError):
        first.put("pipeline", "p", {"path": "c"}, activate=True, after=base)
    assert [one.version for one in first.versions("pipeline", "p")] == [1]


def test_versions_of_both_count_on(shelves):
    acts = [
        lambda shelf=shelf, i=i: shelf.put("prompt", "p", {"n": i}, activate=True)
        for i, shelf in enumerate(shelves * 4)
    ]
    made = at_once(*acts)
    assert sorted(one.version for one in made) == list(range(1, 9))
    assert sum(one.active for one in shelves[0].versions("prompt", "p")) == 1


def test_one_of_many_experiments_starts(servers):
    names = [f"e{i}" for i in range(6)]
    for name in names:
        trials.created(servers[0], name, ARMS, 1.0)
    acts = [lambda i=i, name=name: trials.moved(servers[i % 2], name, "running", 2.0) for i, name in enumerate(names)]
    made = at_once(*acts)
    running = [one.name for one in servers[0].shelf.names(trials.KIND) if one.body["state"] == "running"]
    assert len(running) == 1 and sum(not isinstance(one, Exception) for one in made) == 1
    assert all(isinstance(one, StateError | ConflictError) for one in made if isinstance(one, Exception))


def test_one_of_many_experiments_of_a_name_is_made(servers):
    made = at_once(*[lambda server=server: trials.created(server, "same", ARMS, 1.0) for server in servers * 3])
    assert sum(isinstance(one, ConflictError) for one in made) == 5
    assert len(servers[0].shelf.versions(trials.KIND, "same")) == 1


def test_what_was_stopped_meanwhile_is_not_stopped_again(servers, monkeypatch):
    first, second = servers
    trials.created(first, "e", ARMS, 1.0)
    trials.moved(first, "e", "running", 2.0)
    seen = trials.of(first, "e")
    trials.moved(second, "e", "stopped", 3.0)
    monkeypatch.setattr(trials.experiments, "of", lambda tenant, name: seen)
    with pytest.raises(ChangedError):
        trials.moved(first, "e", "shipped", 4.0, "new")
    assert first.shelf.get("settings", "default") is None and first.shelf.get(trials.KIND, "e").body["ended"] == 3.0


def interrupted(monkeypatch, other):
    """Let `other` happen once after a version was read and before it is written anew."""
    usual, done = publish.saved, []

    def saved(pipeline, folder, name):
        if not done:
            done.append(True)
            other()
        return usual(pipeline, folder, name)

    monkeypatch.setattr(publish, "saved", saved)


def saved_users(server):
    return set().union(*(everybody(publish.load(server.folder / one.body["path"]))
                         for one in server.shelf.versions(publish.KIND, "default")
                         if (server.folder / one.body["path"]).is_dir()))  # fmt: skip


def test_two_erasures_bring_nobody_back(servers, monkeypatch):
    first, second = servers
    first.fit("default", CONFIG)
    one, other = world("checkerboard").data.users.ids.ids[:2].tolist()
    assert {one, other} <= saved_users(first)
    interrupted(monkeypatch, lambda: erased(second, other, scrub=False))
    assert erased(first, one, scrub=False)["saved pipelines"] == 2
    assert not {one, other} & saved_users(first)
    for server in servers:
        server.refresh()
        assert server.broken == {} and not {one, other} & everybody(server.served["default"].current.pipeline)
    named = {version.body["path"] for version in first.shelf.versions(publish.KIND, "default")}
    assert {path.name for path in first.folder.iterdir()} == named  # nothing half-done is left


def test_a_version_published_during_an_erasure_is_reached(servers, monkeypatch):
    first, second = servers
    one = world("checkerboard").data.users.ids.ids[0]
    body = second.shelf.get(publish.KIND, "default").body
    pipeline = publish.load(second.folder / body["path"])

    def publishes():
        path = publish.saved(pipeline, second.folder, "default")
        second.shelf.put(publish.KIND, "default", {**body, "path": path}, activate=True)

    interrupted(monkeypatch, publishes)
    assert erased(first, one, scrub=False)["saved pipelines"] == 2
    assert one not in saved_users(first)


def test_learning_from_a_version_that_was_written_anew_is_not_published(servers, monkeypatch):
    first, second = servers
    monkeypatch.setattr(learning, "_learns", lambda pipeline: True)
    monkeypatch.setattr(learning, "outcomes_of", lambda *_, **__: ["a list"])
    pipeline = first.served["default"].current.pipeline
    monkeypatch.setattr(type(pipeline), "learn", lambda self, exposures: self)
    usual = learning.saved
    one = world("checkerboard").data.users.ids.ids[0]

    def saved(*args):
        erased(second, one, scrub=False)
        return usual(*args)

    monkeypatch.setattr(learning, "saved", saved)
    with pytest.raises(StateError, match="another version"):
        learning.learned(first, "default", days=1.0)
    assert one not in saved_users(first) and len(list(first.folder.iterdir())) == 1


def test_results_of_jobs_lose_the_users_of_both(servers, monkeypatch):
    first, second = servers
    job = first.shelf.add_job("recommend", {})
    first.shelf.claim_job("w", ("recommend",))
    scratch = folder_of(first, job.id)
    scratch.mkdir(parents=True)
    one, other, third = world("checkerboard").data.users.ids.ids[:3].tolist()
    pl.DataFrame({"user_id": [one, other, third]}).write_parquet(scratch / "lists.parquet")
    usual, done = pl.DataFrame.write_parquet, []

    def written(table, path, *args, **more):
        if not done:
            done.append(True)
            erased(second, other, scrub=False)
        return usual(table, path, *args, **more)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", written)
    assert erased(first, one, scrub=False)["files of jobs"] == 1
    assert pl.read_parquet(scratch / "lists.parquet")["user_id"].to_list() == [third]
    assert [path.name for path in scratch.iterdir()] == ["lists.parquet"]


def test_erasures_of_everybody_at_once(servers):
    users = world("checkerboard").data.users.ids.ids[:6].tolist()
    acts = [lambda i=i, user=user: erased(servers[i % 2], user, scrub=False) for i, user in enumerate(users)]
    assert [one for one in at_once(*acts) if isinstance(one, Exception)] == []
    assert not set(users) & saved_users(servers[0])


def test_changes_of_one_item_and_one_user_at_once_all_count(shelves):
    """Eight writers, each on a field of its own, four on either server."""
    first = shelves[0]
    first.put_items([ItemRow("a", "A", attributes={"kept": True})])

    def writer(number):
        shelf, name = shelves[number % 2], f"field{number}"

        def more(old):
            return replace(old, attributes={**old.attributes, name: old.attributes.get(name, 0) + 1})

        def act():
            for _ in range(5):
                shelf.change_item("a", more)
                shelf.change_user("u", more)

        return act

    assert at_once(*(writer(number) for number in range(8))) == [None] * 8
    wanted = {f"field{number}": 5 for number in range(8)}
    assert first.item("a").attributes == wanted | {"kept": True} and first.user("u").attributes == wanted
    assert first.change_item("nothing", lambda old: old) is None
    first.delete_item("a")
    assert first.change_item("a", lambda old: old) is None
