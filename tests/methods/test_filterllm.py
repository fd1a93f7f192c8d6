from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec.classic import BPR, IALS, LightGCN  # noqa: E402
from hexarec.core import (  # noqa: E402
    CapabilityError,
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
    variant,
)
from hexarec.core import forget as core_forget  # noqa: E402
from hexarec.data.worlds import world  # noqa: E402
from hexarec.eval.estimate import estimate  # noqa: E402
from hexarec.lm.cassette import Cassette  # noqa: E402
from hexarec.lm.fake import Overlap  # noqa: E402
from hexarec.lm.guard import Guarded  # noqa: E402
from hexarec.lm.open import open_encoder, open_lm  # noqa: E402
from hexarec.methods.filterllm import PROMPTS, FilterLLM  # noqa: E402
from hexarec.parts.audience import newest  # noqa: E402
from hexarec.parts.encoded import forget_encoded  # noqa: E402
from hexarec.testing._measures import audience_recall, guidance_gap, recall_at  # noqa: E402

COLD = world("cold")
DATA = COLD.data
TFIDF = open_encoder("tfidf")
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
CF = BPR(factors=16, epochs=30)
QUICK = {"rate": 3e-3, "epochs": 30, "patience": 0, "most": 10}
TUNED = {"fields": ("title",), "epochs": 2, "rate": 3e-3, "lora_rate": 1e-3, "most": 5, "patience": 0}
NEW = [Item("new", "Robot story 99", "A robot tale about the robot and its people.")]
COLD_ROWS = np.flatnonzero(DATA.interactions.counts(DATA.n_items) == 0)


def frozen(data=DATA, seed=0, **options):
    return FilterLLM(encoder=TFIDF, **{"cf": CF, **QUICK, **options}).fit(data, seed=seed)


def tuned(lm=TINY, data=DATA, seed=0, **options):
    return FilterLLM(lm, **{"cf": IALS(factors=8, sweeps=4), **TUNED, **options}).fit(data, seed=seed)


@pytest.fixture(scope="module")
def learned():
    return frozen()


@pytest.fixture(scope="module")
def read():
    return tuned()


class Failing:
    """A model whose states of some items are no numbers, as a refused or too long prompt leaves them."""

    def __init__(self, lm, word):
        self._lm, self.word = lm, word

    def __getattr__(self, name):
        return getattr(self._lm, name)

    def hidden(self, prompts, layer=-1, pool="mean"):
        made = self._lm.hidden(prompts, layer, pool)
        made[[self.word in prompt.text for prompt in prompts]] = np.nan
        return made


# -------------------------------------------------------------- what the paper says
def test_a_new_item_costs_one_forward_and_all_users_are_answered_at_once(read):
    grown = DATA.with_items([*NEW, Item("other", "Ocean story 98")])
    with run() as work:
        larger = read.extend(grown.catalog)
    assert work.ledger.calls == 2 and len(larger.items()) == DATA.n_items + 2
    with run() as work:
        every = read.audience(grown.catalog, np.array([DATA.n_items]), DATA.n_users)
    assert work.ledger.calls == 1 and set(every.users[0].tolist()) == set(range(DATA.n_users))
    assert every.p.sum() == pytest.approx(1.0, abs=1e-4)


def test_the_unchanged_collaborative_model_finds_the_new_items(learned):
    """The released code predicts users and never updates the embedding."""
    plain = CF.fit(DATA)
    assert np.array_equal(learned.users(COLD.queries), plain.users(COLD.queries))
    warm = np.setdiff1d(np.arange(DATA.n_items), COLD_ROWS)
    assert np.array_equal(learned.items()[warm], plain.items()[warm])
    assert not plain.items()[COLD_ROWS].any() and learned.items()[COLD_ROWS].any(axis=1).all()
    assert recall_at(5)(learned, COLD) > 0.9 > 0.3 > recall_at(5)(plain, COLD)


