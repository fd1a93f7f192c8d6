"""A tenant takes up what changed, also after a refresh that failed half-way; what is built for it goes with it."""

import gc

import pytest

from hexarec.core import StateError
from hexarec.data.worlds import world
from hexarec.serve.live import search, tenant
from hexarec.serve.live.tenant import Tenant
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import ItemRow

DATA = world("checkerboard").data


@pytest.fixture
def opened(tmp_path):
    made = []

    def one(name="a"):
        store = open_store(f"sqlite:///{tmp_path}/{name}.sqlite")
        made.append((store, Tenant(store.of("default"), tmp_path / name)))
        return made[-1][1]

    yield one
    for store, served in made:
        served.close(1.0)
        store.close()


@pytest.fixture
def served(opened):
    made = opened()
    made.import_data(DATA)
    made.fit("p", {"retrieve": [{"use": "popular"}]})
    return made


def test_items_are_taken_up_after_a_page_that_could_not_be_read(served, monkeypatch):
    monkeypatch.setattr(tenant, "PAGE", 1)
    read, calls = served.shelf.items, []

    def once(**asked):
        calls.append(asked)
        if len(calls) == 2:
            raise StateError("busy")
        return read(**asked)

    monkeypatch.setattr(served.shelf, "items", once)
    served.shelf.put_items([ItemRow("new1", "One"), ItemRow("new2", "Two")])
    with pytest.raises(StateError):
        served.refresh()
    served.refresh()
    assert "new1" in served.catalog.items and "new2" in served.catalog.items


def test_pipelines_serve_new_items_after_a_refresh_that_broke_off(served, monkeypatch):
    served.shelf.put_items([ItemRow("new1", "One")])
    with monkeypatch.context() as broken:
        broken.setattr(served.shelf, "item_counts", lambda after: (_ for _ in ()).throw(StateError("busy")))
        with pytest.raises(StateError):
            served.refresh()
    served.refresh()
    assert "new1" in served.recommender("p").current.catalog.items


def test_a_pipeline_that_cannot_take_items_up_does_not_keep_them_from_the_others(served, monkeypatch):
    served.fit("q", {"retrieve": [{"use": "popular"}]})
    whole = tenant.on_catalog

    def picky(generation, *rest):
        if generation.name == "p":
            raise StateError("no room")
        return whole(generation, *rest)

    monkeypatch.setattr(tenant, "on_catalog", picky)
    served.shelf.put_items([ItemRow("new1", "One")])
    served.refresh()
    assert "new1" in served.recommender("q").current.catalog.items and "no room" in served.broken["p"]
    monkeypatch.setattr(tenant, "on_catalog", whole)
    served.refresh()
    assert "new1" in served.recommender("p").current.catalog.items and not served.broken


def test_what_is_searched_belongs_to_one_tenant_and_goes_with_it(opened):
    left, right = opened("left"), opened("right")
    left.shelf.put_items([ItemRow("l", "apple")])
    right.shelf.put_items([ItemRow("r", "apple")])
    for one in (left, right):
        one.refresh()
    assert [one["item_id"] for one in search.searched(left, "apple", 3)] == ["l"]
    kept = search._BUILT[left]
    assert [one["item_id"] for one in search.searched(right, "apple", 3)] == ["r"] and search._BUILT[left] is kept
    before = len(search._BUILT)
    other = Tenant(left.shelf, left.folder)
    other.refresh()
    search.searched(other, "apple", 3)
    del other
    gc.collect()
    assert len(search._BUILT) == before
