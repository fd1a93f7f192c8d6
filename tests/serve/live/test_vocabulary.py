"""Words of attribute values in other languages: from a data set into the store, and into every catalog made of it."""

from dataclasses import replace

import numpy as np

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, Users, strings
from hexarec.parts.said import Lexicon
from hexarec.serve.live.vocabulary import vocabulary_of, with_vocabulary
from hexarec.serve.page.values.data import health_of
from hexarec.serve.store.rows import ItemRow
from serve.conftest import backend_over

ITEMS = [
    Item("alien", "Alien", attributes={"genres": ("horror", "science-fiction"), "year": 1979}),
    Item("her", "Her", attributes={"genres": ("romance",), "year": 2013}),
    Item("bare", "Bare", attributes={"year": 2000}),
]


def catalog():
    return Catalog.of(ITEMS).with_text("genres", "zh", strings(["恐怖、科幻", "爱情", None]), {"maker": "test"})


def data():
    log = Interactions.of({"user": np.array([0]), "item": np.array([0]), "time": np.array([1.0])}, 1)
    return Dataset(catalog(), log, Users(IdTable.of(["u"])), name="d")


def test_words_by_value_and_back():
    words = vocabulary_of(catalog())
    assert words == {"genres": {"zh": {"horror": "恐怖", "science-fiction": "科幻", "romance": "爱情"}}}
    made = with_vocabulary(Catalog.of(ITEMS), words)
    assert made.text["genres", "zh"].tolist() == ["恐怖、科幻", "爱情", None]
    assert with_vocabulary(Catalog.of(ITEMS), {"no such": {"zh": {"a": "b"}}}).text == {}


def test_the_store_keeps_them_and_new_items_have_them(tmp_path):
    tenant = backend_over(tmp_path / "home").service.tenant("default")
    tenant.import_data(data())
    assert tenant.catalog.text["genres", "zh"].tolist() == ["恐怖、科幻", "爱情", None]
    tenant.shelf.put_items(
        [ItemRow("it", "It", "", {"genres": ["horror"]}), ItemRow("x", "X", "", {"genres": ["odd"]})]
    )
    tenant.refresh()
    assert tenant.catalog.text["genres", "zh"].tolist() == ["恐怖、科幻", "爱情", None, "恐怖", None]
    assert Lexicon(tenant.catalog).read("不要恐怖片，爱情的").unwanted == (("genres", "horror"),)
    again = backend_over(tmp_path / "home").service.tenant("default")
    again.refresh()
    assert again.catalog.text["genres", "zh"].tolist()[3] == "恐怖"


def test_words_that_come_later_reach_who_serves_already(tmp_path):
    """A home of before values had words: another process brings them, and no item changes with it."""
    backend = backend_over(tmp_path / "home")
    serving = backend.service.tenant("default")
    serving.import_data(replace(data(), catalog=Catalog.of(ITEMS)))
    assert serving.catalog.text == {} and not serving.refresh()
    backend_over(tmp_path / "home").service.tenant("default").import_data(data())
    assert serving.refresh() and serving.catalog.text["genres", "zh"].tolist() == ["恐怖、科幻", "爱情", None]
    assert not serving.refresh()


def test_words_that_are_taken_away_leave_who_serves_already(tmp_path):
    serving = backend_over(tmp_path / "home").service.tenant("default")
    both = catalog().with_text("genres", "de", strings(["Horror, SF", "Romanze", None]), {"maker": "test"})
    serving.import_data(replace(data(), catalog=both))
    assert set(serving.catalog.text) == {("genres", "zh"), ("genres", "de")}
    elsewhere = backend_over(tmp_path / "home").service.tenant("default")
    elsewhere.name_values(catalog())
    assert serving.refresh() and set(serving.catalog.text) == {("genres", "zh")}
    serving.shelf.put_items([ItemRow("it", "It", "", {"genres": ["horror"]})])
    elsewhere.name_values(Catalog.of(ITEMS))
    assert serving.refresh() and serving.catalog.text == {} and len(serving.catalog) == 4


def test_words_alone_are_a_change_of_the_data(tmp_path):
    """The report of health is of the catalog as it is."""
    serving = backend_over(tmp_path / "home").service.tenant("default")
    serving.import_data(replace(data(), catalog=Catalog.of(ITEMS)))
    known, before = health_of(serving), serving.state
    assert health_of(serving) is known
    backend_over(tmp_path / "home").service.tenant("default").name_values(catalog())
    assert health_of(serving) is not known and serving.state != before
