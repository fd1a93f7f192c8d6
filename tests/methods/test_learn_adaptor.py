from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from hexarec.classic import Popular  # noqa: E402
from hexarec.core import DataError, Item, Lists, OptionError, Queries, StateError, holdout, load, run, save  # noqa: E402
from hexarec.data.worlds import world  # noqa: E402
from hexarec.lm.open import open_encoder  # noqa: E402
from hexarec.methods.learn_adaptor import LearnAdaptor  # noqa: E402
from hexarec.methods.learn_towers import LearnTowers  # noqa: E402
from hexarec.pipeline.build import resolve  # noqa: E402

TRAP = world("trap")
DATA = TRAP.data
TOWERS = LearnTowers(open_encoder("tfidf"), width=16, layers=1, out=8, history=8, epochs=10, batch=32, rate=3e-3)
SMALL = {"width": 16, "fusion": 8}


@pytest.fixture(scope="module")
def learned():
    return LearnAdaptor(TOWERS, **SMALL).fit(DATA)


def candidates(queries, m=12):
    return Lists.of(queries.catalog.key, [list(range(m))] * len(queries))


def test_fusion_orders_what_the_cosine_of_the_same_towers_orders_worse():
    place = world("order")
    stage = LearnAdaptor(TOWERS, **SMALL).fit(place.data)
    everything = Lists.of(place.data.catalog.key, [list(range(20))] * len(place.queries))
    first = {}
    for name, ranker in (("fusion", stage), ("cosine", stage.towers_)):
        allowed = ~place.queries.forbidden(20)
        ranked = ranker.rank(place.queries, everything)
        best = [next(item for item in one.items if allowed[i, item]) for i, one in enumerate(ranked)]
        first[name] = np.mean(np.array(best) == place.truth.items)
    assert first["fusion"] > first["cosine"] + 0.1, first


def test_scores_are_probabilities_and_the_same_in_torch(learned):
    import torch

    from hexarec.parts.train.fusion import Fusion

    queries = TRAP.queries.take(slice(0, 4))
    ranked = learned.rank(queries, candidates(queries))
    assert ((ranked.scores >= 0) & (ranked.scores <= 1)).all()
    net = Fusion(8, 0, 16, 8)
    net.load_state_dict({name: torch.from_numpy(one) for name, one in learned.weights_.items()})
    sides = [torch.from_numpy(one) for one in learned._sides(queries, ranked)]
    np.testing.assert_allclose(torch.sigmoid(net(*sides)[1]).detach().numpy(), ranked.scores, atol=1e-5)


def test_features_are_fusion_user_and_item_of_each_candidate(learned):
    queries = TRAP.queries.take(slice(0, 3))
    given = candidates(queries, 5)
    made = learned.features(queries, given)
    assert made.shape == (15, 8 + 2 * 8) and made.dtype == np.float32
    np.testing.assert_array_equal(made[5, 8:16], learned.towers_.users(queries)[1])
    np.testing.assert_array_equal(made[7, 16:], learned.towers_.items()[2])
    assert (made[:, :8] >= 0).all() and made[:, :8].any()


def test_no_event_teaches_both(learned):
    cut = holdout(DATA, 0.2).train
    alone = LearnTowers(**{name: getattr(TOWERS, name) for name in TOWERS.__dataclass_fields__}).fit(cut)
    np.testing.assert_array_equal(alone.items(), learned.towers_.items())


def test_scores_of_other_rankers_enter_and_stand_beside_their_items():
    popular = Popular()
    stage = LearnAdaptor(TOWERS, others=(popular,), **SMALL).fit(DATA)
    queries = TRAP.queries.take(slice(0, 2))
    given = Lists.of(queries.catalog.key, [[40, 1, 39], [2, 41]])
    more = stage._sides(queries, given)[2][:, 0]
    ranked = stage.others_[0].rank(queries, given)
    told = {(i, int(item)): score for i, one in enumerate(ranked) for item, score in zip(one.items, one.scores, strict=True)}  # fmt: skip
    assert more.tolist() == [told[i, item] for i, item in ((0, 40), (0, 1), (0, 39), (1, 2), (1, 41))]
    assert abs(float(stage.mean_[0])) > 0 and float(stage.scale_[0]) != 1
    assert stage.weights_["mix.weight"].shape[1] == 8 + 16 + 1


