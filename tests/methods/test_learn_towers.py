from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from hexarec.classic import Popular  # noqa: E402
from hexarec.core import (  # noqa: E402
    DataError,
    Interactions,
    Item,
    LineageError,
    OptionError,
    Queries,
    StateError,
    load,
    run,
    save,
)
from hexarec.core import forget as core_forget  # noqa: E402
from hexarec.data.worlds import world  # noqa: E402
from hexarec.eval.estimate import estimate  # noqa: E402
from hexarec.lm.open import open_encoder  # noqa: E402
from hexarec.methods.frozen_encoder import FrozenEncoder  # noqa: E402
from hexarec.methods.learn_towers import LearnTowers  # noqa: E402
from hexarec.parts.encoded import forget_encoded  # noqa: E402
from hexarec.pipeline.build import build, resolve  # noqa: E402
from hexarec.testing._measures import recall_at  # noqa: E402

COLD = world("cold")
DATA = COLD.data
TFIDF = open_encoder("tfidf")
QUICK = {"width": 16, "layers": 1, "out": 8, "history": 8, "epochs": 6, "batch": 32, "rate": 3e-3, "patience": 0}
BETTER = {
    "start": "random",
    "dropout": 0.1,
    "width": 32,
    "out": 16,
    "batch": 32,
    "rate": 3e-3,
    "epochs": 60,
    "patience": 10,
}


def quick(data=DATA, encoder=TFIDF, seed=0, **options):
    return LearnTowers(encoder, **{**QUICK, **options}).fit(data, seed=seed)


@pytest.fixture(scope="module")
def learned():
    return LearnTowers(TFIDF, **BETTER).fit(DATA)


def log_of(pairs, data=DATA):
    """The data set with only these (user, item) events, one a second."""
    user, item = np.array(pairs).T
    return data.with_log(Interactions.of({"user": user, "item": item, "time": np.arange(len(user))}, data.n_users))