def test_the_users_found_are_those_of_the_text_and_not_the_busiest(learned):
    busiest = np.argsort(-np.diff(DATA.interactions.offsets), kind="stable")[:10]
    found = learned.audience(DATA.catalog, COLD_ROWS, 10).users
    right = np.mean([np.mean(own % 6 == row % 6) for own, row in zip(found, COLD_ROWS, strict=True)])
    assert right > 0.9 > np.mean([np.mean(busiest % 6 == row % 6) for row in COLD_ROWS])


def test_without_the_relu_signed_vectors_can_be_met(learned):
    """The released head ends in a ReLU: half of the coordinates of a collaborative vector can never be matched."""
    released = frozen(relu=True)
    assert (released.heads(DATA.catalog, COLD_ROWS) >= 0).all() and (learned.heads(DATA.catalog, COLD_ROWS) < 0).any()
    assert guidance_gap(learned, COLD) < 0.4 * guidance_gap(released, COLD)
    negative = np.minimum(released.placed_.warm, 0.0)
    assert guidance_gap(released, COLD) >= (negative**2).mean() / (released.placed_.warm**2).mean() - 1e-6


def test_every_step_moves_weights(read):
    """The released trainer has its backward pass commented out."""
    losses = read.curve_["losses"]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    tensors = read.text_.adapter["tensors"]
    assert all(np.abs(tensors[name]).max() > 0 for name in tensors if name.endswith(".B"))
    assert np.abs(read.vocabulary_.values - read._people(0)).max() > 1e-4


def test_items_that_validate_do_not_teach(monkeypatch):
    """The released code swaps its validation and test files."""
    from hexarec.parts.train import audience as training

    seen = []

    class Watched(training.Attracts):
        def __init__(self, lessons, *rest, **more):
            super().__init__(lessons, *rest, **more)
            seen.append((set(lessons.valid.tolist()), set(self._rows.tolist())))

    monkeypatch.setattr(training, "Attracts", Watched)
    frozen(epochs=1)
    ((valid, teaching),) = seen
    assert len(valid) == 5 and not valid & teaching and len(valid | teaching) == 48


def test_what_validates_is_the_distribution_that_is_served(learned):
    """The likelihood that chose the epoch, from the users that the stage names: training and serving agree."""
    liked = DATA.interactions.matrix(DATA.n_items).T.tocsr()
    warm = np.flatnonzero(DATA.interactions.counts(DATA.n_items) > 0)
    rows = warm[newest(DATA, warm, learned.share, 0)]
    found = learned.audience(DATA.catalog, rows, DATA.n_users)
    told = [
        np.log(p[np.isin(users, liked[[row]].indices)]).mean()
        for row, users, p in zip(rows, found.users, found.p, strict=True)
    ]
    assert np.mean(told) == pytest.approx(dict(learned.curve_["valid"])[learned.curve_["best"]], abs=1e-3)


def test_collaborative_vectors_are_the_better_beginning():
    assert (
        audience_recall(10)(frozen(epochs=5), COLD) > audience_recall(10)(frozen(init="random", epochs=5), COLD) + 0.2
    )


def test_guidance_pulls_the_head_towards_the_collaborative_vectors():
    gaps = [guidance_gap(frozen(guide=guide), COLD) for guide in (0.0, 1.0, 100.0)]
    assert gaps[0] > 1.5 * gaps[1] and gaps[1] >= gaps[2]


def test_debias_leads_away_from_busy_users():
    log = DATA.interactions
    keep = (log.user % 2 == 0) | (np.arange(len(log)) % 3 == 0)  # odd users have a third of the events
    data = DATA.with_log(log.where(keep))
    busy = {
        debias: np.mean(frozen(data, debias=debias).audience(data.catalog, COLD_ROWS, 10).users % 2 == 0)
        for debias in (0.0, 3.0)
    }
    assert busy[0.0] > busy[3.0] + 0.2


