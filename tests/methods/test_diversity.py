from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec import core
from hexarec.classic import MMR, Calibrated, Popular
from hexarec.core import (
    CapabilityError,
    Catalog,
    DataError,
    Dataset,
    Exposures,
    Features,
    History,
    IdTable,
    Interactions,
    Item,
    Lists,
    OptionError,
    Queries,
    Users,
    ragged,
    rng,
    run,
    variant,
)
from hexarec.data.worlds import world
from hexarec.lm.fake import Scripted
from hexarec.lm.open import open_lm
from hexarec.methods.diversity import PROMPTS, USED, Diversity
from hexarec.metrics import Reference
from hexarec.metrics.diversity import calibration, ild_tags
from hexarec.parts.attributes import variety
from hexarec.pipeline.build import build
from hexarec.testing import check, strategies

GENRES = ("a", "b", "c", "d")


def data_of(past, genres, vectors=None):
    """past[u]: item rows of user u in order; genres[i]: of item i."""
    items = [Item(f"i{i}", f"Item {i}", attributes={"genres": one}) for i, one in enumerate(genres)]
    flat = np.array([i for row in past for i in row], np.int32)
    user = np.repeat(np.arange(len(past)), [len(row) for row in past])
    log = Interactions.of({"user": user, "item": flat, "time": np.arange(len(flat), dtype=float)}, len(past))
    made = Dataset(Catalog.of(items, key="diversity"), log, Users(IdTable.of(f"u{u}" for u in range(len(past)))))
    if vectors is None:
        return made
    rows = np.asarray(vectors, np.float32)
    return made.with_features("v", Features(rows, np.ones(len(rows), bool)))


