"""Items by id and by title: what holds some words, and what is near to words that name nothing."""

import pytest

from hexarec.core import Catalog, Item
from hexarec.parts import named_items
from hexarec.parts.named_items import Grounder

FILMS = Catalog.of([
    Item("f1", "Alien", titles={"zh": "异形"}), Item("f2", "Aliens"), Item("f3", "Solaris", titles={"zh": "飞向太空"}),
    Item("f4", "The Illusionist"), Item("f5", "Prometheus", "no alien in the title"),
])  # fmt: skip


def test_holding():
    finder = Grounder(FILMS)
    assert finder.holding("ali") == ["f1", "f2"] and finder.holding("LIEN") == ["f1", "f2"]
    assert finder.holding("形") == ["f1"] and finder.holding("illus") == ["f4"]
    assert finder.holding("") == [] == finder.holding("  ") == finder.holding("xyz")
    assert finder.holding("a", most=1) == ["f1"]


def test_deleted_items_are_not_found():
    from dataclasses import replace

    import numpy as np

    left = Grounder(replace(FILMS, alive=np.array([False, True, True, True, True])))
    assert left.holding("alien") == ["f2"]


def test_near():
    finder = Grounder(FILMS)
    assert finder.near("Alein")[0] == "Alien" and "Solaris" in finder.near("Solarys")
    assert finder.near("") == []


@pytest.mark.parametrize("compared", [2, 1_000])
def test_of_a_large_catalog_those_that_share_a_word_are_compared(monkeypatch, compared):
    monkeypatch.setattr(named_items, "COMPARED", compared)
    finder = Grounder(FILMS)
    assert "The Illusionist" in finder.near("The Illusionists")
    assert (finder.near("Pmetheu") == ["Prometheus"]) == (compared == 1_000)


def test_of_long_words_and_many_titles_only_so_much_is_compared(monkeypatch):
    finder, compared = Grounder(Catalog.of([Item(f"i{i}", f"{'abcdefgh ' * 8}{i}") for i in range(3_000)])), []

    def matches(wanted, titles, **_):
        compared.append((len(wanted), len(titles)))
        return []

    monkeypatch.setattr(named_items.difflib, "get_close_matches", matches)
    finder.near("abcdefgh " * 20)
    assert compared == [(named_items.LONGEST, named_items.COMPARED)]
