from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec import core  # noqa: E402
from hexarec.classic import BPR, DIN, LightGCN  # noqa: E402
from hexarec.core import (  # noqa: E402
    CapabilityError,
    Item,
    Lists,
    OptionError,
    Queries,
    fitted,
    holdout,
    load,
    save,
    variant,
)
from hexarec.core.options import clear_memo  # noqa: E402
from hexarec.data.worlds import world  # noqa: E402
from hexarec.eval.estimate import estimate  # noqa: E402
from hexarec.lm.base import SLOT  # noqa: E402
from hexarec.lm.cassette import Cassette  # noqa: E402
from hexarec.lm.fake import Overlap  # noqa: E402
from hexarec.lm.guard import Guarded  # noqa: E402
from hexarec.lm.open import open_lm  # noqa: E402
from hexarec.methods.collm import PROMPTS, CoLLM  # noqa: E402
from hexarec.parts.backbones import drawn_vectors, pair_vectors  # noqa: E402
from hexarec.parts.pointwise import split_cases  # noqa: E402
from hexarec.testing._measures import terse  # noqa: E402

PLACE = world("twins")  # titles come in identical pairs with different audiences: only ids tell
DATA = PLACE.data
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
CF = LightGCN(factors=8)
QUICK = {
    "shots": 96, "negatives": "drawn", "history": 1, "epochs": 1, "map_epochs": 6, "batch": 8, "rate": 1e-3,
    "map_rate": 1e-2, "patience": 0, "decay": 0.0, "most_valid": 40, "prompts": terse(),
}  # fmt: skip
SMALL = {**QUICK, "shots": 16, "map_epochs": 1, "most_valid": 8}


class Recording(Overlap):
    """Remembers the prompts; one numbered answer after the other."""

    def __init__(self):
        super().__init__()
        self.asked = []

    @property
    def can(self):
        return super().can | {"vectors", "weights"}

    def label(self, prompts, labels):
        self.asked += prompts
        self.labels = list(labels)
        return np.log(np.array([[0.3, 0.1]] * len(prompts), np.float32))


def tuned(cf=CF, seed=0, data=DATA, **options):
    return CoLLM(TINY, cf, **{**SMALL, **options}).fit(data, seed=seed)


@pytest.fixture(scope="module")
def learned():
    return CoLLM(TINY, CF, **QUICK).fit(DATA)


def candidates(queries, m=4):
    return Lists.of(queries.catalog.key, [list(range(m))] * len(queries))


def adapter_hash(stage):
    tensors = stage.adapter_["tensors"]
    return core.digest(*(tensors[name] for name in sorted(tensors)))


def test_the_question_has_liked_titles_a_slot_beside_the_user_and_one_beside_the_item():
    lm = Recording()
    log = replace(DATA.interactions, liked=DATA.interactions.item % 3 > 0)
    queries = DATA.with_log(log).queries([0])
    stage = variant(tuned(tokens=2, prompts=PROMPTS), lm=lm, history=3, domain="book")
    stage.rank(queries, candidates(queries, 2))
    liked = [DATA.catalog.titles[item] for item in queries.history.item[queries.history.liked][-3:]]
    lines = "\n".join(f"{n}. {title}" for n, title in enumerate(liked, 1))
    assert [prompt.text for prompt in lm.asked] == [
        f"Some books that a user has read and liked, oldest first.\n{lines}\n\n"
        f"What the choices of many users tell about this user: {SLOT}{SLOT}\n\n"
        f"Will the user like to read this one too? Answer Yes or No.\n[A] {title}\n"
        f"What the choices of many users tell about it: {SLOT}{SLOT}"
        for title in DATA.catalog.titles[:2]
    ]
    assert all(prompt.vectors.shape == (4, 64) for prompt in lm.asked) and lm.labels == ["Yes", "No"]


