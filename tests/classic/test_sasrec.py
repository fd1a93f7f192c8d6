import sys

import numpy as np
import pytest

from hexarec import core
from hexarec.classic import SASRec
from hexarec.classic._sasrec_data import Sequences, batches, groups, ndcg, padded, windows
from hexarec.core import Lists, MissingExtraError, OptionError

from .tiny import checkerboard, data_of, equal, found, keeps_promises, silent, stranger, survives

torch = pytest.importorskip("torch")
SMALL = {"width": 16, "hidden": 32, "blocks": 1, "length": 8, "positions": 128, "precision": "float32"}


def cycle(n=12, users=36, steps=7):
    return data_of([[(u + s) % n for s in range(steps)] for u in range(users)], n, clock=False)


def quick(**more):
    return SASRec(**{**SMALL, "epochs": 2, **more})


def test_promises(tmp_path):
    keeps_promises(quick, tmp_path)
    survives(quick)


def test_learns_the_order():
    data = cycle()
    stage = SASRec(**SMALL, epochs=60, rate=0.01, patience=60).fit(data)
    want = (np.arange(36) + 7) % 12
    assert (stage.retrieve(data.queries(), 1).items == want).mean() > 0.95
    assert np.array_equal(stage.retrieve(silent(data.queries()), 1).items, stage.retrieve(data.queries(), 1).items)
    assert max(stage.curve_) > 0.9


def test_finds_the_held_out_item():
    data, held = checkerboard()
    assert found(SASRec(**SMALL, epochs=60, rate=0.01, patience=60, refit=True).fit(data), data, held, 4) > 0.9


@pytest.mark.parametrize("more", [{"loss": "sampled", "negatives": 8}, {"windows": "all"}, {"precision": "bfloat16"}])
def test_options_learn_too(more):
    data = cycle()
    stage = SASRec(**{**SMALL, "epochs": 60, "rate": 0.01, "patience": 60, **more}).fit(data)
    assert (stage.retrieve(data.queries(), 1).items == (np.arange(36) + 7) % 12).mean() > 0.9


def test_the_future_is_never_seen():
    data = cycle()
    net = quick().fit(data)._network()
    items = torch.randint(0, 12, (3, 8))
    other = items.clone()
    other[:, 5:] = (other[:, 5:] + 1) % 12
    with torch.inference_mode():
        one, two = net(items), net(other)
        assert torch.allclose(one[:, :5], two[:, :5], atol=1e-6) and not torch.allclose(one[:, 5:], two[:, 5:])
        last = torch.tensor([4, 0, 7])
        assert torch.allclose(net(items, last), one[torch.arange(3), last], atol=1e-5)


def test_the_loss_is_the_cross_entropy_and_its_gradient():
    from hexarec.classic._sasrec_net import CrossEntropy

    torch.manual_seed(0)
    targets = torch.randint(0, 7, (50,))
    grads = []
    for made in (lambda s, r: torch.nn.functional.cross_entropy(s @ r.T, targets), None):
        torch.manual_seed(1)
        states, rows = torch.randn(50, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
        loss = made(states, rows) if made else CrossEntropy.apply(states, rows, targets, False)
        loss.backward()
        grads.append((loss.detach(), states.grad, rows.grad))
    for one, two in zip(*grads, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_dropout_keeps_the_mean():
    from hexarec.classic._sasrec_net import dropped

    torch.manual_seed(0)
    made = dropped(torch.ones(1001, 301), 0.2, True)
    assert abs(float(made.mean()) - 1) < 0.005 and abs(float((made == 0).float().mean()) - 51 / 256) < 0.005
    assert torch.equal(dropped(made, 0.2, False), made)


def test_windows_cover_what_they_promise():
    train = Sequences.of(data_of([list(range(10)), [0], [], [3, 4]], 12).queries(), 12)
    draw = core.rng(0, "test")
    start, size = windows(train, 4, False, draw)
    assert start.tolist() == [5, 11] and size.tolist() == [4, 1]
    for _ in range(20):
        start, size = windows(train, 4, True, draw)
        flat = np.concatenate([np.arange(s, s + n) for s, n in zip(start, size, strict=True)])
        assert sorted(flat.tolist()) == [*range(9), 11] and size.max() <= 4 and size.min() >= 1


def test_batches_hold_every_target_once():
    data = checkerboard()[0]
    train = Sequences.of(data.queries(), 20)
    seen = 0
    for _, (items, targets, real) in batches(train, quick(), core.rng(0, "test")):
        assert items.size <= 128 and (items[:, 1:][real[:, 1:]] == targets[:, :-1][real[:, 1:]]).all()
        seen += int(real.sum())
    assert seen == 40 * 5
    sizes = np.array([1, 2, 9, 3, 3])
    assert [(part.start, part.stop) for part in groups(sizes, 6)] == [(0, 2), (2, 3), (3, 5)]
    assert [rows.tolist() for rows, *_ in padded(train, 4, 1000)] == [list(range(40))]


def test_ndcg_by_hand():
    lists, truth = Lists.of("c", [[1, 2, 3], [4, 5, 6]]), Lists.of("c", [[2], [9, 4]])
    want = (1 / np.log2(3) + 1 / (1 + 1 / np.log2(3))) / 2
    assert ndcg(lists, truth) == pytest.approx(want)


def test_resumes_after_an_interruption(tmp_path):
    data = cycle()
    whole = quick(epochs=4).fit(data, seed=1)

    def stop(event):
        if event.get("done") == 2:
            cancel.set()

    cancel = core.Cancel()
    with pytest.raises(core.CancelledError), core.run(scratch=tmp_path, cancel=cancel, emit=stop):
        quick(epochs=4).fit(data, seed=1)
    epochs = []
    with core.run(scratch=tmp_path, emit=lambda event: epochs.append(event)):
        again = quick(epochs=4).fit(data, seed=1)
    assert sum(event["kind"] == "progress" for event in epochs) == 3  # start and two epochs
    assert again.curve_ == whole.curve_
    equal(again.retrieve(data.queries(), 5), whole.retrieve(data.queries(), 5))


@pytest.mark.parametrize("damage", [lambda old: b"", lambda old: b"text", lambda old: old[: len(old) // 2]])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    data, cancel = cycle(), core.Cancel()

    def stop(event):
        if event.get("done") == 2:
            cancel.set()

    with pytest.raises(core.CancelledError), core.run(scratch=tmp_path, cancel=cancel, emit=stop):
        quick(epochs=4).fit(data, seed=1)
    place = next(tmp_path.glob("sasrec-*.npz"))
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(core.StateError, match="is damaged") as caught, core.run(scratch=tmp_path):
        quick(epochs=4).fit(data, seed=1)
    assert place.name in str(caught.value) and "begin anew" in caught.value.hint


def test_early_stopping_and_global_state():
    data = cycle()
    before = torch.random.get_rng_state()
    stage = quick(epochs=50, patience=1, rate=1e-9).fit(data)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(stage.curve_) < 50


def test_errors(monkeypatch):
    data = cycle()
    for bad in ({"heads": 3}, {"length": 0}, {"dropout": 1.0}):
        with pytest.raises(OptionError):
            quick(**bad).fit(data)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError):
        quick().fit(data)


def test_vectors():
    data = cycle()
    stage = quick().fit(data)
    assert stage.users(data.queries()).shape == (36, 16) and stage.items().shape == (12, 16)
    assert not stage.users(stranger(data)).any()