class Counted:
    """Letter counts as an encoder; remembers what it encoded."""

    name, spec, dim = "test:counted", "test:counted", 26

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        rows = np.array([[text.casefold().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32) + 0.01
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# -------------------------------------------------------------- what the paper says
def test_new_items_are_found_by_taste_and_the_id_model_finds_none(learned):
    ids = LearnTowers(TFIDF, inputs="ids", **BETTER).fit(DATA)
    assert recall_at(5)(learned, COLD) > 0.8 and recall_at(5)(ids, COLD) < 0.1
    cold = DATA.interactions.counts(DATA.n_items) == 0
    assert not ids.items()[cold].any() and ids.items()[~cold].any(axis=1).all()


def test_alignment_changes_what_is_near():
    drift = world("drift")
    aligned, raw = LearnTowers(TFIDF, **BETTER).fit(drift.data), FrozenEncoder(TFIDF, dim=32).fit(drift.data)
    assert recall_at(5)(aligned, drift) > recall_at(5)(raw, drift) + 0.15


def test_dense_pairs_learn_more_than_the_last_place_in_equal_steps():
    trap = world("trap")
    dense, last = (
        LearnTowers(TFIDF, loss=loss, **{**BETTER, "epochs": 20, "patience": 0}).fit(trap.data)
        for loss in ("dense", "last")
    )
    assert len(dense.curve_["losses"]) == len(last.curve_["losses"])
    assert recall_at(3)(dense, trap) > recall_at(3)(last, trap) + 0.1


@pytest.mark.parametrize("target", ["sequence", "single", "raw"])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_every_tower_gives_unit_vectors_of_one_length(target, layers):
    stage = quick(target=target, layers=layers, epochs=1)
    users, items = stage.users(COLD.queries), stage.items()
    assert users.shape[1] == items.shape[1] == (TFIDF.dim if target == "raw" else 8)
    for rows in (users, items):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert users.dtype == items.dtype == np.float32


def test_raw_targets_are_the_encoders_own_vectors_whatever_is_learned():
    one, other = (quick(target="raw", epochs=n).items() for n in (1, 3))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(quick(target="single", epochs=1).items() - quick(target="single", epochs=3).items()).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [{"sampling": "uniform"}, {"cut": "time"}, {"temperature": 0.3}, {"dropout": 0.5}, {"places": 4}, {"positives": 1},
     {"targets": 2}, {"history": 3}, {"decay": 0.5}, {"share": 0.3}, {"fields": ("genres",)}, {"heads": 4}],
)  # fmt: skip
def test_every_option_changes_what_is_learned(options):
    drift, few = world("drift"), {"epochs": 2, "places": 3, "positives": 2}
    plain, other = (quick(drift.data, **{**few, **more}) for more in ({}, options))
    assert np.abs(plain.users(drift.queries) - other.users(drift.queries)).max() > 1e-4
    assert np.isfinite(other.users(drift.queries)).all()


# -------------------------------------------------------------- what is served
def test_an_added_item_is_one_encoding_and_one_pass_and_is_found(learned):
    encoder = Counted()
    stage = quick(encoder=encoder, epochs=2)
    encoder.seen.clear()
    forget_encoded()
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale about the robot and its people.")])
    larger = stage.extend(grown.catalog)
    assert len(encoder.seen) == 1 and "Robot story 99" in encoder.seen[0]
    assert np.array_equal(larger.items()[:-1], stage.items()) and larger.extend(grown.catalog) is larger
    tales = learned.extend(grown.catalog)
    robots = grown.queries(np.array([1]))  # a user of robots
    assert DATA.n_items in tales.retrieve(robots, 6).items
    with pytest.raises(LineageError):
        stage.extend(world("trap").data.catalog)


def test_vectors_that_were_made_before_are_not_encoded_again():
    encoder = Counted()
    enriched = FrozenEncoder(encoder, fields=LearnTowers(encoder).fields).enrich(DATA)
    encoder.seen.clear()
    forget_encoded()
    after = quick(enriched, encoder, epochs=1).items()
    assert encoder.seen == []
    np.testing.assert_array_equal(after, quick(encoder=Counted(), epochs=1).items())


def test_strangers_get_what_is_popular_and_a_known_user_what_fit_read(learned):
    nobody = Queries.one(DATA.catalog, user="stranger")
    popular = Popular().fit(DATA)
    assert np.array_equal(learned.retrieve(nobody, 3).scores, popular.retrieve(nobody, 3).scores / popular.retrieve(nobody, 1).scores)  # fmt: skip
    told = DATA.queries(np.array([3]))
    silent = told.with_history(told.history.where(np.zeros(len(told.history.item), bool)))
    np.testing.assert_allclose(learned.users(silent), learned.users(told), atol=1e-5)
    assert not learned.users(nobody).any()


def test_what_was_not_liked_says_nothing(learned):
    told = DATA.queries(np.array([3]))
    disliked = told.with_history(replace(told.history, liked=np.zeros(len(told.history.item), bool)))
    assert not learned.users(disliked).any()


def test_a_forgotten_user_is_a_stranger(learned):
    told = DATA.queries(np.array([3]))
    silent = told.with_history(told.history.where(np.zeros(len(told.history.item), bool)))
    after = core_forget(learned, silent.user_ids())
    assert learned.users(silent).any() and not after.users(silent).any() and after.stale_


def test_items_without_words_stand_in_the_middle_and_harm_nobody():
    mute = DATA.with_items([Item("mute", ""), Item("still", "")])
    stage = quick(mute)
    assert np.array_equal(stage.rows_[-1], stage.rows_[-2]) and np.isfinite(stage.items()).all()
    np.testing.assert_allclose(stage.rows_[-1], stage.weights_["adaptor.bias"], atol=1e-6)
    catalog = replace(DATA.catalog, titles=np.full(DATA.n_items, "", object), texts=np.full(DATA.n_items, "", object))
    with pytest.raises(DataError, match="has words in title, text") as caught:
        quick(replace(DATA, catalog=catalog), fields=("title", "text"))
    assert caught.value.hint == "name other fields"
    quick(replace(DATA, catalog=catalog), fields=("title", "text"), inputs="ids", epochs=1)  # ids read no words


def test_chinese_words_are_read():
    zh = replace(DATA, catalog=replace(DATA.catalog, titles=DATA.catalog.words("title", "zh"), texts=DATA.catalog.words("text", "zh"), lang="zh"))  # fmt: skip
    stage = LearnTowers(TFIDF, **BETTER, fields=("title", "text")).fit(zh)
    assert recall_at(5)(stage, replace(COLD, data=zh, queries=zh.queries(now=COLD.queries.now[0]))) > 0.8


def test_too_few_users_are_refused_with_what_learns_from_none():
    for pairs in ([(0, 1), (1, 2), (2, 3)], [(0, 1), (0, 2), (1, 2)]):
        with pytest.raises(DataError, match="two things or more") as caught:
            quick(log_of(pairs))
        assert "frozen_encoder" in caught.value.hint
    empty = DATA.with_log(DATA.interactions.where(np.zeros(len(DATA.interactions), bool)))
    with pytest.raises(DataError):
        quick(empty)


def test_a_catalog_of_one_item_is_learned_from_and_answered():
    one = replace(DATA, catalog=world("trap").data.catalog.__class__.of([Item("only", "The only one")], key="one"))
    stage = quick(log_of([(u, 0) for u in range(4) for _ in range(3)], one))
    assert stage.retrieve(Queries.one(one.catalog), 3).items.tolist() == [0]
    assert np.isfinite(stage.items()).all() and np.isfinite(stage.curve_["losses"]).all()


def test_users_who_share_everything_are_no_counter_examples_of_each_other():
    stage = quick(log_of([*((u, i) for i in range(4) for u in (0, 1)), (2, 5)]), epochs=2)
    assert stage.curve_["losses"] == [0.0] * len(stage.curve_["losses"])
    assert all(np.isfinite(one).all() for one in stage.weights_.values())


def test_a_log_without_a_clock_is_validated_on_last_events():
    stage = quick(DATA.with_log(replace(DATA.interactions, clock=False)))
    assert len(stage.curve_["valid"]) == QUICK["epochs"]


# -------------------------------------------------------------- life
def test_saved_and_loaded_it_answers_alike_without_torch_or_encoding(learned, tmp_path):
    save(learned, tmp_path / "kept")
    again = load(tmp_path / "kept", resolve)
    assert np.array_equal(again.users(COLD.queries), learned.users(COLD.queries))
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale.")])
    assert np.array_equal(again.extend(grown.catalog).items(), learned.extend(grown.catalog).items())


def test_answers_need_no_torch(tmp_path):
    import subprocess
    import sys

    save(quick(epochs=1), tmp_path / "kept")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from hexarec.core import load\nfrom hexarec.pipeline.build import resolve\n"
        "from hexarec.data.worlds import world\n"
        f"stage = load({str(tmp_path / 'kept')!r}, resolve)\n"
        "print(len(stage.retrieve(world('cold').queries, 5).items))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(made.stdout) == 5 * len(COLD.queries)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    class Killed(Exception):
        pass

    def kill(event):
        if event["kind"] == "progress" and event["label"] == "tune" and event["done"] == 9:
            raise Killed

    whole = quick()
    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        quick()
    steps = []
    with run(scratch=tmp_path, emit=steps.append):
        again = quick()
    told = [event for event in steps if event.get("label") == "tune"]
    assert 0 < len(told) < len(whole.curve_["losses"])
    assert again.curve_ == whole.curve_ and np.array_equal(again.items(), whole.items())


def test_progress_and_time_left_are_told():
    heard = []
    with run(emit=heard.append):
        quick(epochs=2)
    told = [event for event in heard if event.get("label") == "tune"]
    assert told and told[-1]["done"] == told[-1]["total"] and {"seconds", "eta"} & set(told[-1])


def test_seeds_decide_and_the_global_generator_is_left_alone():
    import torch

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = quick(), quick(), quick(seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(one.items(), same.items()) and not np.array_equal(one.items(), other.items())


def test_early_stopping_keeps_the_best_and_ends():
    stage = LearnTowers(TFIDF, **{**QUICK, "epochs": 60, "patience": 3}).fit(DATA)
    values = [value for _, value in stage.curve_["valid"]]
    assert len(values) < 60 and stage.curve_["best"] == stage.curve_["valid"][int(np.argmax(values))][0]


def test_an_estimate_counts_the_texts_and_asks_no_model():
    told = estimate(LearnTowers(TFIDF, **QUICK), DATA, 100)
    assert told.texts == len(set(DATA.catalog.titles)) and told.calls == 0 and told.fit_seconds > 0


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"layers": -1}, {"heads": 3}, {"out": 0}, {"history": 0}, {"targets": 0}, {"places": 0},
     {"positives": 0}, {"epochs": 0}, {"batch": 1}, {"dropout": 1.0}, {"temperature": 0.0}, {"patience": -1},
     {"most_valid": 0}, {"inputs": "ids", "target": "raw"}, {"target": "towers"}, {"loss": "sparse"}, {"cut": "now"}],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        LearnTowers(TFIDF, **options)


def test_words_that_are_no_choice_are_refused_by_the_builder():
    for name, value in (("target", "towers"), ("loss", "sparse"), ("sampling", "old"), ("cut", "now"), ("inputs", "x")):
        with pytest.raises(OptionError, match=name):
            build("learn_towers", {"encoder": "tfidf", name: value})


def test_before_fit_it_says_so():
    with pytest.raises(StateError):
        LearnTowers(TFIDF).retrieve(COLD.queries, 3)