def test_chinese_questions_are_answered_in_chinese():
    lm, queries = Recording(), replace(DATA.queries([0]), lang=np.array(["zh"], object))
    variant(tuned(prompts=PROMPTS), lm=lm).rank(queries, candidates(queries, 1))
    assert lm.labels == ["是", "否"] and "喜欢" in lm.asked[0].text and lm.asked[0].text.count(SLOT) == 2


def test_tuning_and_serving_ask_the_same_question(learned):
    """One template, one encoding: the words and tokens that are learned are those that are asked."""
    cases = split_cases(DATA, 0.1, negatives="drawn")[1].take(slice(0, 6))
    train = learned._page.questions(cases.queries, cases.lists, slots=True)
    lm = Recording()
    variant(learned, lm=lm).rank(cases.queries, cases.lists)
    assert [prompt.turns for prompt in train] == [prompt.turns for prompt in lm.asked]
    tokens = TINY.tokens
    assert all(tokens.read(a, slots=True) == tokens.read(b) for a, b in zip(train, lm.asked, strict=True))


@dataclass
class Turned:
    """A collaborative model whose users like the opposite."""

    inner: Any

    def users(self, queries):
        return -self.inner.users(queries)

    def items(self):
        return self.inner.items()


def test_it_follows_the_users_vector_and_is_misled_by_that_of_another(learned):
    cases = split_cases(DATA, 0.1, negatives="drawn")[1].take(slice(0, 60))

    def gap(stage):
        ranked = stage.rank(cases.queries, cases.lists)
        return float(ranked.scores[cases.liked].mean() - ranked.scores[~cases.liked].mean())

    assert gap(learned) > 0.1 > gap(with_state(learned, cf_=Turned(learned.cf_)))


def with_state(stage, **state):
    made = variant(stage)
    for name, value in state.items():
        setattr(made, name, value)
    return made


def test_the_second_step_leaves_the_adapter_as_the_first_left_it(learned):
    titles = CoLLM(TINY, None, **QUICK).fit(DATA)
    assert adapter_hash(learned) == adapter_hash(titles) and titles.bridge_ is None
    assert learned.bridge_["about"]["trainable"] == 8 * 80 + 80 + 80 * 64 + 64
    weights = {name: one.clone() for name, one in TINY.base.model.named_parameters()}
    tuned(seed=5)
    after = dict(TINY.base.model.named_parameters())
    assert all(one.equal(after[name]) for name, one in weights.items())


def test_the_collaborative_model_knows_nothing_of_the_cases_that_validate(learned):
    before, whole = (fitted(CF, data) for data in (holdout(DATA, learned.share).train, DATA))
    own, other = (before.users(DATA.queries()), whole.users(DATA.queries()))
    assert np.array_equal(learned.cf_.users(DATA.queries()), own) and not np.allclose(own, other)


def test_by_titles_alone_no_question_has_a_slot():
    lm, queries = Recording(), DATA.queries([0])
    variant(tuned(None), lm=lm).rank(queries, candidates(queries))
    assert all(SLOT not in prompt.text and prompt.vectors is None and prompt.adapter for prompt in lm.asked)


def test_the_first_step_is_shared_by_stages_that_differ_in_the_second():
    clear_memo()
    told = []
    with core.run(emit=told.append):
        one, other = tuned(CF, seed=3), tuned(BPR(factors=4, epochs=1), seed=3)
    starts = [event for event in told if event.get("label") == "tune" and event["done"] == 0]
    assert len(starts) == 3 and adapter_hash(one) == adapter_hash(other)