@pytest.mark.parametrize("update", ["bpr", "solve", "text"])
@pytest.mark.parametrize("cf", [BPR(factors=16, epochs=30), IALS(factors=16), LightGCN(factors=16, epochs=30)])
def test_any_backbone_and_any_update_place_new_items(update, cf):
    stage = frozen(cf=cf, update=update)
    assert np.isfinite(stage.items()).all() and recall_at(5)(stage, COLD) > 0.3


def test_text_leaves_the_head_and_the_others_move_it(learned):
    rows = COLD_ROWS[:4]
    heads = learned.heads(DATA.catalog, rows)
    assert np.array_equal(variant(learned, update="text").vectors(DATA.catalog, rows), heads)
    for update in ("bpr", "solve"):
        moved = variant(learned, update=update).vectors(DATA.catalog, rows)
        assert np.abs(moved - heads).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [{"inner": 8}, {"sampled": 20}, {"decay": 0.5}, {"share": 0.3}, {"batch": 4}, {"fields": ("genres",)}, {"epochs": 3}],
)  # fmt: skip
def test_every_option_changes_what_is_learned(options, learned):
    other = frozen(**options)
    assert np.abs(other.heads(DATA.catalog, COLD_ROWS) - learned.heads(DATA.catalog, COLD_ROWS)).max() > 1e-4
    assert audience_recall(10)(other, COLD) > 0.5


# -------------------------------------------------------------- the text tower
def test_what_is_tuned_is_what_is_served(read):
    """The state of the last token behind the adapter, in training and in serving."""
    rows = COLD_ROWS[:3]
    prompts = read.text_.asked(DATA.catalog, rows)
    assert prompts[0].adapter and prompts[0].text == f"A new item has come in.\ntitle: {DATA.catalog.titles[rows[0]]}\n\nWhich users will it attract?"  # fmt: skip
    states = TINY.hidden(prompts, pool="last")
    weight, bias = read.head_["out.weight"], read.head_["out.bias"]
    by_hand = (states @ weight.T + bias) * read.scale_
    np.testing.assert_allclose(read.heads(DATA.catalog, rows), by_hand, atol=1e-5)
    bare = TINY.hidden([replace(prompt, adapter=None) for prompt in prompts], pool="last")
    assert np.abs(bare - states).max() > 1e-4


def test_a_model_that_is_not_tuned_is_read_as_it_is():
    stage = tuned(open_lm("tiny:a"), tune=False, epochs=40, rate=1e-2, fields=("genres",))
    assert stage.text_.adapter is None and stage.text_.asked(DATA.catalog, COLD_ROWS[:1])[0].adapter is None
    assert audience_recall(10)(stage, COLD) > 0.5


def test_the_adapter_holds_no_user(read):
    tensors = read.text_.adapter["tensors"]
    assert tensors and not [name for name in tensors if name.startswith("extra.")]
    after = core_forget(read, DATA.users.ids.ids[:2].tolist())
    assert not after.vocabulary_.values[:2].any() and not after.behaviour_.values[:2].any()
    assert not {0, 1} & set(after.audience(DATA.catalog, COLD_ROWS, DATA.n_users).users.ravel().tolist())
    assert {0, 1} <= set(read.audience(DATA.catalog, COLD_ROWS, DATA.n_users).users.ravel().tolist())


def test_states_that_are_no_numbers_leave_an_item_to_nobody_and_are_said(read):
    told = []
    failing = variant(read, lm=Failing(TINY, "Ocean"))
    grown = DATA.with_items([*NEW, Item("sea", "Ocean story 98")])
    with run(complain=told.append):
        larger = failing.extend(grown.catalog)
    assert larger.items()[-2].any() and not larger.items()[-1].any()
    assert len(told) == 1 and "1 of 2 items got no state" in told[0]
    assert np.isfinite(larger.retrieve(COLD.queries, 5).scores).all()


