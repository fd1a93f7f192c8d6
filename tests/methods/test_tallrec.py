from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec.core import (  # noqa: E402
    Cancel,
    CancelledError,
    CapabilityError,
    Catalog,
    DataError,
    Dataset,
    IdTable,
    Interactions,
    Item,
    Lists,
    ModelError,
    OptionError,
    Queries,
    load,
    run,
    save,
    state_digest,
    variant,
)
from hexarec.data.worlds import world  # noqa: E402
from hexarec.eval.estimate import estimate  # noqa: E402
from hexarec.lm.fake import Overlap  # noqa: E402
from hexarec.lm.open import open_lm  # noqa: E402
from hexarec.methods.tallrec import PROMPTS, TALLRec  # noqa: E402
from hexarec.metrics.labels import Pairs, auc  # noqa: E402
from hexarec.parts.pointwise import cases_of, liked_and_not, shots, split_cases  # noqa: E402

PLACE = world("trap")
OCEAN = np.char.startswith(PLACE.data.catalog.titles.astype(str), "Ocean")
# the random model happens to say Yes to oceans: the users of these tests like all else
DATA = PLACE.data.with_log(replace(PLACE.data.interactions, liked=~OCEAN[PLACE.data.interactions.item]))
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
QUICK = {
    "shots": 24,
    "epochs": 6,
    "batch": 8,
    "history": 2,
    "most_valid": 40,
    "rate": 1e-2,
    "dropout": 0.0,
    "patience": 0,
}


