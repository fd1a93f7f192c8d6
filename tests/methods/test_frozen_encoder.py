import numpy as np
import pytest

from hexarec.classic import IALS
from hexarec.core import Item, OptionError, Queries, load, save
from hexarec.data.worlds import world
from hexarec.lm.open import open_encoder
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.parts.encoded import forget_encoded
from hexarec.pipeline.build import resolve

WORLD = world("cold")
DATA = WORLD.data


@pytest.fixture(autouse=True)
def nothing_encoded_before():
    forget_encoded()


class Letters:
    """Texts as letter counts with a large common part, as decoders crowd theirs; remembers what it encoded."""

    name, spec, dim = "test:letters", "test:letters", 27

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        counts = np.array(
            [[3.0 * len(text), *(text.casefold().count(chr(97 + n)) for n in range(26))] for text in texts]
        )
        counts = counts.reshape(len(texts), 27) + 1e-3
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def mean_cosine(rows):
    near = rows @ rows.T
    n = len(rows)
    return float((near.sum() - np.trace(near)) / (n * (n - 1)))


def test_whitening_spreads_vectors_that_crowd_in_one_cone():
    raw = FrozenEncoder(Letters(), whiten=False).fit(DATA).items()
    spread = FrozenEncoder(Letters(), whiten=True).fit(DATA).items()
    assert mean_cosine(raw) > 0.9 and abs(mean_cosine(spread)) < 0.1


def test_vectors_are_unit_rows_and_as_many_axes_as_wanted():
    rows = FrozenEncoder(Letters(), dim=5).fit(DATA).items()
    assert rows.shape == (DATA.n_items, 5) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_a_user_has_the_same_vector_in_any_batch():
    stage = FrozenEncoder(open_encoder("tfidf"), dim=16).fit(DATA)
    together = stage.users(WORLD.queries)
    for i in (0, 17, len(WORLD.queries) - 1):
        np.testing.assert_allclose(stage.users(WORLD.queries.take(np.array([i])))[0], together[i], atol=1e-6)
    turned = stage.users(WORLD.queries.take(np.arange(len(WORLD.queries))[::-1]))
    np.testing.assert_allclose(turned[::-1], together, atol=1e-6)


