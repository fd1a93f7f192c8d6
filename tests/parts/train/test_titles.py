import numpy as np
import pytest

from hexarec.core import run
from hexarec.data.worlds import world
from hexarec.lm.base import Prompt
from hexarec.lm.hf.engine import HF
from hexarec.parts.nexts import liked_next
from hexarec.parts.slate import Surfaces
from hexarec.parts.train.examples import Example, encode
from hexarec.parts.train.kinds import LoRA
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.titles import TitlePolicy, Tuning

PLACE = world("order")
PAIRS = liked_next(PLACE.data)
TITLES = Surfaces.of(PLACE.data.catalog.titles.tolist()).texts


@pytest.fixture
def lm(llama_dir):
    return HF(str(llama_dir), dtype="float32", device="cpu", prefix_mb=0.0)


def ask(queries):
    last = [queries.history.item[stop - 1] for stop in queries.history.offsets[1:]]
    return [Prompt.plain(f"{TITLES[item]}\n") for item in last]


def policy(lm, epochs=1, rate=0.02, beta=0.1, **more):
    tuning = Tuning(LoRA(r=4, dropout=0.0), Plan(epochs, 8, rate), Plan(1, 8, rate), beta)
    return TitlePolicy(lm, TITLES, ask, tuning, seed=1, **more)


def weights(made):
    return {name: one.clone() for name, one in made._tunable.state().items()}


def test_it_learns_what_came_next_and_says_it(lm):
    made, pairs = policy(lm, epochs=80, rate=0.01), PAIRS.take(np.arange(0, 560, 48))
    first = made.answers(pairs.queries, 0.0, 0)
    made.begin(pairs, 0)
    after = made.answers(pairs.queries, 0.0, 0)
    made.detach()
    assert np.mean(after == pairs.item) > 0.7 > 0.3 > np.mean(first == pairs.item)


def test_the_loss_is_on_the_title_alone_and_the_title_is_the_path_of_the_trie(lm):
    """Tuning, preferring and answering agree on the tokens of a title and on the token that ends it."""
    made = policy(lm)
    data = encode([Example(ask(PLACE.queries)[0], title) for title in TITLES], made._tunable.tokens, made._form)
    for line, number in zip(data.lines, range(len(TITLES)), strict=True):
        assert line.ids[line.loss].tolist() == made._trie.sequence(number) and line.ids[-1] == made._tunable.tokens.end
        assert not line.loss[: len(line.ids) - len(made._trie.sequence(number))].any()


def test_answers_are_permitted_titles_and_depend_on_nobody_else(lm):
    made = policy(lm)
    queries = PLACE.queries.take(slice(0, 6))
    found = made.answers(queries, 0.0, 0)
    assert not queries.forbidden(20)[np.arange(6), found].any()
    assert all(made.answers(queries.take([i]), 0.0, 0)[0] == found[i] for i in range(6))
    banned = queries.take([0]).excluding(np.arange(20, dtype=np.int32), np.array([0, 20]))
    assert made.answers(banned, 0.0, 0).tolist() == [-1]
    drawn = [made.answers(queries, 1.5, seed) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2]) and (drawn[0] >= 0).all()


def test_the_reference_is_the_policy_as_it_is_and_is_computed_before_the_first_step(lm, monkeypatch):
    """The first loss is log 2 whatever was learned before: the base, or an earlier round, is no reference."""
    from hexarec.parts.train import titles

    made, seen = policy(lm), []
    made.begin(PAIRS.take(np.arange(32)), 0)
    before = weights(made)

    def told(tunable, chosen, rejected, **how):
        seen.append(({name: one.clone() for name, one in tunable.state().items()}, how))
        return original(tunable, chosen, rejected, **how)

    original = titles.reference
    monkeypatch.setattr(titles, "reference", told)
    pairs = PAIRS.take(np.arange(8))
    first = made.prefer(pairs, ((pairs.item + 5) % 20).astype(np.int32), 0)
    assert first == pytest.approx(np.log(2), abs=1e-5)
    state, how = seen[0]
    assert how["start"] and all(before[name].equal(one) for name, one in state.items()) and len(seen) == 1
    assert any(not before[name].equal(one) for name, one in weights(made).items())


def test_preferring_moves_the_odds_from_the_rejected_to_the_chosen(lm):
    made = policy(lm, rate=0.003)  # the loss is that of the whole pass: larger steps overshoot within it
    made.begin(PAIRS.take(np.arange(32)), 0)
    pairs = PAIRS.take(np.arange(24))
    rejected = ((pairs.item + 5) % 20).astype(np.int32)
    losses = [made.prefer(pairs, rejected, seed) for seed in range(3)]
    assert all(loss < np.log(2) for loss in losses)


def test_what_does_not_fit_the_window_is_dropped_and_counted(lm):
    made = TitlePolicy(
        lm, TITLES, lambda queries: [Prompt.plain(f"{'long ' * (9000 * (n == 0))}\n") for n in range(len(queries))],
        Tuning(LoRA(r=2), Plan(1, 8, 1e-3), Plan(1, 8, 1e-3), 0.1), seed=1,
    )  # fmt: skip
    made.imitate(PAIRS.take(np.arange(4)), 0)
    made.prefer(PAIRS.take(np.arange(4)), np.array([0, 1, 2, 3], np.int32), 0)
    assert made.dropped == 2


def test_a_stopped_run_goes_on_to_the_same_bits(lm, tmp_path):
    def whole():
        made = policy(lm)
        made.begin(PAIRS.take(np.arange(24)), 0)
        made.prefer(PAIRS.take(np.arange(8)), np.arange(8, dtype=np.int32), 0)
        state = weights(made)
        made.detach()
        return state

    want = whole()
    with run(scratch=tmp_path):
        first = whole()
        kept = len(list(tmp_path.iterdir()))
        again = whole()
    assert kept == 2 == len(list(tmp_path.iterdir()))
    assert all(want[name].equal(first[name]) and want[name].equal(again[name]) for name in want)


def test_the_loss_that_is_told_is_the_mean_of_the_pass(lm, monkeypatch):
    """Twelve pairs in steps of eight: the last step saw four of them."""
    from hexarec.parts.train import titles

    curves, learn, weigh = [], titles.sft, titles.dpo
    monkeypatch.setattr(titles, "sft", lambda *a, **k: (curves.append(learn(*a, **k)), curves[-1])[1])
    monkeypatch.setattr(titles, "dpo", lambda *a, **k: (made := weigh(*a, **k), curves.append(made[0]))[0])
    made, pairs = policy(lm, epochs=2), PAIRS.take(np.arange(12))
    told = [made.begin(pairs, 0), made.imitate(pairs, 0), made.prefer(pairs, (pairs.item + 5) % 20, 0)]
    made.detach()
    assert [len(one.losses) for one in curves] == [4, 2, 2]
    for loss, one in zip(told, curves, strict=True):
        assert loss == pytest.approx(np.average(one.losses[-2:], weights=[8, 4])) != one.losses[-1]
