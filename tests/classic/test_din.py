import numpy as np
import pytest

from hexarec import core
from hexarec.classic import DIN
from hexarec.core import DataError, Item, LineageError, Lists, OptionError, StateError
from hexarec.metrics.labels import Pairs, auc
from hexarec.parts.pointwise import split_cases

from .tiny import checkerboard, data_of, equal, silent, stranger, whole

torch = pytest.importorskip("torch")
SMALL = {"width": 8, "attention": (8,), "hidden": (16,), "batch": 32, "rate": 0.01}
DATA = checkerboard()[0]


def quick(**more):
    return DIN(**{**SMALL, "epochs": 2, **more})


def pairs_of(stage, queries):
    """The probability of every item for every question, in the catalog's order."""
    ranked = stage.rank(queries, whole(queries))
    return np.stack([one.scores[np.argsort(one.items)] for one in ranked])


def test_it_learns_whose_items_are_whose():
    data = checkerboard(120, 20, 7)[0]
    stage = DIN(**SMALL, epochs=5).fit(data)
    cases = split_cases(data, 0.1, negatives="drawn")[1]
    scores = np.concatenate(
        [stage.rank(cases.queries.take([i]), cases.lists.take([i])).scores for i in range(len(cases))]
    )
    assert auc(Pairs.of(cases.liked.astype(float), scores)) > 0.8  # 3 of 13 drawn ones are of the right kind
    assert ((scores > 0) & (scores < 1)).all()


def test_what_the_log_did_not_like_is_learned_from_where_asked():
    past = [[(u + step) % 10 for step in range(8)] for u in range(60)]
    data = data_of(past, 10, liked=[[item % 2 == 0 for item in row] for row in past])
    stage = DIN(**SMALL, epochs=30, negatives="log").fit(data)
    scores = pairs_of(stage, data.queries([0]))[0]
    assert scores[::2].min() > scores[1::2].max()


def test_a_candidate_decides_what_of_the_history_counts():
    stage = quick(epochs=10).fit(DATA)
    queries = DATA.queries([0])
    users, items = stage.pairs(queries, whole(queries))
    assert users.shape == items.shape == (20, 8) and len(np.unique(users.round(5), axis=0)) == 20
    assert np.array_equal(items, stage.weights_["item.weight"])


def test_interest_is_a_sum_and_no_average():
    """Twice the same history is twice the interest (section 4.3: no soft-max over the weights)."""
    from hexarec.classic._din_net import Net

    torch.manual_seed(0)
    net = Net(5, 4, (6,), (6,), 0.0).eval()
    target, past = torch.tensor([3]), torch.tensor([0, 1, 2])
    once = net.interest(target, past, torch.zeros(3, dtype=torch.int64))
    twice = net.interest(target, past.repeat(2), torch.zeros(6, dtype=torch.int64))
    assert torch.allclose(twice, 2 * once, atol=1e-6) and once.abs().max() > 1e-4
    assert not net.interest(target, past[:0], past[:0]).any()


def test_dice_by_hand():
    from hexarec.classic._din_net import Dice

    dice, x = Dice(3), torch.randn(50, 3) * 2 + 1
    with torch.no_grad():
        dice.alpha.fill_(0.25)
    spread = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-8).sqrt()
    share = torch.sigmoid(spread)
    assert torch.allclose(dice(x), share * x + (1 - share) * 0.25 * x, atol=1e-5)
    assert dice(x[:1]).isfinite().all() and not dice.norm.training


def test_batches_hold_every_pair_and_only_its_own_history():
    from hexarec.classic._din_train import batches

    past = data_of([[0, 1, 2], [3], [], [4, 5]], 6).queries().history
    row, item = np.array([0, 3, 1, 2, 0]), np.arange(5)
    seen = {}
    for places, (target, events, owner) in batches(past, row, item, 4):
        for n, place in enumerate(places.tolist()):
            seen[place] = (int(target[n]), events[owner == n].tolist())
    assert seen == {0: (0, [0, 1, 2]), 1: (1, [4, 5]), 2: (2, [3]), 3: (3, []), 4: (4, [0, 1, 2])}
    assert not list(batches(past, row[:0], item[:0]))