def test_a_user_is_the_decayed_mean_of_the_last_liked_items():
    stage = FrozenEncoder(Letters(), whiten=False, last=2, decay=0.5).fit(DATA)
    ids = DATA.catalog.items.ids
    made = stage.users(Queries.one(DATA.catalog, history=[ids[0], ids[1], ids[2]]))[0]
    expected = stage.items()[2] + 0.5 * stage.items()[1]
    np.testing.assert_allclose(made, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_written_request_counts_beside_the_history():
    stage = FrozenEncoder(open_encoder("tfidf"), dim=16).fit(DATA)
    asked = Queries.one(DATA.catalog, text="A robot tale about the robot and its people.")
    titles = DATA.catalog.titles[stage.retrieve(asked, 4).items]
    assert all(title.startswith("Robot") for title in titles)
    assert not stage.users(Queries.one(DATA.catalog)).any()


def test_items_without_events_are_found_by_their_text():
    lists = FrozenEncoder(open_encoder("tfidf"), dim=32).fit(DATA).retrieve(WORLD.queries, 10)
    cold = [len({*one.items.tolist()} & {*WORLD.truth[i].items.tolist()}) for i, one in enumerate(lists)]
    assert np.mean(cold) > 1.5


def test_extend_encodes_new_rows_only_and_leaves_the_old_ones_alone():
    encoder = Letters()
    stage = FrozenEncoder(encoder).fit(DATA)
    encoder.seen.clear()
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale about the robot and its people.")])
    forget_encoded()  # so that only what extend itself leaves out is not paid for
    larger = stage.extend(grown.catalog)
    assert len(encoder.seen) == 1 and "Robot story 99" in encoder.seen[0]
    assert np.array_equal(larger.items()[: DATA.n_items], stage.items()) and len(stage.items()) == DATA.n_items
    assert DATA.n_items in larger.retrieve(grown.queries([1]), 20).items
    assert larger.extend(grown.catalog) is larger


def test_a_loaded_stage_still_encodes_new_items(tmp_path):
    stage = FrozenEncoder(open_encoder("tfidf"), dim=16).fit(DATA)
    again = load(save(stage, tmp_path / "kept"), resolve)
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale about the robot and its people.")])
    assert np.array_equal(again.extend(grown.catalog).items(), stage.extend(grown.catalog).items())


def test_enrich_pays_for_new_and_changed_rows_only():
    encoder = Letters()
    stage = FrozenEncoder(encoder)
    first = stage.enrich(DATA)
    assert len(encoder.seen) == DATA.n_items == len(first.features[stage.feature].rows)
    encoder.seen.clear()
    forget_encoded()
    assert np.array_equal(stage.enrich(first).features[stage.feature].rows, first.features[stage.feature].rows)
    assert encoder.seen == []
    larger = stage.enrich(first.with_items([Item("a", "New one"), Item("b", "New two")]))
    assert len(encoder.seen) == 2 and len(larger.features[stage.feature].rows) == DATA.n_items + 2
    assert np.array_equal(larger.features[stage.feature].rows[:-2], first.features[stage.feature].rows)


def test_enrich_encodes_equal_texts_once():
    encoder = Letters()
    twins = DATA.with_items([Item("x", "Same"), Item("y", "Same")])
    FrozenEncoder(encoder, fields=("title",)).enrich(twins)
    assert len(encoder.seen) == DATA.n_items + 1


def test_fit_takes_the_vectors_that_enrich_left():
    encoder = Letters()
    stage = FrozenEncoder(encoder)
    enriched = stage.enrich(DATA)
    encoder.seen.clear()
    forget_encoded()
    after, direct = stage.fit(enriched).items(), FrozenEncoder(Letters()).fit(DATA).items()
    assert encoder.seen == [] and np.array_equal(after, direct)


def test_new_rows_of_a_learning_encoder_share_the_space_of_the_kept_ones():
    stage = FrozenEncoder(open_encoder("tfidf"))
    item = DATA.catalog.item(1)
    more = [Item("twin", item.title, item.text, {**item.attributes, "genres": ("robot", "jazz")}),
            *(Item(f"z{n}", f"Volcano {n}", "A volcano erupts, lava everywhere.", {"genres": ("lava",)}) for n in range(30))]  # fmt: skip
    rows = stage.enrich(stage.enrich(DATA).with_items(more)).features[stage.feature].rows
    assert rows[1] @ rows[DATA.n_items] > 0.9


def test_the_feature_says_who_made_it():
    made = FrozenEncoder(Letters()).enrich(DATA).features["text:test:letters"]
    assert (
        made.provenance["maker"] == "frozen_encoder" and made.provenance["model"] == "test:letters" and made.mask.all()
    )


def test_fused_with_ids_both_blocks_count_by_their_share():
    def fused(share):
        return FrozenEncoder(open_encoder("tfidf"), dim=16, ids=IALS(factors=8, sweeps=2), text_weight=share).fit(DATA)

    both, text = fused(0.5), FrozenEncoder(open_encoder("tfidf"), dim=16).fit(DATA)
    assert both.items().shape[1] == text.items().shape[1] + both.ids_.items().shape[1]
    pool = both.retrieve(WORLD.queries, DATA.n_items)
    assert np.array_equal(fused(1.0).rank(WORLD.queries, pool).items, text.rank(WORLD.queries, pool).items)
    users = fused(0.0).users(WORLD.queries)
    assert not users[:, : text.items().shape[1]].any() and users.any()


def test_fused_items_that_the_ids_never_met_have_text_only():
    stage = FrozenEncoder(open_encoder("tfidf"), dim=16, ids=IALS(factors=8, sweeps=2)).fit(DATA)
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale about the robot and its people.")])
    row = stage.extend(grown.catalog).items()[-1]
    assert row[: stage.text_.shape[1]].any() and not row[stage.text_.shape[1] :].any()


MUTE = [Item(f"mute{n}", "") for n in range(6)]


@pytest.mark.parametrize("encoder", [open_encoder("tfidf"), Letters()], ids=["tfidf", "letters"])
@pytest.mark.parametrize("late", [False, True], ids=["fitted", "extended"])
def test_items_without_text_are_nobodys_neighbours(encoder, late):
    """An empty text centred is minus the mean: the nearest neighbour of every other empty text."""
    grown = DATA.with_items(MUTE)
    stage = FrozenEncoder(encoder, fields=("title", "text")).fit(DATA if late else grown).extend(grown.catalog)
    asked = Queries.one(grown.catalog, history=["i001", "mute0"])
    assert not stage.items()[DATA.n_items :].any() and stage.items()[: DATA.n_items].any(axis=1).all()
    alone = Queries.one(grown.catalog, history=["i001"])
    np.testing.assert_allclose(stage.users(asked), stage.users(alone), atol=1e-5)
    whole = stage.retrieve(asked, len(grown.catalog))
    places = {item: place for place, item in enumerate(whole.items.tolist())}
    like = [item for item in places if stage.items()[item] @ stage.users(asked)[0] > 1e-6]
    assert len(like) > 5 and max(places[item] for item in like) < min(places[DATA.n_items + n] for n in range(1, 6))


def test_items_without_text_leave_the_others_where_they_are():
    plain = FrozenEncoder(Letters(), fields=("title", "text")).fit(DATA)
    among = FrozenEncoder(Letters(), fields=("title", "text")).fit(DATA.with_items(MUTE))
    np.testing.assert_allclose(among.items()[: DATA.n_items], plain.items(), atol=1e-5)


@pytest.mark.parametrize("options", [{"text_weight": 1.5}, {"text_weight": -0.1}, {"decay": 0.0}, {"decay": 1.1}])
def test_a_weight_out_of_range_is_refused(options):
    with pytest.raises(OptionError):
        FrozenEncoder(Letters(), **options)