def tastes(n_users=21, n_items=200):
    """User u likes u + 1 kinds more and more evenly: from one genre only to all of them. Items have one genre each."""
    kinds = 8
    genres = [(f"g{i % kinds}",) for i in range(n_items)]
    past = []
    for u in range(n_users):
        draw = rng(0, "taste", u)
        share = u / (n_users - 1)
        pick = np.where(draw.random(40) < share, draw.integers(kinds, size=40), 0)
        past.append([int(kind + kinds * draw.integers(n_items // kinds)) for kind in pick])
    return data_of(past, genres)


def falling(data, rows, n=None):
    """The same rows as candidates of n questions, scores falling evenly."""
    n = 1 if n is None else n
    return Lists.of(data.catalog.key, [list(rows)] * n, [[1.0 - i / 1000 for i in range(len(rows))]] * n)


def random_case(seed=0, n=40, m=60, kinds=12):
    """Users and candidates of random relevance over items of one to three genres."""
    draw = rng(seed, "case")
    genres = [tuple(f"g{g}" for g in draw.permutation(kinds)[: draw.integers(1, 4)]) for _ in range(300)]
    data = data_of([draw.permutation(300)[:30].tolist() for _ in range(n)], genres)
    rows = [draw.permutation(300)[:m].tolist() for _ in range(n)]
    scores = [np.sort(draw.random(m))[::-1].tolist() for _ in range(n)]
    return data, data.queries(), Lists.of(data.catalog.key, rows, scores)


# ---------------------------------------------------------------- the determinant, end to end
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_lists_equal_naive_greedy_by_log_determinants(seed, strength):
    draw = rng(seed, "vectors")
    rows = draw.normal(size=(12, 16))
    data = data_of([[0, 1]], [("a",)] * 12, rows)
    lists = falling(data, draw.permutation(12).tolist())
    stage = Diversity(direction="fixed", strength=strength, by="feature", name="v").fit(data)
    made = stage.control(data.queries([0]), lists, 5).items.tolist()
    kernel = stage.alike_.kernel(np.arange(12), np.tile(np.arange(12), (12, 1)))
    np.fill_diagonal(kernel, 1.0)
    relevance = 1.0 - np.arange(12) / 11
    picks = []
    for _ in range(5):
        left = [i for i in range(12) if int(lists.items[i]) not in picks]
        gain = [
            (1 - strength) * relevance[i]
            + strength * np.linalg.slogdet(kernel[np.ix_([*picks, lists.items[i]], [*picks, lists.items[i]])])[1]
            for i in left
        ]
        picks.append(int(lists.items[left[int(np.argmax(gain))]]))
    assert made == picks


@pytest.mark.parametrize("by", ["attribute", "feature", "log"])
def test_the_likeness_behind_a_determinant_is_positive_semi_definite(by):
    data, _, _ = random_case(3)
    data = data.with_features(
        "v", Features(rng(0, "v").normal(size=(300, 8)).astype(np.float32), np.arange(300) % 7 > 0)
    )
    stage = Diversity(by=by, name="v" if by == "feature" else "genres").fit(data)
    everything = np.arange(302)  # the last two are not known
    kernel = stage.alike_.kernel(everything, np.tile(everything, (302, 1)))
    np.fill_diagonal(kernel, 1.0)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-6)
    assert np.linalg.eigvalsh(kernel).min() > -1e-5
    assert not kernel[300:, :300].any()


def test_a_similarity_cut_to_neighbours_would_be_no_kernel():
    """What users of the released code met as negative d squared (fast-map-dpp, issue 1): our log table is whole."""
    data, _, _ = random_case(3)
    whole, everything = Diversity(by="log").fit(data).alike_, np.tile(np.arange(300), (300, 1))
    cut = MMR(by="log", neighbours=5).fit(data)
    least = []
    for stage in (whole, cut):
        kernel = stage.kernel(np.arange(300), everything)
        np.fill_diagonal(kernel, 1.0)
        least.append(np.linalg.eigvalsh((kernel + kernel.T) / 2).min())
    assert least[0] > -1e-5 and least[1] < -0.05


def test_equal_items_do_not_stand_together_while_anything_else_is_left():
    data = data_of([[0]], [("a",), ("a",), ("a",), ("b",), ("c",), ("a", "b")])
    stage = Diversity(direction="fixed", strength=0.01).fit(data)
    made = stage.control(data.queries([0]), falling(data, range(6)), 6).items.tolist()
    assert made == [0, 3, 4, 5, 1, 2], "copies follow by relevance, and the list is whole"
    mild = variant(stage, ridge=0.5).control(data.queries([0]), falling(data, range(6)), 2)
    assert mild.items.tolist() == [0, 1], "with a ridge a copy has a price, and this one is low"


# ---------------------------------------------------------------- strength
@pytest.mark.parametrize("how", ["dpp", "mmr", "calibrated"])
def test_no_strength_keeps_the_order_and_full_strength_forgets_relevance(how):
    data, queries, lists = random_case()
    stage = Diversity(how=how, direction="fixed", strength=0.0).fit(data)
    assert np.array_equal(stage.control(queries, lists, 10).items, lists.top_k(10).items)
    full = variant(stage, strength=1.0)
    flat = replace(lists, scores=np.sort(rng(1, "other").random(len(lists.items)))[::-1].astype(np.float32))
    assert np.array_equal(full.control(queries, lists, 5).items, full.control(queries, flat, 5).items)


@pytest.mark.parametrize("how", ["dpp", "mmr", "calibrated"])
def test_more_strength_more_variety_less_relevance(how):
    data, queries, lists = random_case()
    reference = Reference.of(data, queries, tags="genres")
    worth = dict(zip(zip(ragged.segments(lists.offsets), lists.items, strict=True), lists.scores, strict=True))
    stage = Diversity(how=how, direction="fixed").fit(data)
    variety_, relevance_ = [], []
    for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95):
        made = variant(stage, strength=strength).control(queries, lists, 10)
        measured = calibration if how == "calibrated" else ild_tags
        variety_.append(measured(made, reference, 10).value * (-1 if how == "calibrated" else 1))
        keys = zip(ragged.segments(made.offsets), made.items, strict=True)
        relevance_.append(float(np.mean([worth[key] for key in keys])))
    assert (np.diff(variety_) > -0.005).all() and variety_[-1] > variety_[0] + 0.05
    assert (np.diff(relevance_) < 1e-3).all()


def test_mmr_and_calibration_are_the_classics_under_a_fixed_strength():
    data, queries, lists = random_case(5)
    ours = Diversity(how="mmr", direction="fixed", strength=0.4).fit(data).control(queries, lists, 8)
    theirs = MMR(share=0.6, by="attribute").fit(data).control(queries, lists, 8)
    assert np.array_equal(ours.items, theirs.items)
    ours = Diversity(how="calibrated", direction="fixed", strength=0.4).fit(data).control(queries, lists, 8)
    assert np.array_equal(ours.items, Calibrated(share=0.4).fit(data).control(queries, lists, 8).items)


def test_calibration_by_hand():
    """History half a, half b. First pick: a alone, KL .5 ln(.5/.995) + .5 ln(.5/.005) = 1.9585; then b, KL 0."""
    data = data_of([[0, 1]], [("a",), ("b",), ("a",), ("a",), ("b",), ("a", "b")])
    queries = data.queries([0])
    reference = Reference.of(data, queries, tags="genres")
    one = Lists.of(data.catalog.key, [[2]])
    assert calibration(one, reference, 10).value == pytest.approx(1.9585, abs=1e-4)
    lists = Lists.of(data.catalog.key, [[2, 3, 4]], [[1.0, 0.9, 0.0]])
    stage = Diversity(how="calibrated", direction="fixed", strength=0.5).fit(data)
    # at .5 the second place is worth .5 * 1.9 - .5 * 1.9585 with a and .5 * 1.0 - 0 with b: b wins
    made = stage.control(queries, lists, 2)
    assert made.items.tolist() == [2, 4] and calibration(made, reference, 10).value == pytest.approx(0.0, abs=1e-9)
    # at .3 it is .7 * 1.9 - .3 * 1.9585 = .742 with a, .7 * 1.0 = .7 with b: a wins
    assert variant(stage, strength=0.3).control(queries, lists, 2).items.tolist() == [2, 3]
    both = Lists.of(data.catalog.key, [[5]])
    assert calibration(both, reference, 10).value == pytest.approx(0.0, abs=1e-9), "one item of both genres mirrors it"


def test_a_list_that_mirrors_the_history_has_no_divergence():
    data = data_of([[0, 4, 8, 1]], [(GENRES[i % 4],) for i in range(40)])
    queries = data.queries([0])
    pool = [i for i in range(40) if i not in (0, 4, 8, 1)]
    made = (
        Diversity(how="calibrated", direction="fixed", strength=0.99).fit(data).control(queries, falling(data, pool), 8)
    )
    assert calibration(made, Reference.of(data, queries, tags="genres"), 8).value == pytest.approx(0.0, abs=1e-6)
    assert np.bincount(made.items % 4, minlength=4).tolist() == [6, 2, 0, 0]


# ---------------------------------------------------------------- dynamic strength
def test_follow_gives_more_to_broad_taste_and_explore_to_narrow_taste():
    data = tastes()
    follow, explore = (Diversity(direction=d).fit(data) for d in ("follow", "explore"))
    queries = data.queries()
    own = variety(queries.history.offsets, queries.history.item, follow.mix_.genres_, follow.recent)
    order = np.argsort(own)
    up, down = follow.strengths(queries)[0][order], explore.strengths(queries)[0][order]
    assert (np.diff(up) >= 0).all() and (np.diff(down) <= 0).all()
    assert up[0] < 0.1 and up[-1] > 0.7 and down[0] > 0.7 and down[-1] < 0.1
    np.testing.assert_allclose(up + down, 0.8, atol=1e-9)


def test_the_two_directions_give_a_narrow_user_different_lists():
    data = tastes(n_items=400)
    narrow = data.queries([0])
    pool = sorted(set(range(400)) - set(narrow.exclude.tolist()), key=lambda i: (i % 8, i))
    kinds = {}
    for direction in ("follow", "explore"):
        made = Diversity(direction=direction, ridge=0.1).fit(data).control(narrow, falling(data, pool), 8)
        kinds[direction] = set((made.items % 8).tolist())
    assert len(kinds["follow"]) <= 2 and len(kinds["explore"]) == 8


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 11), max_size=12), min_size=2, max_size=6), st.sampled_from(["follow", "explore"])
)
def test_strength_is_monotone_in_the_variety_of_the_history(past, direction):
    data = data_of(past, [(GENRES[i % 4],) for i in range(12)])
    stage = Diversity(direction=direction, low=0.1, high=0.6, strength=0.3, recent=4).fit(data)
    queries = data.queries()
    made, odds = stage.strengths(queries)
    own = variety(queries.history.offsets, queries.history.item, stage.mix_.genres_, 4)
    known = ~np.isnan(own)
    assert (made[~known] == 0.3).all() and (odds == 1.0).all()
    assert ((made[known] >= 0.1) & (made[known] <= 0.6)).all()
    steps = np.diff(made[known][np.argsort(own[known], kind="stable")])
    assert (steps >= 0).all() if direction == "follow" else (steps <= 0).all()


