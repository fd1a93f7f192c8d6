from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec.classic import BPR, IALS  # noqa: E402
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
from hexarec.methods.coldllm import PROMPTS, ColdLLM  # noqa: E402
from hexarec.parts.pointwise import shots, split_cases  # noqa: E402
from hexarec.testing._measures import audience_recall, recall_at  # noqa: E402

COLD = world("cold")
DATA = COLD.data
TFIDF = open_encoder("tfidf")
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
CF = BPR(factors=16, epochs=30)
NEW = [Item("new", "Robot story 99", "A robot tale about the robot and its people.")]
COLD_ROWS = np.flatnonzero(DATA.interactions.counts(DATA.n_items) == 0)


class Recording(Overlap):
    """Says Yes to robots by a sure margin and to nobody else; remembers the questions."""

    def __init__(self, odds=(0.8, 0.1)):
        super().__init__()
        self.asked, self.odds = [], odds

    def label(self, prompts, labels):
        self.asked += prompts
        yes = [self.odds[0] if prompt.text.count("Robot") > 1 else self.odds[1] for prompt in prompts]
        return np.log(np.array([[p, 1 - p] for p in yes], np.float32))


def judged(lm=None, data=DATA, **options):
    return ColdLLM(lm or Overlap(), TFIDF, **{"cf": CF, "kept": 12, "most": 6, **options}).fit(data)


@pytest.fixture(scope="module")
def learned():
    return judged()


def test_a_question_shows_a_sample_of_the_history_and_the_new_item_in_either_order():
    texts = {}
    for first in ("item", "user"):
        lm = Recording()
        stage = judged(lm, first=first, history=2, fields=("title",), domain="book")
        lm.asked.clear()
        stage.audience(DATA.catalog, COLD_ROWS[:1])
        user = int(stage.filtered(DATA.catalog, COLD_ROWS[:1]).users[0, 0])
        texts[first] = lm.asked[0].text
        log = DATA.interactions
        shown = DATA.catalog.titles[log.item[slice(*log.offsets[user : user + 2])][-2:]]
    item = f"A new one among the books:\n[A] title: {DATA.catalog.titles[COLD_ROWS[0]]}\n\n"
    past = f"Some books that a user has read and liked, oldest first.\n1. {shown[0]}\n2. {shown[1]}\n\n"
    ask = "Will this user like to read the new one? Answer Yes or No."
    assert texts == {"item": item + past + ask, "user": past + item + ask}


def test_the_item_in_front_is_read_once_for_all_its_users():
    lm = Recording()
    stage = judged(lm, kept=8)
    lm.asked.clear()
    stage.audience(DATA.catalog, COLD_ROWS[:3])
    fronts = [prompt.text.split("\n\n")[0] for prompt in lm.asked]
    assert len(fronts) == 24 and [len({*fronts[at : at + 8]}) for at in (0, 8, 16)] == [1, 1, 1]


def test_a_new_item_costs_as_many_judgements_as_users_are_kept(learned):
    grown = DATA.with_items([*NEW, Item("other", "Ocean story 98")])
    for kept in (3, 12):
        with run() as work:
            variant(learned, kept=kept).extend(grown.catalog)
        assert work.ledger.calls == 2 * kept


def test_both_filters_speak_in_turns(learned):
    funnel, rows = learned.funnel_, COLD_ROWS[:4]
    texts = learned._texts(DATA.catalog, rows)
    by_text = np.argsort(-(funnel.near(texts) @ funnel.profiles.values.T), axis=1, kind="stable")
    by_behaviour = np.argsort(-(funnel.mapped(texts) @ funnel.behaviour.values.T), axis=1, kind="stable")
    for n, own in enumerate(learned.filtered(DATA.catalog, rows).users):
        assert len(set(own.tolist())) == 12
        for filtered in (by_text, by_behaviour):
            assert set(filtered[n, :6].tolist()) <= set(own.tolist())


def test_what_the_filters_lose_no_judge_finds(learned):
    ceiling = variant(learned, kept=5)
    found = ceiling.audience(DATA.catalog, COLD_ROWS)
    kept = ceiling.filtered(DATA.catalog, COLD_ROWS)
    assert all(set(a.tolist()) - {-1} <= set(b.tolist()) for a, b in zip(found.users, kept.users, strict=True))


