import numpy as np
import pytest
import torch

from hexarec.core import History, rng
from hexarec.parts.train.plain import begun
from hexarec.parts.train.towers import AllActions, Sampling, Shape, Tower, sampled

ROWS = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32))
RAW = torch.nn.functional.normalize(ROWS, dim=-1)


def log_of(*items):
    flat = np.array([i for row in items for i in row], np.int32)
    n = len(flat)
    time = np.concatenate([np.arange(len(row), dtype=float) for row in items])
    return History(
        np.cumsum([0, *map(len, items)]), flat, time, np.zeros(n, np.int8), np.ones(n, np.float32), np.ones(n, bool)
    )


def objective(log, target="sequence", loss="dense", out=4, temperature=0.5, **sampling):
    shape = Shape(20, 6, 8, 6 if target == "raw" else out, 1, 2, 9, 0.0, near=False)
    tower = begun(lambda: Tower(shape, ROWS), 3, "test")
    how = Sampling(**{"history": 9, "targets": 9, "places": 9, "items": 9, "recency": True, **sampling})
    return tower, AllActions(tower, log, RAW, how, target=target, loss=loss, temperature=temperature, seed=0)


def by_hand(tower, cuts, log, target, temperature, dense=True):
    """The loss, pair by pair, when everything is sampled."""
    past = [log.item[log.offsets[u] : log.offsets[u] + c] for u, c in enumerate(cuts)]
    later = [log.item[log.offsets[u] + c : log.offsets[u + 1]] for u, c in enumerate(cuts)]
    if not dense:
        later = [one[:1] for one in later]

    def through(items):
        return tower(torch.tensor(items[None].astype(np.int64)))[0]

    users = [through(one) if dense else through(one)[-1:] for one in past]
    items = [
        RAW[one.astype(np.int64)] if target == "raw"
        else torch.cat([through(one[n : n + 1]) for n in range(len(one))]) if target == "single" else through(one)
        for one in later
    ]  # fmt: skip
    total = 0.0
    for u, own in enumerate(users):
        met = set(log.item[log.offsets[u] : log.offsets[u + 1]].tolist())
        rest = [
            items[v][n] for v in range(len(users)) for n in range(len(later[v])) if v != u and later[v][n] not in met
        ]
        pairs = []
        for vector in own:
            negatives = torch.stack([vector @ one / temperature for one in rest]).exp().sum()
            for item in items[u]:
                positive = (vector @ item / temperature).exp()
                pairs.append(-torch.log(positive / (positive + negatives)))
        total = total + torch.stack(pairs).mean()
    return total


@pytest.mark.parametrize("target", ["sequence", "single", "raw"])
@pytest.mark.parametrize("dense", [True, False])
def test_the_loss_is_that_of_all_pairs_by_hand(target, dense):
    # both have two events, so the cut is certain; item 5 is liked by both and counts against nobody
    log = log_of([1, 5], [2, 3], [4, 5])
    tower, made = objective(log, target, "dense" if dense else "last")
    found = made.loss([0, 1, 2])
    assert found.item() == pytest.approx(by_hand(tower, [1, 1, 1], log, target, 0.5, dense).item(), rel=1e-5)


def test_places_and_later_items_are_all_paired():
    log = log_of([1, 6, 7, 8], [2, 3, 9, 10])
    tower, made = objective(log, moment=2.0)
    found = made.loss([0, 1])
    assert found.item() == pytest.approx(by_hand(tower, [2, 2], log, "sequence", 0.5).item(), rel=1e-5)


def test_one_moment_for_all_leaves_out_who_has_nothing_on_one_side():
    _, made = objective(log_of([1, 2], [3], [], [4, 5, 6]), moment=1.0)
    assert len(made.sizes) == 2 and made.weight([0, 1]) == 2.0
    _, late = objective(log_of([1, 2], [3, 4, 5]), moment=2.0)
    assert len(late.sizes) == 1


def test_without_a_counter_example_the_loss_is_zero_and_so_are_the_gradients():
    tower, made = objective(log_of([1, 2, 3], [3, 2, 1]))
    loss = made.loss([0, 1])
    loss.backward()
    assert loss.item() == 0.0
    assert all(one.grad is None or not one.grad.any() for one in tower.parameters())


def test_draws_are_those_of_the_step_and_long_pasts_are_thinned():
    log = log_of(list(range(18)), list(range(19, 1, -1)))
    _, made = objective(log, history=4, targets=3, places=2, items=2)

    def drawn(seed):
        torch.manual_seed(seed)
        return made._drawn(np.array([0, 1]))

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a.item, b.item) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0].item, other[0].item)
    past, later = one
    assert past.item.shape[1] <= 4 and later.item.shape[1] <= 3
    assert past.real.sum(1).max() <= 2 and later.real.sum(1).max() <= 2
    assert max(past.item[0].tolist()) < min(later.item[0][: int(later.place[0].max()) + 1].tolist())  # in time


def test_newer_places_are_likelier_and_each_is_drawn_once():
    counts = {True: np.zeros(20), False: np.zeros(20)}
    for recency, count in counts.items():
        for n in range(3000):
            found = sampled(20, 5, recency, rng(0, "test", n))
            assert len(set(found.tolist())) == 5 and (np.diff(found) > 0).all()
            count[found] += 1
    assert np.abs(counts[False] / 750 - 1).max() < 0.15
    assert counts[True][0] < 0.55 * counts[True][-1]  # weights log 10 and log 10,000 are 1 to 4
    assert counts[True][10:].sum() > counts[True][:10].sum()
    assert sampled(3, 5, True, rng(0, "test")).tolist() == [0, 1, 2]