def test_only_liked_events_count_and_a_known_user_without_a_history_is_remembered():
    data = tastes()
    stage = Diversity().fit(data)
    queries = data.queries()
    silent = queries.with_history(History.empty(len(queries)))
    np.testing.assert_allclose(stage.strengths(silent)[0], stage.strengths(queries)[0])
    nobody = Queries.one(data.catalog, user="stranger")
    assert stage.strengths(nobody)[0].tolist() == [0.4]
    past = queries.history
    half = queries.with_history(replace(past, liked=past.item % 8 == 0))
    assert (stage.strengths(half)[0] < 0.1).all(), "of one liked genre only"


def test_strength_and_odds_stand_in_the_list():
    data = tastes()
    stage = Diversity().fit(data)
    made = stage.control(data.queries(), falling(data, range(50), 21), 5)
    np.testing.assert_allclose(made.fields[USED][::5], stage.strengths(data.queries())[0], rtol=1e-6)
    assert (made.fields["diversity.propensity"] == 1.0).all()


# ---------------------------------------------------------------- what was consumed
def pages(stage, queries, lists, k=10, took=10):
    """One page for everybody, of which the first `took` items are consumed."""
    shown = stage.control(queries, lists, k)
    gain = (ragged.positions(shown.offsets) < took).astype(np.float32)
    return Exposures(queries, shown.with_field("gain", gain), source="sim:pages")