def test_it_works_through_guards_and_cassettes(tmp_path):
    plain = tuned(epochs=1)
    tape = Cassette(TINY, tmp_path / "tape.jsonl", mode="cache")
    for lm in (Guarded(TINY), tape):
        np.testing.assert_allclose(tuned(lm, epochs=1).items(), plain.items(), atol=1e-6)
    grown = DATA.with_items(NEW)
    stage = tuned(tape, epochs=1)
    stage.extend(grown.catalog)
    with run() as work:
        stage.extend(grown.catalog)
    assert work.ledger.calls == 0


def test_what_is_missing_is_said_when_it_is_built():
    with pytest.raises(CapabilityError, match="hidden and weights") as caught:
        FilterLLM(Overlap())
    assert "hf:" in caught.value.hint and "minilm" in caught.value.hint
    with pytest.raises(CapabilityError, match="weights, which tiny"):
        FilterLLM(open_lm("tiny:a"))
    FilterLLM(open_lm("tiny:a"), tune=False)
    for options in ({}, {"lm": TINY, "encoder": TFIDF}):
        with pytest.raises(OptionError, match="one of the two"):
            FilterLLM(**options)


# -------------------------------------------------------------- who and what is served
def test_items_without_words_attract_nobody():
    grown = DATA.with_items([Item("mute", ""), *NEW])
    larger = frozen(epochs=2).extend(grown.catalog)
    rows = np.array([DATA.n_items, DATA.n_items + 1])
    assert not larger.items()[rows[0]].any() and larger.items()[rows[1]].any()
    assert (larger.audience(grown.catalog, rows).users[0] == -1).all()
    features = larger.enrich(grown).features["filterllm"]
    assert features.mask.tolist()[-2:] == [False, True] and features.provenance["model"] == TFIDF.name


def test_a_catalog_without_words_or_likes_is_refused():
    mute = replace(DATA.catalog, titles=np.full(DATA.n_items, "", object), texts=np.full(DATA.n_items, "", object))
    nobody = DATA.with_log(DATA.interactions.where(np.zeros(len(DATA.interactions), bool)))
    for data in (replace(DATA, catalog=mute), nobody):
        with pytest.raises(DataError, match="words and likes") as caught:
            frozen(data, fields=("title", "text"))
        assert "frozen_encoder" in caught.value.hint


def test_a_catalog_of_one_item_is_served():
    catalog = type(DATA.catalog).of([Item("only", "The only one")], key="one")
    log = Interactions.of({"user": np.arange(5), "item": np.zeros(5, int), "time": np.arange(5)}, DATA.n_users)
    one = replace(DATA, catalog=catalog, interactions=log)
    stage = frozen(one, cf=IALS(factors=4, sweeps=2), epochs=2)
    assert stage.retrieve(Queries.one(catalog), 3).items.tolist() == [0] and not stage.curve_["valid"]


def test_strangers_get_what_is_popular(learned):
    nobody = Queries.one(DATA.catalog, user="stranger", lang="zh")
    found = learned.retrieve(nobody, 3)
    assert np.array_equal(found.scores, np.sort(learned.placed_.popular)[::-1][:3])


def test_chinese_text_is_asked_in_chinese_and_finds_its_users():
    assert PROMPTS.text("zh", "ask", item="标题：海洋") == "有一件新物品。\n标题：海洋\n\n它会吸引哪些用户？"
    zh = replace(
        DATA.catalog, titles=DATA.catalog.words("title", "zh"), texts=DATA.catalog.words("text", "zh"), lang="zh"
    )
    stage = frozen(replace(DATA, catalog=zh), fields=("title", "text"))
    assert audience_recall(10)(stage, replace(COLD, data=replace(DATA, catalog=zh))) > 0.8
    asked = tuned(data=replace(DATA, catalog=zh), epochs=1).text_.asked(zh, COLD_ROWS[:1])[0].text
    assert asked.startswith("有一件新物品。\n标题")