def test_everybody_is_served_and_later_items_have_no_number():
    stage = quick().fit(DATA)
    for queries in (stranger(DATA), stranger(DATA, ["i0", "i2"]), silent(DATA.queries([1])), DATA.queries([])):
        assert np.isfinite(stage.rank(queries, whole(queries)).scores).all()
    grown = DATA.with_items([Item("new", "New")])
    ranked = stage.rank(stranger(grown, ["new", "i0"]), Lists.of(grown.catalog.key, [[20, 3]]))
    assert ranked.items.tolist() == [3, 20] and np.isnan(ranked.scores[1])
    users, items = stage.pairs(stranger(grown, ["i0"]), Lists.of(grown.catalog.key, [[20, 3]]))
    assert not users[0].any() and not items[0].any() and users[1].any() and items[1].any()


def test_a_user_is_the_history_alone():
    stage = quick().fit(DATA)
    known = DATA.queries([3])
    other = stranger(DATA, DATA.catalog.ids(known.history.item))
    equal(stage.rank(known, whole(known)), stage.rank(other, whole(other)), 1e-6)


def test_an_item_nobody_met_has_no_vector():
    data = data_of([[0, 1, 2, 3], [1, 0, 3, 2]] * 10, 40)
    stage = quick(negatives="drawn", epochs=1, share=0.5).fit(data)
    table = stage.weights_["item.weight"]
    never = np.flatnonzero(~table.any(1))
    assert len(never) and set(never.tolist()) <= set(range(4, 40)) and table[:4].any(1).all()


def test_saved_and_loaded_it_says_the_same(tmp_path):
    with pytest.raises(StateError):
        quick().rank(DATA.queries(), whole(DATA.queries()))
    stage, queries = quick().fit(DATA, seed=3), DATA.queries()
    core.save(stage, tmp_path / "stage")
    again = core.load(tmp_path / "stage", resolve=None)
    equal(again.rank(queries, whole(queries)), stage.rank(queries, whole(queries)), 1e-6)
    assert core.state_digest(quick().fit(DATA, seed=3)) == core.state_digest(stage)
    assert core.state_digest(quick().fit(DATA, seed=4)) != core.state_digest(stage)
    with pytest.raises(LineageError):
        stage.rank(DATA.onto(core.IdTable.of(["x"], "other")).queries(), whole(queries))


def test_it_resumes_after_an_interruption(tmp_path):
    want = quick(epochs=4, patience=4).fit(DATA, seed=1)
    cancel = core.Cancel()

    def stop(event):
        if event.get("done") == 2:
            cancel.set()

    with pytest.raises(core.CancelledError), core.run(scratch=tmp_path, cancel=cancel, emit=stop):
        quick(epochs=4, patience=4).fit(DATA, seed=1)
    told = []
    with core.run(scratch=tmp_path, emit=told.append):
        again = quick(epochs=4, patience=4).fit(DATA, seed=1)
    assert sum(event["kind"] == "progress" for event in told) == 3  # the start and two epochs
    assert again.curve_ == want.curve_ and core.state_digest(again) == core.state_digest(want)


def test_early_stopping_and_global_state():
    before = torch.random.get_rng_state()
    stage = quick(epochs=50, patience=1, rate=1e-9).fit(DATA)
    assert torch.equal(before, torch.random.get_rng_state()) and len(stage.curve_) < 50


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (DATA, {"negatives": "log"}, "only liked cases"),
        (data_of([[0]], 1), {}, "no labelled cases"),
        (data_of([[0, 1, 0], [1, 0, 1]], 2), {}, "only liked cases"),
    ],
)
def test_a_log_that_tells_one_label_only_is_refused(data, options, said):
    with pytest.raises(DataError, match=said):
        quick(**options).fit(data)


@pytest.mark.parametrize("options", [{"width": 0}, {"attention": (4, 0)}, {"dropout": 1.0}, {"batch": 1}, {"last": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        quick(**options).fit(DATA)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_learning_that_ends_in_no_numbers_is_an_error():
    with pytest.raises(OptionError, match="diverged"):
        quick(rate=1e38).fit(DATA)