def simulator():
    """Pages whose variety rises smoothly with the strength, and users from narrow to broad."""
    draw = rng(7, "simulator")
    kinds = [draw.permutation(8)[: draw.integers(1, 4)] for _ in range(400)]
    liked = np.array([{0, 1} & set(one.tolist()) != set() for one in kinds])
    past = [[int(i) for i in draw.integers(400, size=60) if liked[i] or draw.random() < u / 30] for u in range(30)]
    data = data_of(past, [tuple(f"g{g}" for g in one) for one in kinds])
    vectors = np.array([np.isin(np.arange(8), one) for one in kinds]) + 0.4 * draw.normal(size=(400, 8))
    data = data.with_features("v", Features(vectors.astype(np.float32), np.ones(400, bool)))
    scores, rows = [], []
    for _ in range(30):
        worth = draw.random(400) + 1.5 * np.array([set(one.tolist()) <= {0, 1, 2} for one in kinds])
        rows.append(np.argsort(-worth)[:120].tolist())
        scores.append(np.sort(worth)[::-1][:120].tolist())
    return data, Lists.of(data.catalog.key, rows, scores)


def errors_of(stage, queries, lists, steps):
    """Goal less variety of each page, (steps, users), with learning in between."""
    goal = np.interp(stage._place(queries), np.linspace(0, 1, 101), stage.scale_)
    out = []
    for _ in range(steps):
        shown = pages(stage, queries, lists)
        out.append(goal - variety(shown.shown.offsets, shown.shown.items, stage.mix_.genres_, stage.recent))
        stage = stage.learn(shown)
    return np.array(out), stage


def reachable(stage, queries, lists):
    """Users whose goal lies between the variety of their pages at no and at full strength."""
    goal = np.interp(stage._place(queries), np.linspace(0, 1, 101), stage.scale_)
    ends = [variant(stage, direction="fixed", strength=s).control(queries, lists, 10) for s in (0.0, 1.0)]
    low, high = (variety(made.offsets, made.items, stage.mix_.genres_, 10) for made in ends)
    return (goal > low + 0.02) & (goal < high - 0.02)


def test_feedback_brings_pages_to_their_goal_within_ten():
    """One item of ten moves the variety by some .03: nearer than that cannot be asked."""
    data, lists = simulator()
    queries = data.queries()
    stage = Diversity(by="feature", name="v", high=1.0).fit(data)
    assert (stage.proportional, stage.integral) == (0.5, 0.02)
    errors, after = errors_of(stage, queries, lists, 14)
    some = reachable(stage, queries, lists)
    assert some.sum() >= 8
    settled, unmoved = np.abs(errors[10:, some]).mean(), np.abs(errors[0, some]).mean()
    assert unmoved > 0.2 and settled < 0.05
    assert np.abs(np.diff(errors[10:, some], axis=0)).mean() < 0.05, "it does not swing from side to side"
    strengths = after.strengths(queries)[0]
    assert ((strengths >= 0.0) & (strengths <= 1.0)).all()


def test_the_gain_decides_between_settling_and_swinging():
    """Pages of this simulator gain some 1 of variety per unit of strength: far beyond twice the bound of 1 they swing."""
    data, lists = simulator()
    stage = Diversity(by="feature", name="v", proportional=60.0, integral=0.0, high=1.0).fit(data)
    errors, _ = errors_of(stage, data.queries(), lists, 14)
    some = reachable(stage, data.queries(), lists)
    assert np.abs(np.diff(errors[10:, some], axis=0)).mean() > 0.3 and np.abs(errors[10:, some]).mean() > 0.2


def test_nothing_consumed_teaches_nothing_and_the_given_stage_stays():
    data, lists = simulator()
    queries, stage = data.queries(), Diversity().fit(data)
    before = core.state_digest(stage)
    same = stage.learn(pages(stage, queries, lists, took=0))
    np.testing.assert_allclose(same.strengths(queries)[0], stage.strengths(queries)[0])
    moved = stage.learn(pages(stage, queries, lists))
    assert (moved.strengths(queries)[0] != stage.strengths(queries)[0]).any()
    assert core.state_digest(stage) == before
    assert Diversity(direction="fixed").fit(data).learn(pages(stage, queries, lists)).strengths(queries)[0][0] == 0.4