def test_what_each_tuning_changes():
    plain, along, scratch, whole = (tuned(tuning=tuning, seed=1) for tuning in ("default", "T1", "T2", "T3"))
    first = adapter_hash(plain)
    assert adapter_hash(along) == adapter_hash(scratch) == first != adapter_hash(whole)
    assert plain.own_ is None is whole.own_ and whole.bridge_ is not None
    queries = DATA.queries([0, 1])
    lists = candidates(queries)
    assert scratch._known(queries, lists) is None
    assert np.array_equal(along._known(queries, lists), pair_vectors(along.cf_, queries, lists))
    moved = along.own_.of_pairs(queries, lists)
    assert 0 < np.abs(moved).max() < 0.1 < np.abs(scratch.own_.of_pairs(queries, lists)).max()
    assert whole.adapter_["about"]["trainable"] > whole.bridge_["tensors"]["map.0.weight"].size


def test_ids_are_embeddings_of_their_own_and_need_no_collaborative_model():
    stage = tuned(None, vectors="ids", map_epochs=2)
    assert stage.cf_ is None and stage.own_.items.shape == (32, 64) and stage.bridge_["shape"]["kind"] == "none"
    assert not [name for name in stage.bridge_["tensors"] if "weight" in name]
    met = split_cases(DATA, 0.1, negatives="drawn")[0]
    assert stage.own_.users.known.sum() <= len(set(met.queries.user.tolist())) and stage.own_.users.known.any()
    queries = DATA.queries([0])
    assert np.isfinite(stage.rank(queries, candidates(queries)).scores).all()


@pytest.mark.parametrize("cf", [BPR(factors=4, epochs=1), DIN(width=4, epochs=1, attention=(4,), hidden=(4,))])
@pytest.mark.parametrize("options", [{}, {"mapper": "linear"}, {"mapper": "none", "tuning": "T3"}, {"epochs": 0}])
def test_any_backbone_and_any_mapper_serve(cf, options):
    stage, queries = tuned(cf, **options), DATA.queries([0, 1, 2])
    scores = stage.rank(queries, candidates(queries)).scores
    assert ((scores > 0) & (scores < 1)).all() and len(np.unique(scores)) > 4
    assert (stage.adapter_ is None) == ("epochs" in options)


def test_the_user_depends_on_the_candidate_with_din():
    stage, queries = tuned(DIN(width=4, epochs=2, attention=(4,), hidden=(4,))), DATA.queries([0])
    vectors = stage._known(queries, candidates(queries))
    assert len(np.unique(vectors[:, 0].round(6), axis=0)) == 4


def test_drawn_vectors_are_the_ids_and_nothing_else():
    queries = DATA.queries([0, 1])
    one, other = (
        drawn_vectors(queries, candidates(queries), 5),
        drawn_vectors(DATA.queries([1]), candidates(queries, 2).take([1]), 5),
    )
    assert one.shape == (8, 2, 5) and np.array_equal(one[4:6], other) and not np.array_equal(one[0, 0], one[4, 0])
    nobody = Queries.one(DATA.catalog)
    assert not drawn_vectors(nobody, candidates(nobody), 5)[:, 0].any()


def test_everybody_and_everything_is_served(learned):
    """Unknown users, empty histories, cold and later items, items without a title, titles that hold a slot's sign."""
    grown = DATA.with_items([Item("later", "Later"), Item("bare", ""), Item("slot", f"Slot {SLOT} <|endoftext|><unk>")])
    for history in ([], ["i000", "later", "slot"]):
        queries = Queries.one(grown.catalog, user="stranger", history=history)
        lm = Recording()
        given = Lists.of(grown.catalog.key, [[0, 32, 33, 34]])
        variant(learned, lm=lm).rank(queries, given)
        assert all(prompt.text.count(SLOT) == 2 == len(prompt.vectors) for prompt in lm.asked)
        assert "[A] bare" in lm.asked[2].text and ("-\n" in lm.asked[0].text) == (not history)
        cold = [prompt.vectors[1] for prompt in lm.asked[1:]]
        assert all(np.array_equal(cold[0], one) for one in cold) and not np.array_equal(cold[0], lm.asked[0].vectors[1])
        assert np.isfinite(learned.rank(queries, given).scores).all()
    with pytest.raises(core.DataError, match="labelled cases|liked cases"):
        one = core.Catalog.of([Item("only", "Only")], key="one")
        log = core.Interactions.of({"user": [0, 0], "item": [0, 0], "time": [0.0, 1.0]}, 1)
        CoLLM(TINY, CF, **SMALL).fit(core.Dataset(one, log, replace(DATA.users, ids=core.IdTable.of(["u"]))))


