import numpy as np
import pytest

from hexarec.classic import Because, _together
from hexarec.core import Catalog, Dataset, Event, IdTable, Interactions, Item, Lists, Queries, Users, strings
from hexarec.data.worlds import world
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
    assert grounds(["her"], "her") == ([], "No reason that can be checked is known for this one.")


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


TITLES = Catalog.of([Item(name, name.title()) for name in ("old", "new", "hit", "rare", "cold")], key="titles only")


def bare(likes, liked, item, lang="en"):
    """The kinds of the grounds, the item named, and the sentence, where the catalog has titles only.

    likes: what each user of the log liked.
    """
    pairs = [(user, name) for user, own in enumerate(likes) for name in own]
    log = Interactions.of(
        {"user": [one for one, _ in pairs], "item": TITLES.rows([name for _, name in pairs]).tolist(),
         "time": list(map(float, range(len(pairs))))}, len(likes),
    )  # fmt: skip
    stage = Because().fit(Dataset(TITLES, log, Users(IdTable.of([f"u{n}" for n in range(len(likes))]))))
    history = [Event("", one, float(n), "like") for n, one in enumerate(liked)]
    query = Queries.one(TITLES, history=history, lang=lang)
    made = stage.explain(query, Lists.of(TITLES.key, [TITLES.rows([item]).tolist()]), None)[0]
    named = [TITLES.ids(np.array(one.items, np.int64)) for one in made.evidence[0]]
    return [one.kind for one in made.evidence[0]], named, made.items[0].text


@pytest.mark.parametrize(
    ("likes", "liked", "kinds", "en", "zh"),
    [
        ([["old", "hit"]], ["old"], ["history"], "Others who liked Old also liked this.", "喜欢《Old》的人也喜欢这一个。"),
        # the newest that somebody liked as well, not the newest of all
        ([["old", "hit"]], ["old", "new"], ["history"], "Others who liked Old also liked this.", "喜欢《Old》的人也喜欢这一个。"),
        ([["old"], ["hit"], ["hit"]], ["old"], ["popularity"], "Liked by many others.", "很多其他人喜欢。"),
        ([["old"], ["hit"]], ["old"], [], "No reason that can be checked is known for this one.", "目前没有可以核实的推荐理由。"),
        ([["hit"], ["hit"]], [], ["popularity"], "Liked by many; nothing is known of your taste yet.", "很多人喜欢；目前还不了解您的喜好。"),
        # who asks is the only one who liked both
        ([["old", "hit"]], ["old", "hit"], [], "No reason that can be checked is known for this one.", "目前没有可以核实的推荐理由。"),
        ([["old", "hit"], ["hit", "old"]], ["old", "hit"], ["history"], "Others who liked Old also liked this.", "喜欢《Old》的人也喜欢这一个。"),
    ],
)  # fmt: skip
def test_what_others_liked_is_said_only_where_somebody_did(likes, liked, kinds, en, zh):
    for lang, said in (("en", en), ("zh", zh)):
        found, named, text = bare(likes, liked, "hit", lang)
        assert (found, text) == (kinds, said) and (not kinds or kinds[0] != "history" or named == [["old"]])


def test_items_that_came_after_fit_and_a_stage_of_an_older_version_have_no_ground():
    assert bare([["old"], ["hit"]], ["old"], "cold")[0] == []
    stage = Because().fit(DATA)
    del stage.together_, stage.many_
    plain = Catalog.of([Item("her", "Her"), Item("ran", "Ran")], key="plain")
    query = Queries.one(plain, history=[Event("", "her", 0.0, "like")])
    assert stage.explain(query, Lists.of(plain.key, [[1]]), None)[0].evidence == ((),)


def test_the_table_of_what_was_liked_together_is_exact_on_a_small_log_and_bounded_on_a_large_one(monkeypatch):
    data = world("checkerboard").data
    seen = np.asarray((data.interactions.matrix(data.n_items) > 0).toarray(), np.int64)
    true = seen.T @ seen
    np.fill_diagonal(true, 0)
    monkeypatch.setattr(_together, "NEWEST", 10_000)
    monkeypatch.setattr(_together, "KEPT", data.n_items)
    assert np.array_equal(_together.liked_together(data).toarray(), np.minimum(true, 2))
    monkeypatch.setattr(_together, "KEPT", 2)
    few = _together.liked_together(data).toarray()
    assert 0 < few.sum() and ((few > 0).sum(1) <= 2).all() and (few <= np.minimum(true, 2)).all()
    rows = np.flatnonzero((few > 0).any(1))
    assert all(true[row][few[row] > 0].min() >= np.sort(true[row])[-2] for row in rows), "those of most users stay"