def test_memory_is_per_user_and_can_be_reset_forgotten_and_saved(tmp_path):
    data, lists = simulator()
    queries, stage = data.queries(), Diversity(high=1.0).fit(data)
    some = np.array([0, 1, 2])
    moved = stage.learn(pages(stage, queries.take(some), lists.take(some)))
    before, after = stage.strengths(queries)[0], moved.strengths(queries)[0]
    assert (after[3:] == before[3:]).all() and (after[:3] != before[:3]).any()
    again = moved.reset(["u0", "u1", "u2"])
    np.testing.assert_allclose(again.strengths(queries)[0], before)
    gone = core.forget(moved, ["u0"])
    np.testing.assert_allclose(gone.strengths(queries)[0][1:], after[1:])
    assert gone.strengths(queries)[0][0] == pytest.approx(before[0]), "the history still counts"
    core.save(moved, tmp_path / "moved")
    np.testing.assert_allclose(core.load(tmp_path / "moved", resolve=None).strengths(queries)[0], after)


def test_lists_of_one_user_are_learnt_in_the_order_of_time():
    data, lists = simulator()
    stage = Diversity(high=1.0, integral=0.1).fit(data)
    one, other = data.queries([4], now=1e9), data.queries([4], now=1e9 + 1)
    first, second = pages(stage, one, lists.take(np.array([4]))), pages(stage, other, lists.take(np.array([5])))
    apart = stage.learn(first).learn(second)
    both = data.queries([4, 4], now=1e9)
    shown = Lists.join([second.shown, first.shown])
    together = stage.learn(Exposures(replace(both, now=np.array([1e9 + 1, 1e9])), shown))
    np.testing.assert_allclose(together.strengths(one)[0], apart.strengths(one)[0])


def test_a_log_without_events_sets_no_goals():
    data = data_of([[], []], [(GENRES[i % 4],) for i in range(8)])
    stage, queries = Diversity().fit(data), Queries.one(data.catalog, user="u0", history=["i0", "i1"])
    lists = falling(data, range(2, 8))
    assert stage.strengths(queries)[0].tolist() == [0.4]
    assert stage.learn(pages(stage, queries, lists, 3)).strengths(queries)[0].tolist() == [0.4]


def test_strangers_to_the_log_are_steered_too():
    data, lists = simulator()
    stage = Diversity(high=1.0).fit(data)
    new = Queries.one(data.catalog, user="new", history=["i0", "i5"])
    moved = stage.learn(pages(stage, new, lists.take(np.array([0]))))
    assert moved.strengths(new)[0] != stage.strengths(new)[0]
    nobody = Queries.one(data.catalog, history=["i0", "i5"])
    same = stage.learn(pages(stage, nobody, lists.take(np.array([0]))))
    assert same.strengths(nobody)[0] == stage.strengths(nobody)[0]


# ---------------------------------------------------------------- the bandit
def visits(stage, queries, lists, length):
    """Every user sees as many lists as `length` says of the strength; in one call they are one visit."""
    used = stage.strengths(queries)[0]
    rows = np.repeat(np.arange(len(queries)), length(used))
    asked = queries.take(rows)
    shown = stage.control(asked, lists.take(rows), 5)
    return Exposures(
        asked, shown.with_field("gain", np.full(len(shown.items), np.nan, np.float32)), source="sim:visits"
    )


def test_the_bandit_finds_the_strength_of_the_longest_visits():
    data, lists = simulator()
    queries = data.queries()
    stage = Diversity(direction="learnt").fit(data)
    tried = set()
    for _ in range(25):
        tried |= set(stage.strengths(queries)[0].round(6).tolist())
        stage = stage.learn(visits(stage, queries, lists, lambda used: np.where(np.abs(used - 0.4) < 0.1, 6, 1)))
    made, odds = stage.strengths(queries)
    assert tried == {0.0, 0.2, 0.4, 0.6, 0.8}, "the strengths of the card"
    assert (np.abs(made - 0.4) < 1e-6).mean() > 0.8
    assert set(odds.round(3).tolist()) <= {0.92, 0.02}
    shown = stage.control(queries, lists, 3)
    np.testing.assert_allclose(shown.fields["diversity.propensity"][::3], odds, rtol=1e-6)


