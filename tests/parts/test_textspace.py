from hexarec.core import Catalog, Item
from hexarec.lm.open import open_encoder
from hexarec.parts.textspace import LatestSpace

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
