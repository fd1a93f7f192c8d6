from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from hexarec.core import Catalog, DataError, Filter, Item, strings
from hexarec.testing.strategies import catalogs

from .makers import catalog_of


def items_equal(one, other):
    return list(one) == list(other)


@given(catalogs())
def test_items_come_back_as_they_went_in(catalog):
    assert items_equal(Catalog.of(list(catalog)), catalog)
    assert Catalog.of(list(catalog)).digest == Catalog.of(list(catalog)).digest


def test_attributes_that_are_missing_are_left_out_of_an_item():
    catalog = Catalog.of([Item("a", "A", attributes={"year": 1990, "cast": ["x", "y"]}), Item("b", "B")])
    assert catalog["a"].attributes == {"year": 1990.0, "cast": ("x", "y")} and catalog["b"].attributes == {}
    assert catalog.attributes["year"].dtype == np.float64 and catalog.attributes["cast"].dtype == object


def test_a_column_with_words_among_its_numbers_keeps_both():
    catalog = Catalog.of([Item("a", "A", attributes={"size": 3}), Item("b", "B", attributes={"size": "large"})])
    assert catalog.attributes["size"].tolist() == [3, "large"]


@pytest.mark.parametrize("bad", ["", None, 3])
def test_an_item_without_a_proper_id_is_refused(bad):
    with pytest.raises(DataError, match="no id"):
        Catalog.of([Item(bad, "A")])


def test_lookup_by_id_and_by_row():
    catalog = catalog_of(3)
    assert catalog.rows(["i2", "nope", "i0"]).tolist() == [2, -1, 0] and catalog.ids(np.array([2, 0])) == ["i2", "i0"]
    assert catalog["i1"].title == "Title 1" and len(catalog) == 3
    with pytest.raises(DataError, match="no item 'nope'"):
        catalog["nope"]


@given(catalogs(), catalogs())
def test_extending_never_renumbers_and_appends_only_new_ids(old, new):
    more = [replace(item, id=f"{item.id}x" if place % 2 else item.id) for place, item in enumerate(new)]
    grown = old.extend(more)
    assert grown.key == old.key and grown.items.ids[: len(old)].tolist() == old.items.ids.tolist()
    assert list(grown)[: len(old)] == list(old)
    added = [item for item in more if item.id not in old.items]
    assert list(grown)[len(old) :] == added and grown.extend(more) is not None and len(grown.extend(more)) == len(grown)


def test_extending_keeps_number_columns_numbers_even_when_new_items_lack_them():
    old = Catalog.of([Item("a", "A", attributes={"year": 1990})])
    grown = old.extend([Item("b", "B"), Item("c", "C")]).extend([Item("d", "D", attributes={"year": 2000})])
    assert grown.attributes["year"].dtype == np.float64
    assert grown.mask(Filter("exists", "year")).tolist() == [True, False, False, True]


def test_extending_adds_columns_and_languages_that_were_unknown():
    old = Catalog.of([Item("a", "A")])
    grown = old.extend([Item("b", "B", attributes={"brand": "X"}, titles={"zh": "乙"})])
    assert "brand" not in grown["a"].attributes and grown["b"].attributes == {"brand": "X"}
    assert grown.words("title", "zh").tolist() == ["A", "乙"]


def test_removing_leaves_a_tombstone_and_the_original_alone():
    old = catalog_of(3)
    gone = old.remove(["i1", "unknown"])
    assert gone.alive.tolist() == [True, False, True] and old.alive.all()
    assert len(gone) == 3 and gone.key == old.key and gone.digest != old.digest
    assert gone.extend([Item("i1", "again")]).alive.tolist() == [True, False, True]


def test_words_fall_back_to_the_catalogs_language_row_by_row():
    catalog = Catalog.of([Item("a", "A", titles={"zh": "甲"}), Item("b", "B")])
    assert catalog.words("title", "zh").tolist() == ["甲", "B"]
    assert catalog.words("title", "fr").tolist() == catalog.words("title").tolist() == ["A", "B"]


def test_an_enrichers_text_stands_beside_the_others_with_who_made_it():
    catalog = catalog_of(2).with_text("summary", "en", strings(["short", None]), {"maker": "test"})
    assert catalog.words("summary").tolist() == ["short", ""]
    assert catalog.words("summary", "zh").tolist()[0] == "short"
    assert catalog.provenance and "test" in str(catalog.provenance)
    with pytest.raises(DataError, match="no text 'nothing'; it has summary, text, title"):
        catalog.words("nothing")


@pytest.mark.parametrize("change", [
    lambda c: replace(c, titles=strings(["x"] * len(c))), lambda c: replace(c, texts=strings(["x"] * len(c))),
    lambda c: c.remove(["i0"]), lambda c: c.extend([Item("new", "New")]),
    lambda c: replace(c, attributes={"year": np.zeros(len(c))}),
    lambda c: c.with_text("summary", "en", strings(["s"] * len(c)), {}),
])  # fmt: skip
def test_every_change_changes_the_digest(change):
    assert change(catalog_of(3)).digest != catalog_of(3).digest