def test_the_bandit_refuses_lists_it_did_not_control():
    data, lists = simulator()
    stage = Diversity(direction="learnt").fit(data)
    shown = lists.with_field("gain", np.ones(len(lists.items), np.float32))
    with pytest.raises(DataError, match="diversity.strength"):
        stage.learn(Exposures(data.queries(), shown))


# ---------------------------------------------------------------- quotas
def test_quotas_hold_for_every_way_and_strength():
    data, queries, lists = random_case(9)
    for how in ("dpp", "mmr", "calibrated"):
        stage = Diversity(how=how, direction="fixed", strength=0.5, at_least={"g1": 2}, at_most={"*": 3}).fit(data)
        made = stage.control(queries, lists, 8)
        assert (made.lengths == 8).all()
        count = (stage.mix_.genres_[made.items] > 0).reshape(len(queries), 8, -1).sum(1)
        column = stage.mix_.values_.index("g1")
        told = [note.get("quotas", []) for note in made.notes] if made.notes else [[]] * len(made)
        for i in range(len(queries)):
            broken = {v for j, v in enumerate(stage.mix_.values_) if count[i, j] > 3} | (
                {"g1"} if count[i, column] < 2 else set()
            )
            assert {one["category"] for one in told[i]} == broken
        assert sum(bool(one) for one in told) < len(queries) / 4


def test_what_cannot_be_kept_is_told_beside_what_stood_in_the_notes():
    data = data_of([[0]], [("a",), ("a",), ("b",)])
    lists = replace(falling(data, [0, 1, 2]), notes=({"parse": "kept"},))
    stage = Diversity(direction="fixed", at_least={"b": 2}, at_most={"a": 1}).fit(data)
    made = stage.control(data.queries([0]), lists, 3)
    assert made.notes[0]["parse"] == "kept" and sorted(made.items.tolist()) == [0, 1, 2]
    assert made.notes[0]["quotas"] == [
        {"category": "a", "rule": "at most", "asked": 1, "got": 2},
        {"category": "b", "rule": "at least", "asked": 2, "got": 1},
    ]
    good = variant(stage).control(data.queries([0]), falling(data, [0, 2]), 1)
    assert good.notes[0]["quotas"][0]["rule"] == "at least"
    free = Diversity(direction="fixed").fit(data).control(data.queries([0]), lists, 3)
    assert free.notes == ({"parse": "kept"},)


def test_items_of_several_genres_count_in_all_of_them():
    """A defect of many re-rankers: only the first genre of an item is looked at."""
    data = data_of([[0]], [("a", "b"), ("b", "a"), ("b",), ("c",)])
    stage = Diversity(direction="fixed", strength=0.0, at_most={"b": 1}).fit(data)
    assert stage.control(data.queries([0]), falling(data, [0, 1, 2, 3]), 2).items.tolist() == [0, 3]
    np.testing.assert_allclose(stage.mix_.genres_[0], [0.5, 0.5, 0.0])


# ---------------------------------------------------------------- reported weaknesses
def test_vectors_that_all_point_one_way_are_told_apart():
    """Text vectors saturate: every pair is alike at .99, so nothing differs until the common part is taken off."""
    draw = rng(0, "saturated")
    kinds = np.repeat(np.arange(3), 10)
    rows = 10.0 * np.ones(16) + np.eye(16)[kinds] * 2 + 0.05 * draw.normal(size=(30, 16))
    data = data_of([[0]], [("a",)] * 30, rows)
    everything = np.tile(np.arange(30), (30, 1))
    raw, centred = (
        MMR(by="feature", name="v", centre=c).fit(data).similar(np.arange(30), everything) for c in (False, True)
    )
    assert raw.min() > 0.98
    same, other = kinds[:, None] == kinds, kinds[:, None] != kinds
    assert centred[same].min() > 0.5 and centred[other].max() < 0.0
    lists = falling(data, range(30))
    made = (
        Diversity(direction="fixed", strength=0.5, by="feature", name="v")
        .fit(data)
        .control(data.queries([0]), lists, 3)
    )
    assert set(kinds[made.items]) == {0, 1, 2}


def test_opposite_vectors_are_no_copies():
    data = data_of([[0]], [("a",)] * 3, [[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1]])
    made = Diversity(direction="fixed", strength=0.6, by="feature", name="v").fit(data)
    assert made.control(data.queries([0]), falling(data, [0, 2, 1]), 2).items.tolist() == [0, 1]


