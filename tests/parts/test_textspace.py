import numpy as np
import pytest

from hexarec.core import Catalog, Item, Queries
from hexarec.lm.open import open_encoder
from hexarec.parts.textspace import LatestSpace, TextSpace

BOOKS = Catalog.of([Item(f"b{n}", f"A book about {word}") for n, word in enumerate(["dragons", "clocks", "tea"])])
FILMS = Catalog.of([Item(f"f{n}", f"A film about {word}") for n, word in enumerate(["war", "love"])])


def test_the_space_of_the_latest_catalog_is_kept_and_makes_room_for_the_next():
    latest, encoder = LatestSpace(("title",)), open_encoder("tfidf")
    books = latest.of(BOOKS, encoder)
    assert latest.of(BOOKS, encoder) is books and len(books.vectors_) == len(BOOKS)
    assert len(latest.of(FILMS, encoder).vectors_) == len(FILMS)
    assert latest.of(BOOKS, encoder) is not books


def test_another_encoder_makes_its_own_space_and_none_makes_none():
    latest, encoder = LatestSpace(("title",)), open_encoder("tfidf")
    books = latest.of(BOOKS, encoder)
    assert latest.of(BOOKS, open_encoder("tfidf")) is not books
    assert latest.of(BOOKS, None) is None


@pytest.mark.parametrize("late", [False, True], ids=["fitted", "extended"])
def test_items_without_text_stand_nowhere(late):
    """An empty text centred is minus the mean: a place of its own, where all empty texts would be neighbours."""
    mute = [Item(f"mute{n}", "") for n in range(3)]
    whole = BOOKS.extend(mute)
    space = TextSpace(open_encoder("tfidf"), ("title",)).fit(BOOKS if late else whole).extend(whole)
    assert not space.vectors_[len(BOOKS) :].any() and space.vectors_[: len(BOOKS)].any(axis=1).all()
    both, alone = (Queries.one(whole, history=history) for history in (["b0", "mute0"], ["b0"]))
    np.testing.assert_allclose(space.taste(both, 10), space.taste(alone, 10), atol=1e-5)
    assert not space.taste(Queries.one(whole, history=["mute0"]), 10).any()