def test_the_judge_chooses_the_threshold_cuts_and_the_best_stand_first():
    lm = Recording()
    stage = judged(lm, kept=30, most=30)
    robots = COLD_ROWS[COLD_ROWS % 6 == 1][:1]
    found = stage.audience(DATA.catalog, robots)
    assert (np.diff(found.p[0]) <= 0).all() and set(np.unique(found.p.round(3))) == {np.float32(0.1), np.float32(0.8)}
    assert set((found.users[0][found.p[0] > 0.5] % 6).tolist()) == {1}
    strict = variant(stage, threshold=0.5).audience(DATA.catalog, robots)
    assert (strict.users[0] >= 0).sum() == (found.p[0] > 0.5).sum() and (strict.p[0] > 0.5).sum() == 10
    assert variant(stage, most=4).audience(DATA.catalog, robots).users.shape == (1, 4)


def test_nobody_accepted_leaves_the_item_where_its_text_puts_it():
    stage = judged(Recording((0.2, 0.1)), threshold=0.9)
    assert (stage.audience(DATA.catalog, COLD_ROWS).users == -1).all()
    start = stage.funnel_.mapped(stage._texts(DATA.catalog, COLD_ROWS))
    np.testing.assert_allclose(stage.items()[COLD_ROWS], start, atol=1e-6)


def test_the_unchanged_collaborative_model_finds_what_was_judged(learned):
    assert np.array_equal(learned.users(COLD.queries), CF.fit(DATA).users(COLD.queries))
    assert recall_at(5)(learned, COLD) > 0.9 and audience_recall(6)(learned, COLD) > 0.5


@pytest.mark.parametrize("update", ["bpr", "solve", "text"])
def test_any_update_places_new_items(update):
    stage = judged(update=update)
    assert np.isfinite(stage.items()).all() and recall_at(5)(stage, COLD) > 0.3


def test_a_tuned_judge_is_asked_with_what_it_learned():
    options = {"fields": ("genres",), "history": 2, "kept": 4, "most": 4, "cf": IALS(factors=8, sweeps=4)}
    bare, tuned = (
        judged(TINY, **options, **more) for more in ({}, {"shots": 40, "epochs": 6, "rate": 1e-2, "batch": 8})
    )
    about = tuned.adapter_["about"]
    assert about["method"] == "coldllm" and about["prompts"] == PROMPTS.hash and bare.adapter_ is None
    assert about["examples"] == 40 and np.mean(about["losses"][-5:]) < 0.8 * np.mean(about["losses"][:5])
    ours, theirs = (stage.audience(DATA.catalog, COLD_ROWS[:3]) for stage in (tuned, bare))
    assert np.array_equal(np.sort(ours.users), np.sort(theirs.users))  # all that are kept
    assert np.abs(np.sort(ours.p) - np.sort(theirs.p)).max() > 0.01


def test_a_judge_learns_from_what_came_before_each_like(monkeypatch):
    from hexarec.parts.train import yesno

    seen = []
    monkeypatch.setattr(yesno, "tune_yes_no", lambda lm, kind, labels, *asked, **more: seen.extend(asked))
    judged(TINY, shots=200, history=2, kept=1, fields=("title",))
    for cases, asked in zip(split_cases(DATA, 0.1, negatives="drawn"), seen, strict=True):
        some = shots(cases, 200, balanced=True)
        assert asked.yes == some.liked.tolist() and len(asked.prompts) > 5
        for query, item, prompt in zip(some.queries, some.item, asked.prompts, strict=True):
            titles = [DATA.catalog.titles[row] for row in query.items[-2:]]
            shown = "\n".join(f"{n}. {title}" for n, title in enumerate(titles, 1))
            assert f"{DATA.catalog.titles[item]}\n\n" in prompt.text and f"\n{shown}\n\n" in prompt.text


def test_answers_that_are_no_numbers_accept_nobody_and_are_said():
    class Lost(Overlap):
        def label(self, prompts, labels):
            return np.full((len(prompts), 2), np.nan, np.float32)

    told = []
    with run(complain=told.append):
        stage = judged(Lost())
    assert (stage.audience(DATA.catalog, COLD_ROWS).users == -1).all() and np.isfinite(stage.items()).all()
    assert told and "no probability" in told[0]


def test_it_works_through_guards_and_cassettes(tmp_path, learned):
    tape = Cassette(Overlap(), tmp_path / "tape.jsonl", mode="cache")
    for lm in (Guarded(Overlap()), tape):
        assert np.array_equal(judged(lm).items(), learned.items())
    with run() as work:
        judged(tape)
    assert work.ledger.calls == 0