def test_places_of_the_list_may_weigh_in_calibration():
    """Calibration as it is mostly written ignores places: with decay, what stands first has to carry the mix."""
    genres = [("a",), ("b",), ("b",), ("a",), ("a",), ("b",), ("b",), ("b",)]
    data = data_of([[0, 1, 2]], genres)
    queries, pool = data.queries([0]), falling(data, [3, 4, 5, 6, 7])
    shown = {}
    for decay in (1.0, 0.3):
        made = Calibrated(share=0.9, decay=decay).fit(data).control(queries, pool, 4)
        shown[decay] = "".join(genres[i][0] for i in made.items)
    # of the weights 1, .3, .09, .027 the first b holds .71, where two thirds are asked for
    assert shown == {1.0: "baba", 0.3: "baab"}


def test_newer_events_may_weigh_more_in_calibration():
    data = data_of([[0, 0, 0, 1]], [("a",), ("b",)])
    by_hand = np.array([0.5**3 + 0.5**2 + 0.5, 1.0]) / (0.5**3 + 0.5**2 + 0.5 + 1.0)
    np.testing.assert_allclose(Calibrated(discount=0.5).fit(data).target(data.queries([0]))[0], by_hand, rtol=1e-6)


# ---------------------------------------------------------------- words
def asked(data, words, lang="en"):
    queries = data.queries(list(range(len(words))))
    return replace(queries, text=core.strings(words), lang=np.full(len(words), lang, object))


def test_words_choose_a_level_and_anything_else_changes_nothing():
    data = tastes()
    seen = []

    def answer(prompt):
        seen.append(prompt.text)
        return {"surprise me": "5", "more of the same": " [1].", "hello": "0"}.get(
            prompt.text.split('"')[1], "as you like"
        )

    stage = Diversity(lm=Scripted(answer), low=0.1, high=0.7).fit(data)
    queries = asked(data, ["surprise me", "more of the same", "hello", "?", None, ""])
    plain = Diversity(low=0.1, high=0.7).fit(data).strengths(queries)[0]
    made = stage.strengths(queries)[0]
    np.testing.assert_allclose(made[:2], [0.7, 0.1])
    np.testing.assert_allclose(made[2:], plain[2:])
    assert len(seen) == 4, "who says nothing costs nothing"


def test_a_strength_that_was_wished_for_was_chosen_with_certainty():
    """Not with the odds of the arm that the bandit would have drawn."""
    data = tastes()
    wordless = Diversity(direction="learnt", low=0.1, high=0.7).fit(data)
    stage = Diversity(direction="learnt", low=0.1, high=0.7, lm=Scripted(lambda prompt: "5")).fit(data)
    queries = asked(data, ["surprise me", "", "surprise me", None])
    made, odds = stage.strengths(queries)
    drawn = wordless.strengths(queries)[1]
    assert made[[0, 2]].tolist() == [0.7, 0.7] and (drawn < 1.0).all()
    assert odds[[0, 2]].tolist() == [1.0, 1.0] and odds[[1, 3]].tolist() == drawn[[1, 3]].tolist()


def test_the_prompt_in_both_languages():
    data, seen = tastes(), []
    stage = Diversity(lm=Scripted(lambda prompt: seen.append(prompt.text) or "3")).fit(data)
    stage.strengths(asked(data, ['something <|im_end|> "new"\nplease']))
    stage.strengths(asked(data, ["来点新鲜的"], "zh"))
    assert seen == [
        'Somebody asks for recommendations and says: "something "new" please"\nHow varied should the list be?\n'
        "1 all of one kind\n2 rather alike\n3 mixed\n4 varied\n5 full of surprises\n0 the words do not say\n"
        "Answer with one digit.",
        "有人想要推荐，并且说：“来点新鲜的”\n列表应该有多多样？\n1 全是同一类\n2 比较相似\n3 有所混合\n4 多样\n"
        "5 充满惊喜\n0 话里没有说\n只回答一个数字。",
    ]
    assert PROMPTS.version == 1


def test_a_model_that_fails_is_told_and_changes_nothing():
    from hexarec.lm.base import failed

    class Down(Scripted):
        def answer(self, prompt, within):
            return failed("the server is down")

    data, said = tastes(), []
    queries = asked(data, ["surprise me"])
    with run(complain=said.append):
        made = Diversity(lm=Down(lambda prompt: "")).fit(data).strengths(queries)[0]
    assert said == ["1 of 1 requests not read: the server is down"]
    np.testing.assert_allclose(made, Diversity().fit(data).strengths(queries)[0])


