import numpy as np
import pytest

from hexarec.classic import Because
from hexarec.core import Catalog, Dataset, Event, IdTable, Interactions, Item, Lists, Queries, Users, strings
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


def grounds(liked, item):
    """What the reason for an item rests on for somebody who liked these, and its sentence."""
    queries = Queries.one(CATALOG, history=[Event("", one, float(n), "like") for n, one in enumerate(liked)])
    shown = Lists.of(CATALOG.key, [CATALOG.rows([item]).tolist()])
    made = Because().fit(DATA).explain(queries, shown, None)[0]
    kinds = [(one.kind, CATALOG.ids(np.array(one.items, np.int64))) for one in made.evidence[0]]
    return kinds, made.items[0].text


def test_an_item_that_was_met_is_no_reason_for_itself():
    """A list may show what was met already; the item shares everything with itself."""
    kinds, said = grounds(["ran", "land", "her"], "her")
    assert kinds[0] == ("history", ["land"]) and "Because you liked La La Land" in said
    assert [kind for kind, _ in grounds(["her"], "her")[0]] == ["popularity"]


@pytest.mark.parametrize(
    ("said", "status"),
    [("喜欢《Her》的爱情，也会喜欢《La La Land》。", "ok"), ("《Her》很像《La La Land》。", "template")],
)
def test_shared_values_are_called_by_their_words_in_the_language_of_who_asks(said, status):
    catalog = CATALOG.with_text("genres", "zh", strings(["爱情、剧情", "爱情、音乐", "战争"]), {"maker": "test"})
    data = Dataset(catalog, LOG, Users(IdTable.of(["u"])))
    query = Queries.one(catalog, history=[Event("", "her", 0.0, "like")], lang="zh")
    shown = Lists(catalog.key, np.array([0, 1]), np.array([1], np.int32), np.array([1.0], np.float32))
    plain = Because(fields=("genres",)).fit(data).explain(query, shown, None)[0].items[0]
    assert "爱情" in plain.text and "romance" not in plain.text
    words = Because(Scripted(lambda prompt: said), fields=("genres",)).fit(data).explain(query, shown, None)[0].items[0]
    assert words.status == status