def test_a_question_beyond_the_window_has_no_number_instead_of_a_cut_cue(learned):
    long = DATA.with_items([Item("long", "very " * 1000)])
    queries = Queries.one(long.catalog, history=["long"] * 15)
    stage = variant(learned, history=15, prompts=replace(PROMPTS, version=2))
    said = []
    with core.run(complain=said.append):
        ranked = stage.rank(queries, Lists.of(long.catalog.key, [[0, 1]]))
    assert np.isnan(ranked.scores).all() and said == ["2 of 2 answers give no probability of Yes and No"]


def test_each_candidate_has_its_own_vectors_in_any_batch(learned):
    queries = DATA.queries(np.arange(5))
    whole = learned.rank(queries, candidates(queries))
    for i in range(5):
        alone = learned.rank(queries.take([i]), candidates(queries).take([i]))[0]
        there = dict(zip(whole[i].items.tolist(), whole[i].scores.tolist(), strict=True))
        assert all(
            abs(there[item] - score) < 1e-5 for item, score in zip(alone.items.tolist(), alone.scores, strict=True)
        )


@pytest.mark.parametrize("options", [{}, {"tuning": "T1"}, {"vectors": "ids"}, {"vectors": "random"}])
def test_it_comes_back_from_disk(options, tmp_path):
    stage, queries = tuned(**options), DATA.queries([0, 1, 2])
    save(stage, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    before, after = (one.rank(queries, candidates(queries)).scores for one in (stage, again))
    assert np.abs(before - after).max() < 1e-6


def test_a_run_that_was_stopped_in_the_second_step_goes_on_to_the_same_bits(tmp_path):
    want = tuned(seed=7, map_epochs=2)
    clear_memo()
    cancel, runs = core.Cancel(), []

    def stop(event):
        if event.get("label") == "tune":
            runs.append(event["done"])
            if runs.count(0) == 2 and event["done"] == 3:
                cancel.set()

    with pytest.raises(core.CancelledError), core.run(scratch=tmp_path, cancel=cancel, emit=stop):
        tuned(seed=7, map_epochs=2)
    clear_memo()
    told = []
    with core.run(scratch=tmp_path, emit=told.append):
        again = tuned(seed=7, map_epochs=2)
    assert core.state_digest(again) == core.state_digest(want)
    steps = [event["total"] for event in told if event.get("label") == "tune" and event["done"] == 0]
    assert steps == [0, 2]  # nothing left of the first step, two of four of the second


def test_answers_of_a_guarded_and_a_recorded_model_are_the_same(learned, tmp_path):
    queries = DATA.queries([0, 1])
    want = learned.rank(queries, candidates(queries)).scores
    tape = Cassette(Guarded(TINY), tmp_path / "tape.jsonl")
    for _ in range(2):
        assert np.allclose(variant(learned, lm=tape).rank(queries, candidates(queries)).scores, want, atol=1e-6)


def test_an_estimate_counts_both_steps_and_tunes_nothing():
    queries = DATA.queries(np.arange(4))
    told = {"queries": queries, "candidates": candidates(queries)}
    titles, both = (estimate(CoLLM(TINY, cf, **{**SMALL, "map_epochs": 2}), DATA, 4, **told) for cf in (None, CF))
    assert titles.fit_calls == 16 and both.fit_calls == 16 * (1 + 2) and both.tokens_in > 2 * titles.tokens_in


def test_zero_shot_needs_a_label_and_nothing_else():
    lm, queries = Recording(), DATA.queries([0])
    stage = CoLLM(lm, CF, shots=0).fit(DATA)
    assert stage.rank(queries, candidates(queries)).scores == pytest.approx(0.75)
    assert all(prompt.vectors is None and SLOT not in prompt.text for prompt in lm.asked) and stage.cf_ is None


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        (Overlap(), {}, "weights and vectors"),
        (Overlap(), {"cf": None}, "weights"),
        (Overlap(), {"epochs": 0}, "weights"),
    ],
)
def test_what_a_model_lacks_is_said_when_it_is_built(model, options, named):
    with pytest.raises(CapabilityError, match=named) as caught:
        CoLLM(model, **{"cf": CF, **options})
    assert "shots=0" in caught.value.hint and "hf:" in caught.value.hint
    CoLLM(Overlap(), CF, shots=0)