# ---------------------------------------------------------------- any input
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_lists_any_options(drawn):
    data = drawn.draw(strategies.datasets(low=2))
    lists = drawn.draw(strategies.lists(4, len(data.catalog), data.catalog.key))
    options = {
        "how": drawn.draw(st.sampled_from(["dpp", "mmr", "calibrated"])),
        "direction": drawn.draw(st.sampled_from(["follow", "explore", "learnt", "fixed"])),
        "by": drawn.draw(st.sampled_from(["attribute", "log"])),
        "strength": drawn.draw(st.sampled_from([0.0, 0.3, 1.0])),
        "window": drawn.draw(st.sampled_from([None, 1, 2])),
        "at_most": drawn.draw(st.sampled_from([{}, {"*": 1}, {"*": 0}])),
        "ridge": drawn.draw(st.sampled_from([0.0, 0.2])),
    }
    k = drawn.draw(st.integers(0, 7))
    stage, queries = Diversity(**options).fit(data), data.queries()
    made = stage.control(queries, lists, k)
    assert made.lengths.tolist() == np.minimum(lists.lengths, k).tolist()
    for one, given_ in zip(made, lists, strict=True):
        assert len(set(one.items.tolist())) == len(one.items) and set(one.items) <= set(given_.items)
        assert (np.diff(one.scores) < 0).all() and np.array_equal(one.fields["mark"], 7 * one.items + 1)
    turned = stage.control(queries.take(np.arange(4)[::-1]), lists.take(np.arange(4)[::-1]), k)
    assert np.array_equal(turned.take(np.arange(4)[::-1]).items, made.items)


@pytest.mark.parametrize(
    "stage",
    [
        Diversity(how="mmr", direction="explore", by="log", at_most={"*": 2}),
        Diversity(how="calibrated", direction="learnt"),
        Diversity(direction="fixed", by="log", at_least={"*": 1}, window=2, ridge=0.1),
        Diversity(lm=open_lm("fake:overlap")),
    ],
    ids=["mmr", "calibrated", "dpp", "words"],
)
def test_other_options_keep_the_contracts_too(stage):
    assert [str(one) for one in check(stage, world("trap")) if not one.kept] == []


def test_blocks_do_not_change_the_answer(monkeypatch):
    data, queries, lists = random_case(11)
    stage = Diversity(at_most={"g0": 1}).fit(data)
    whole = stage.control(queries, lists, 6)
    monkeypatch.setattr("hexarec.methods.diversity.CELLS", 100)
    assert np.array_equal(stage.control(queries, lists, 6).items, whole.items)


def test_new_items_join_when_the_stage_is_extended():
    place = world("trap")
    grown = place.data.with_items([Item("new", "New", attributes={"genres": ("ocean",)})])
    stage = Diversity(direction="fixed", strength=0.5, at_most={"ocean": 1}).fit(place.data)
    lists = Lists.of(grown.catalog.key, [[0, len(grown.catalog) - 1, 1]])
    queries = grown.queries([0])
    assert stage.control(queries, lists, 2).items.tolist() == [0, 42], "before, nothing is known of it"
    assert stage.extend(grown.catalog).control(queries, lists, 2).items.tolist() == [0, 1]


def test_options_are_checked_and_built_by_name():
    made = build("diversity", {"how": "mmr", "at_most": {"*": 2}, "lm": "fake:overlap"})
    assert isinstance(made, Diversity) and made.at_most == {"*": 2} and made.lm.can
    data = tastes()
    for options, error in (
        ({"how": "x"}, OptionError),
        ({"direction": "x"}, OptionError),
        ({"strength": 1.5}, OptionError),
        ({"low": 0.7, "high": 0.2}, OptionError),
        ({"recent": 0}, OptionError),
        ({"window": 0}, OptionError),
        ({"ridge": 1.0}, OptionError),
        ({"proportional": -0.1}, OptionError),
        ({"integral": float("nan")}, OptionError),
        ({"by": "x"}, OptionError),
        ({"at_most": {"nothing": 1}}, OptionError),
        ({"by": "feature", "name": "v"}, CapabilityError),
        ({"attribute": "brand"}, CapabilityError),
    ):
        with pytest.raises(error):
            Diversity(**options).fit(data)


def test_in_a_pipeline_the_fields_and_notes_arrive():
    from hexarec.pipeline.pipeline import Pipeline

    place = world("trap")
    whole = Pipeline((Popular(),), control_by=(Diversity(at_least={"robot": 40}),), depth=30, strict=True).fit(
        place.data
    )
    answer = whole.recommend(place.queries, 5)
    assert USED in answer.items.fields and answer.items.notes[0]["quotas"][0]["category"] == "robot"
    learned = whole.learn(
        Exposures(place.queries, answer.items.with_field("gain", np.ones(len(answer.items.items), np.float32)))
    )
    assert learned.control_[0].steered_.users.known.any()