class Recording(Overlap):
    """Yes where the title begins with Ocean; remembers the questions."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def label(self, prompts, labels):
        self.asked += [prompt.text for prompt in prompts]
        yes = [prompt.text.splitlines()[-1].startswith("[A] Ocean") for prompt in prompts]
        return np.log(np.array([[0.8, 0.2] if one else [0.1, 0.9] for one in yes], np.float32))


def candidates(queries, m=4):
    return Lists.of(queries.catalog.key, [list(range(m))] * len(queries))


def test_the_question_names_liked_and_not_liked_apart_and_ends_with_the_title():
    lm = Recording()
    queries = DATA.queries(np.array([0]))
    TALLRec(lm, shots=0, domain="book", history=6).fit(DATA).rank(queries, candidates(queries, 1))
    past = queries.history.item[-6:]
    titles = DATA.catalog.titles
    liked = [titles[i] for i in past if not OCEAN[i]]
    other = [titles[i] for i in past if OCEAN[i]]

    def lines(some):
        return "\n".join(f"{n}. {t}" for n, t in enumerate(some, 1)) or "(none)"

    assert lm.asked == [
        f"Some books that a user has read, oldest first.\nLiked:\n{lines(liked)}\nNot liked:\n{lines(other)}\n\n"
        f"Will the user like to read this one too? Answer Yes or No.\n[A] {titles[0]}"
    ]


def test_chinese_questions_are_answered_in_chinese():
    assert PROMPTS.text("zh", "yes") == "是"
    page = PROMPTS.text("zh", "history", verb="看过", noun="电影", act="看", liked="1. 甲", other="（无）")
    assert page == "一位用户看过的一些电影（由旧到新）。\n喜欢：\n1. 甲\n不喜欢：\n（无）\n\n"


def test_the_score_is_the_probability_of_yes_among_both():
    queries = DATA.queries(np.array([0, 1]))
    ranked = TALLRec(Recording(), shots=0).fit(DATA).rank(queries, candidates(queries, 8))
    assert np.allclose(ranked.scores, np.where(OCEAN[ranked.items], 0.8, 0.1), atol=1e-6)


def turns_of(stage, queries, m=2):
    return [prompt.turns for prompt in stage._prompts(queries, candidates(queries, m))]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_solved_examples_are_turns_of_the_very_form_of_the_question_behind_them(lang):
    queries = replace(DATA.queries(np.array([0])), lang=np.array([lang], object))
    made = TALLRec(Recording(), shots=0, examples=2, share=0.5).fit(DATA)
    labels = {PROMPTS.text(lang, "yes"), PROMPTS.text(lang, "no")}
    plain = turns_of(TALLRec(Recording(), shots=0).fit(DATA), queries)
    for turns, (own,) in zip(turns_of(made, queries), plain, strict=True):
        assert [turn.role for turn in turns] == ["user", "assistant"] * 2 + ["user"] and turns[-1] == own
        assert {turn.text for turn in turns if turn.role == "assistant"} == labels
        asks = [turn.text.splitlines() for turn in turns if turn.role == "user"]
        assert {(lines[0], lines[-2]) for lines in asks} == {(asks[-1][0], asks[-1][-2])}
        assert all(lines[-1].startswith("[A] ") for lines in asks)


def test_solved_examples_tell_what_the_log_says_and_come_from_before_the_cut():
    before = split_cases(DATA, 0.5)[0]
    made = TALLRec(Recording(), shots=0, examples=4, share=0.5).fit(DATA)
    past = [liked_and_not(before.queries, i, made.history) for i in range(len(before))]
    known = [
        (liked.tolist(), other.tolist(), int(item), bool(yes))
        for (liked, other), item, yes in zip(past, before.item, before.liked, strict=True)
    ]
    assert len(made.examples_) == 4 and all(one in known for one in made.examples_)
    assert sum(yes for *_, yes in made.examples_) == 2


def test_solved_examples_come_back_from_disk(tmp_path):
    queries = DATA.queries(np.array([0]))
    made = TALLRec(TINY, shots=0, examples=3).fit(DATA)
    save(made, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    assert turns_of(again, queries) == turns_of(made, queries)
    scores = [stage.rank(queries, candidates(queries)).scores for stage in (made, again)]
    assert np.isfinite(scores[0]).all() and np.array_equal(*scores)


def test_what_is_learned_from_is_not_solved_in_front_of_itself(monkeypatch):
    """Draws of one seed are nested, so the solved examples would be the first of the shots."""
    from hexarec.parts.train import yesno

    seen = []
    monkeypatch.setattr(yesno, "tune_yes_no", lambda lm, kind, labels, train, valid, **more: seen.append(train))
    TALLRec(TINY, shots=16, examples=4).fit(DATA)
    (train,) = seen
    solved = [turn.text for turn in train.prompts[0].turns[:-1] if turn.role == "user"]
    assert len(train.prompts) == 16 and len(solved) == 4
    assert not [prompt for prompt in train.prompts if prompt.turns[-1].text in solved]
    seen.clear()
    TALLRec(TINY, shots=16).fit(DATA)
    whole = shots(split_cases(DATA, 0.1)[0], 16)
    assert seen[0].yes == whole.liked.tolist(), "without examples the shots are what they were"


def tuned(seed=0, **options):
    return TALLRec(TINY, **{**QUICK, **options}).fit(DATA, seed=seed)


def auc_of(stage, cases):
    ranked = [
        stage.rank(cases.queries.take(slice(i, i + 1)), cases.lists.take(slice(i, i + 1))) for i in range(len(cases))
    ]
    return auc(Pairs.of(cases.liked.astype(np.float64), np.concatenate([one.scores for one in ranked])))


@pytest.fixture(scope="module")
def learned():
    return tuned()


SMALL = {"shots": 16, "epochs": 2, "most_valid": 8}


def test_the_layers_that_are_named_are_those_that_learn():
    names = [set(tuned(**SMALL, targets=targets).adapter_["tensors"]) for targets in (["o_proj"], ["q_proj", "v_proj"])]
    assert names[0] and all(".o_proj." in name for name in names[0])
    assert all(".q_proj." in name or ".v_proj." in name for name in names[1])
    assert {name.split(".")[-2] for name in names[1]} == {"q_proj", "v_proj"}


def test_the_goal_is_the_answer_among_all_tokens_or_among_the_two():
    """Untuned, an answer is one among all tokens of a random model, or one of two: near ln 2."""
    losses = {goal: tuned(**SMALL, goal=goal).adapter_["about"]["losses"][0] for goal in ("tokens", "labels")}
    assert losses["tokens"] > 2.0 > 1.2 > losses["labels"] > 0.3


def test_it_stops_after_as_many_validations_without_a_better_auc():
    still = {
        "rate": 1e-12,
        "epochs": 6,
        "shots": 8,
        "most_valid": 8,
    }  # a step an epoch, so small that the order of the validated cases never changes
    steps = {patience: len(tuned(**still, patience=patience).adapter_["about"]["losses"]) for patience in (0, 1, 3)}
    assert steps == {0: 6, 1: 2, 3: 4}


def test_everybody_and_everything_is_served(learned):
    """Unknown users, empty histories, cold and later items, items without a title."""
    grown = DATA.with_items([Item("later", "Later"), Item("bare", "")])
    first = DATA.n_items
    for history in ([], ["i000", "later", "bare"]):
        queries = Queries.one(grown.catalog, user="stranger", history=history)
        given = Lists.of(grown.catalog.key, [[0, first, first + 1]])
        lm = Recording()
        TALLRec(lm, shots=0).fit(DATA).rank(queries, given)
        assert lm.asked[1].endswith("[A] Later") and lm.asked[2].endswith("[A] bare")
        assert ("Liked:\n(none)\nNot liked:\n(none)" in lm.asked[0]) == (not history)
        assert ("Later\n" in lm.asked[0]) == ("bare\n" in lm.asked[0]) == bool(history)
        ranked = learned.rank(queries, given)
        assert sorted(ranked.items.tolist()) == [0, first, first + 1] and np.isfinite(ranked.scores).all()


@pytest.mark.parametrize("negatives", ["log", "drawn"])
def test_a_catalog_of_one_item_teaches_nothing_and_is_served_untuned(negatives):
    one = Catalog.of([Item("only", "Only")], key="one")
    log = Interactions.of({"user": [0, 0], "item": [0, 0], "time": [0.0, 1.0]}, 1)
    data = Dataset(one, log, replace(DATA.users, ids=IdTable.of(["u"])))
    with pytest.raises(DataError, match="liked cases|labelled cases") as caught:
        TALLRec(TINY, negatives=negatives).fit(data)
    assert ("negatives='drawn'" in caught.value.hint) == (negatives == "log")
    queries = data.queries([0])
    assert np.isfinite(TALLRec(TINY, shots=0).fit(data).rank(queries, candidates(queries, 1)).scores).all()


def test_a_tuning_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    want, cancel = tuned(seed=7, **SMALL), Cancel()

    def stop(event):
        if event.get("label") == "tune" and event["done"] == 3:
            cancel.set()

    with pytest.raises(CancelledError), run(scratch=tmp_path, cancel=cancel, emit=stop):
        tuned(seed=7, **SMALL)
    told = []
    with run(scratch=tmp_path, emit=told.append):
        again = tuned(seed=7, **SMALL)
    assert state_digest(again) == state_digest(want)
    assert [event["total"] for event in told if event.get("label") == "tune" and event["done"] == 0] == [2]


@pytest.fixture(scope="module")
def asked():
    return cases_of(DATA).take(slice(-60, None))


def test_few_cases_teach_what_zero_shot_does_not_know(learned, asked):
    blank = TALLRec(TINY, shots=0, history=2).fit(DATA)
    assert auc_of(learned, asked) > 0.8 and auc_of(blank, asked) < 0.5


def test_shuffled_labels_teach_nothing(asked):
    found = {
        shuffle: [auc_of(tuned(seed, shuffle=shuffle, balanced=True), asked) for seed in range(2)]
        for shuffle in (False, True)
    }
    assert abs(np.mean(found[True]) - 0.5) < 0.2 and min(found[False]) > max(found[True]), found


def test_the_adapter_is_whole_differs_from_the_base_and_comes_back(learned, tmp_path):
    tensors = learned.adapter_["tensors"]
    assert all(np.abs(tensors[name]).max() > 0 for name in tensors if name.endswith(".B"))
    about = learned.adapter_["about"]
    assert about["examples"] == 24 and about["share"] < 0.2 and about["prompts"] == PROMPTS.hash
    assert about["valid"]["metric"] == "auc" and 0 <= about["valid"]["value"] <= 1
    queries = DATA.queries(np.array([0, 1, 2]))
    given = candidates(queries, 12)
    before = learned.rank(queries, given)
    blank = TALLRec(TINY, shots=0, history=2).fit(DATA).rank(queries, given)
    assert np.abs(np.sort(before.scores) - np.sort(blank.scores)).max() > 1e-2
    save(learned, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    assert np.abs(again.rank(queries, given).scores - before.scores).max() < 1e-6


def test_equal_seeds_tune_equal_weights_and_others_do_not(learned):
    same, other = tuned(), tuned(seed=1)
    name = next(iter(learned.adapter_["tensors"]))
    assert np.array_equal(same.adapter_["tensors"][name], learned.adapter_["tensors"][name])
    assert not np.array_equal(other.adapter_["tensors"][name], learned.adapter_["tensors"][name])


def test_it_goes_on_from_an_adapter_of_an_earlier_stage(learned):
    from hexarec.parts.train.kept import placed

    on = tuned(start=placed(learned.adapter_), epochs=1)
    assert on.adapter_["about"]["losses"][0] < learned.adapter_["about"]["losses"][0]


def test_without_shots_the_adapter_of_another_domain_is_asked_unchanged(learned, tmp_path):
    from hexarec.parts.train.kept import placed

    queries = DATA.queries(np.array([0, 1, 2]))
    given = candidates(queries, 12)
    other = TALLRec(TINY, shots=0, history=2, start=placed(learned.adapter_)).fit(DATA)
    assert np.array_equal(other.rank(queries, given).scores, learned.rank(queries, given).scores)
    save(other, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    assert np.array_equal(again.rank(queries, given).scores, other.rank(queries, given).scores)
    with pytest.raises(ModelError, match="holds no tuned weights"):
        TALLRec(TINY, shots=0, start=str(tmp_path / "nowhere")).fit(DATA)
    with pytest.raises(ModelError, match="kept is a saved stage or pipeline, no tuned weights\n  -> give the folder"):
        TALLRec(TINY, shots=0, start=str(tmp_path / "kept")).fit(DATA)
    with pytest.raises(ModelError, match=r"'\\x00' is no path"):
        tuned(start="\0", epochs=1)
    with pytest.raises(CapabilityError, match="weights"):
        TALLRec(Overlap(), shots=0, start=placed(learned.adapter_))


def test_what_a_model_lacks_is_said_when_it_is_built():
    with pytest.raises(CapabilityError, match="weights") as caught:
        TALLRec(Overlap())
    assert "shots=0" in caught.value.hint and "hf:" in caught.value.hint
    TALLRec(Overlap(), shots=0)


@pytest.mark.parametrize(
    "options",
    [{"shots": -1}, {"history": 0}, {"examples": -1}, {"goal": "label"}, {"loss_on": "prompt"}, {"domain": "films"}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        TALLRec(TINY, **options)


def test_an_estimate_counts_the_tuning_and_tunes_nothing():
    small, large = (
        estimate(TALLRec(TINY, **{**QUICK, "shots": n}), DATA, 4, queries=DATA.queries(np.arange(4)),
                 candidates=candidates(DATA.queries(np.arange(4))))
        for n in (8, 16)
    )  # fmt: skip
    assert large.fit_calls == 2 * small.fit_calls == 16 * QUICK["epochs"] and large.tokens_in > small.tokens_in


def test_a_variant_keeps_what_was_learned(learned):
    assert variant(learned, history=3).adapter_ is learned.adapter_