@pytest.mark.parametrize(
    "options",
    [{"shots": -1}, {"history": 0}, {"tokens": 0}, {"map_epochs": 0}, {"domain": "films"}, {"mapper": "none"}, {"tuning": "T4"},
     {"vectors": "id"}, {"negatives": "none"},
     {"cf": None, "vectors": "random"}, {"vectors": "ids", "tokens": 2}, {"start": "somewhere", "epochs": 0}],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        CoLLM(TINY, **{"cf": CF, **options})


def test_it_goes_on_from_an_adapter_of_an_earlier_stage(learned):
    from hexarec.parts.train.kept import placed

    on, anew = tuned(None, start=placed(learned.adapter_)), tuned(None)
    assert on.adapter_["about"]["losses"][0] != anew.adapter_["about"]["losses"][0]


def test_forgotten_users_have_no_vector_of_their_own():
    stage = tuned(tuning="T1", map_epochs=2)
    met = np.flatnonzero(stage.own_.users.known)[:2]
    queries = DATA.queries(met)
    gone, lists = core.forget(stage, [DATA.users.ids.ids[met[0]]]), candidates(queries)
    before, after = stage.own_.of_pairs(queries, lists)[:, 0], gone.own_.of_pairs(queries, lists)[:, 0]
    assert before[:4].any() and not after[:4].any() and np.array_equal(before[4:], after[4:])


def bridge_of(**options):
    return tuned(seed=2, **options).bridge_["tensors"]


def test_the_mapper_learns_at_its_own_rate():
    """By the second step of AdamW nothing has gone further than its rates; ten times the rate goes further."""
    slow, fast = (bridge_of(map_rate=rate) for rate in (1e-6, 1e-2))
    name = "map.0.weight"
    still = bridge_of(map_rate=1e-9)[name]
    assert np.abs(slow[name] - still).max() < 1e-5 < 1e-3 < np.abs(fast[name] - still).max()


def test_weight_decay_makes_the_mapper_shorter():
    free, held = (bridge_of(decay=decay, map_epochs=4)["map.0.weight"] for decay in (0.0, 20.0))
    assert np.linalg.norm(held) < 0.9 * np.linalg.norm(free)


def test_random_vectors_stand_in_training_and_in_every_question():
    """A control that read the collaborative model after all would be no control."""
    stage, queries = tuned(vectors="random", seed=2), DATA.queries([0, 1])
    lists, lm = candidates(queries), Recording()
    given = drawn_vectors(queries, lists, stage.width_)
    assert np.array_equal(stage._known(queries, lists), given)
    assert not np.allclose(given, pair_vectors(stage.cf_, queries, lists))
    scores = stage.rank(queries, lists).scores
    assert np.array_equal(with_state(stage, cf_=Turned(stage.cf_)).rank(queries, lists).scores, scores)
    variant(stage, lm=lm).rank(queries, lists)
    others = Recording()
    variant(stage, lm=others, vectors="cf").rank(queries, lists)
    assert not np.allclose(lm.asked[0].vectors, others.asked[0].vectors)
    assert stage.bridge_["about"]["losses"] != tuned(seed=2).bridge_["about"]["losses"]