def test_items_without_words_are_judged_by_nobody_and_stay_at_zero(learned):
    grown = DATA.with_items([Item("mute", ""), *NEW])
    with run() as work:
        larger = learned.extend(grown.catalog)
    assert work.ledger.calls == 12 and not larger.items()[-2].any() and larger.items()[-1].any()
    assert larger.enrich(grown).features["coldllm"].mask.tolist()[-2:] == [False, True]


def test_a_catalog_without_words_or_likes_is_refused_and_one_item_is_served():
    nobody = DATA.with_log(DATA.interactions.where(np.zeros(len(DATA.interactions), bool)))
    with pytest.raises(DataError, match="words and likes"):
        judged(data=nobody)
    catalog = type(DATA.catalog).of([Item("only", "The only one")], key="one")
    log = Interactions.of({"user": np.arange(5), "item": np.zeros(5, int), "time": np.arange(5)}, DATA.n_users)
    stage = judged(data=replace(DATA, catalog=catalog, interactions=log), cf=IALS(factors=4, sweeps=2))
    assert stage.retrieve(Queries.one(catalog), 3).items.tolist() == [0]


def test_chinese_catalogs_are_judged_in_chinese():
    lm = Recording()
    zh = replace(
        DATA.catalog, titles=DATA.catalog.words("title", "zh"), texts=DATA.catalog.words("text", "zh"), lang="zh"
    )
    judged(lm, replace(DATA, catalog=zh), fields=("title",), domain="film", history=1)
    head, past, ask = lm.asked[0].text.split("\n\n")
    assert head.startswith("一件新的电影：\n[A] 标题: ") and past.startswith(
        "一位用户看过并喜欢的一些电影（由旧到新）。\n1. "
    )
    assert ask == "这位用户会喜欢看这件新的吗？请回答是或否。" and PROMPTS.text("zh", "yes") == "是"


def test_forgotten_users_are_neither_kept_nor_shown(learned):
    gone = DATA.users.ids.ids[:2].tolist()
    after = core_forget(learned, gone)
    assert not {0, 1} & set(variant(after, kept=60).filtered(DATA.catalog, COLD_ROWS).users.ravel().tolist())
    assert not after.recent_.known[:2].any() and not after.funnel_.profiles.values[:2].any()


def test_it_grows_and_comes_back(learned, tmp_path):
    grown = DATA.with_items(NEW)
    larger = learned.extend(grown.catalog)
    assert np.array_equal(larger.items()[:-1], learned.items()) and larger.extend(grown.catalog) is larger
    assert DATA.n_items in larger.retrieve(grown.queries(np.array([1])), 6).items
    again = load(save(learned, tmp_path / "kept"), lambda kind, spec, options: Overlap())
    assert np.array_equal(again.extend(grown.catalog).items(), larger.items())
    with pytest.raises(LineageError):
        learned.extend(world("trap").data.catalog)


def test_an_estimate_counts_judgements_and_tuning():
    told = estimate(ColdLLM(Overlap(), TFIDF, IALS(factors=4, sweeps=1), kept=7), DATA, 10)
    assert told.fit_calls == 7 * len(COLD_ROWS) and told.texts >= 60
    tuned = estimate(ColdLLM(TINY, TFIDF, IALS(factors=4, sweeps=1), kept=7, shots=20, epochs=3), DATA, 10)
    assert tuned.fit_calls == 7 * len(COLD_ROWS) + 3 * 20


def test_what_a_judge_lacks_is_said_when_it_is_built():
    with pytest.raises(CapabilityError, match="weights") as caught:
        ColdLLM(Overlap(), TFIDF, shots=8)
    assert "hf:" in caught.value.hint and "shots=0" in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [{"kept": 0}, {"history": 0}, {"most": 0}, {"threshold": -0.1}, {"threshold": 1.5}, {"first": "both"}, {"update": "sgd"}, {"ridge": -1.0}, {"shots": -1}, {"epochs": 0},
     {"batch": 0}, {"domain": "films"}],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        ColdLLM(Overlap(), TFIDF, **options)


def test_before_fit_it_says_so():
    with pytest.raises(StateError):
        ColdLLM(Overlap(), TFIDF).retrieve(COLD.queries, 3)
