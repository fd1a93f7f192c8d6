import numpy as np
import pytest

from hexarec.classic import Because
from hexarec.core import Catalog, Dataset, Event, IdTable, Interactions, Item, Lists, Queries, Users
from hexarec.lm.fake import Scripted

CATALOG = Catalog.of(
    [
        Item("her", "Her", attributes={"genres": ("romance", "drama"), "keywords": ("love",)}),
        Item("land", "La La Land", attributes={"genres": ("romance", "music"), "keywords": ("love",)}),
        Item("ran", "Ran", attributes={"genres": ("war",), "keywords": ("power",)}),
    ],
    key="three films",
)
LOG = Interactions.of({"user": [0], "item": [0], "time": [1.0]}, 1)
DATA = Dataset(CATALOG, LOG, Users(IdTable.of(["u"])))
QUERY = Queries.one(CATALOG, history=[Event("", "her", 0.0, "like")])


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("La La Land and Her are both about love.", "ok"),
        ("Sarah loves to dance and love to talk to her.", "template"),
        ("Sherlock is a story of love.", "template"),
        ("La La Land and Her are both films.", "template"),
    ],
)
def test_a_sentence_is_shown_only_when_it_names_the_film_that_was_liked_and_what_is_shared(said, status):
    stage = Because(Scripted(lambda prompt: said)).fit(DATA)
    shown = Lists(CATALOG.key, np.array([0, 1]), np.array([1], np.int32), np.array([1.0], np.float32))
    words = stage.explain(QUERY, shown, None)[0].items[0]
    assert words.status == status and (words.text == said) == (status == "ok")