def test_a_ranker_without_a_score_counts_as_nothing_known():
    class Silent:
        def rank(self, queries, candidates):
            return candidates.scored(np.full(len(candidates.items), np.nan, np.float32), "silent")

    stage = LearnAdaptor(TOWERS, others=(Silent(),), **SMALL, epochs=1).fit(DATA)
    assert np.isfinite(stage.rank(TRAP.queries, candidates(TRAP.queries)).scores).all()


def test_added_items_are_ranked_and_unknown_ones_too(learned):
    grown = DATA.with_items([Item("new", "Robot story 99", "A robot tale.")])
    queries = grown.queries([0, 1])
    given = Lists.of(grown.catalog.key, [[0, 5, DATA.n_items]] * 2)
    for stage in (learned, learned.extend(grown.catalog)):
        assert sorted(stage.rank(queries, given)[0].items.tolist()) == [0, 5, DATA.n_items]
    known = learned.extend(grown.catalog)._sides(queries, given)[1]
    assert known[2].any() and not learned._sides(queries, given)[1][2].any()


def test_strangers_and_the_forgotten_are_served(learned):
    nobody = Queries.one(DATA.catalog, user="stranger", lang="zh")
    assert np.isfinite(learned.rank(nobody, candidates(nobody)).scores).all()


def test_logged_dislikes_can_teach_and_one_label_is_refused():
    log = DATA.interactions
    disliked = DATA.with_log(replace(log, liked=log.item % 3 > 0))
    stage = LearnAdaptor(TOWERS, negatives="log", **SMALL, epochs=2).fit(disliked)
    assert np.isfinite(stage.rank(TRAP.queries, candidates(TRAP.queries)).scores).all()
    with pytest.raises(DataError):
        LearnAdaptor(TOWERS, negatives="log", **SMALL).fit(DATA)
    late = np.sort(log.time)[int(0.8 * len(log))]
    only = DATA.with_log(replace(log, liked=(log.item % 3 > 0) | (log.time >= late)))
    with pytest.raises(DataError, match="both labels") as caught:
        LearnAdaptor(TOWERS, negatives="log", **SMALL).fit(only)
    assert "drawn" in caught.value.hint


def test_it_comes_back_and_a_killed_fit_goes_on(learned, tmp_path):
    queries = TRAP.queries
    again = load(save(learned, tmp_path / "kept"), resolve)
    before = learned.rank(queries, candidates(queries))
    assert np.array_equal(again.rank(queries, candidates(queries)).scores, before.scores)

    class Killed(Exception):
        pass

    def kill(event):
        if event.get("label") == "tune" and event["done"] == 9:
            raise Killed

    fresh = {**SMALL, "batch": 32, "epochs": 9}
    whole = LearnAdaptor(TOWERS, **fresh).fit(DATA)
    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        LearnAdaptor(TOWERS, **fresh).fit(DATA)
    with run(scratch=tmp_path):
        on = LearnAdaptor(TOWERS, **fresh).fit(DATA)
    assert all(np.array_equal(on.weights_[name], one) for name, one in whole.weights_.items())


@pytest.mark.parametrize("options", [{"width": 0}, {"fusion": 0}, {"epochs": 0}, {"batch": 0}, {"decay": -1.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        LearnAdaptor(TOWERS, **options)


def test_before_fit_it_says_so():
    with pytest.raises(StateError):
        LearnAdaptor(TOWERS).rank(TRAP.queries, candidates(TRAP.queries))