def test_blocks_of_items_change_nothing(learned, monkeypatch):
    whole = learned.audience(DATA.catalog, COLD_ROWS, 7)
    monkeypatch.setattr("hexarec.methods.filterllm.BLOCK", 5)
    parts = learned.audience(DATA.catalog, COLD_ROWS, 7)
    assert np.array_equal(whole.users, parts.users) and np.array_equal(whole.p, parts.p)
    none = learned.audience(DATA.catalog, COLD_ROWS[:0], 7)
    assert none.users.shape == (0, 7)


# -------------------------------------------------------------- life
def test_added_items_are_found_and_old_ones_stay(learned):
    grown = DATA.with_items(NEW)
    larger = learned.extend(grown.catalog)
    assert np.array_equal(larger.items()[:-1], learned.items()) and larger.extend(grown.catalog) is larger
    assert DATA.n_items in larger.retrieve(grown.queries(np.array([1])), 6).items
    with pytest.raises(LineageError):
        learned.extend(world("trap").data.catalog)


@pytest.mark.parametrize("make", [frozen, tuned])
def test_it_comes_back(make, tmp_path):
    stage = make(epochs=1)
    grown = DATA.with_items(NEW)
    again = load(save(stage, tmp_path / "kept"), lambda kind, spec, options: TINY if kind == "lm" else TFIDF)
    forget_encoded()
    np.testing.assert_allclose(again.extend(grown.catalog).items(), stage.extend(grown.catalog).items(), atol=1e-6)
    assert np.array_equal(again.audience(DATA.catalog, COLD_ROWS).users, stage.audience(DATA.catalog, COLD_ROWS).users)


@pytest.mark.parametrize("make", [frozen, tuned])
def test_a_killed_fit_goes_on_to_the_same_bits(make, tmp_path):
    class Killed(Exception):
        pass

    def kill(event):
        if event.get("label") == "tune" and event["done"] == 5:
            raise Killed

    options = {"epochs": 3, "batch": 16}
    whole = make(**options)
    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        make(**options)
    heard = []
    with run(scratch=tmp_path, emit=heard.append):
        on = make(**options)
    steps = [event for event in heard if event.get("label") == "tune"]
    assert 0 < len(steps) - 1 < len(whole.curve_["losses"]) and {"total", "seconds"} <= set(steps[-1])
    assert on.curve_ == whole.curve_ and np.array_equal(on.items(), whole.items())


def test_seeds_decide():
    one, same, other = frozen(epochs=2), frozen(epochs=2), frozen(epochs=2, seed=1)
    assert np.array_equal(one.items(), same.items()) and not np.array_equal(one.items(), other.items())


def test_an_estimate_counts_tuning_and_reading_and_tunes_nothing():
    told = estimate(FilterLLM(TINY, cf=IALS(factors=4, sweeps=1), **TUNED), DATA, 10)
    assert told.fit_calls == TUNED["epochs"] * 48 + 1 + 12  # each warm item an epoch, the width, each cold item
    texts = estimate(FilterLLM(encoder=TFIDF, cf=IALS(factors=4, sweeps=1), epochs=1), DATA, 10)
    assert texts.calls == 0 and texts.texts == 60


@pytest.mark.parametrize(
    "options",
    [{"guide": -1.0}, {"inner": -1}, {"sampled": -1}, {"most": 0}, {"debias": -0.1}, {"r": 0}, {"epochs": 0},
     {"batch": 0}, {"decay": -1.0}, {"patience": -1}, {"share": -0.1}, {"init": "zero"}, {"update": "sgd"}],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        FilterLLM(encoder=TFIDF, **options)


def test_before_fit_it_says_so():
    with pytest.raises(StateError):
        FilterLLM(encoder=TFIDF).retrieve(COLD.queries, 3)
