import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hexarec.core import History  # noqa: E402
from hexarec.parts import towers  # noqa: E402
from hexarec.parts.train.plain import arrays_of, begun  # noqa: E402
from hexarec.parts.train.towers import Shape, Tower  # noqa: E402

ROWS = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)


def made(layers=2, near=False, out=6, heads=2):
    shape = Shape(30, 12, 8, out, layers, heads, 7, 0.3, near=near)
    net = begun(lambda: Tower(shape, torch.from_numpy(ROWS)), 0, "test").eval()
    weights = arrays_of(net)
    return net, weights, ROWS @ weights["adaptor.weight"].T + weights["adaptor.bias"]


def histories(*lengths):
    draw = np.random.default_rng(1)
    item = draw.integers(30, size=sum(lengths)).astype(np.int32)
    offsets = np.cumsum([0, *lengths])
    n = len(item)
    return History(
        offsets, item, np.arange(n, dtype=float), np.zeros(n, np.int8), np.ones(n, np.float32), np.ones(n, bool)
    )


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("near", [False, True])
def test_numpy_gives_what_torch_learned(layers, near):
    net, weights, inputs = made(layers, near)
    items = np.random.default_rng(2).integers(30, size=(4, 7))
    with torch.inference_mode():
        wanted = net(torch.from_numpy(items)).numpy()
    np.testing.assert_allclose(towers.tower(weights, 2, inputs[items]), wanted, atol=2e-6)


def test_a_place_reads_nothing_after_it():
    _, weights, inputs = made()
    whole = inputs[np.arange(7)][None]
    changed = whole.copy()
    changed[0, 4:] = 0.0
    np.testing.assert_allclose(
        towers.tower(weights, 2, whole)[0, :4], towers.tower(weights, 2, changed)[0, :4], atol=1e-6
    )
    assert np.abs(towers.tower(weights, 2, whole)[0, 4] - towers.tower(weights, 2, changed)[0, 4]).max() > 1e-3


def test_the_last_place_is_read_of_each_history_in_any_batch():
    _, weights, inputs = made()
    past = histories(3, 0, 7, 1, 3)
    found = towers.last(weights, 2, inputs, past)
    assert not found[1].any()
    for i, (start, stop) in enumerate(zip(past.offsets[:-1], past.offsets[1:], strict=True)):
        if stop > start:
            alone = towers.tower(weights, 2, inputs[past.item[start:stop]][None])[0, -1]
            np.testing.assert_allclose(found[i], alone, atol=2e-6)


def test_many_histories_are_cut_into_small_forwards(monkeypatch):
    _, weights, inputs = made()
    past = histories(*([3] * 20), 6, 1)
    whole = towers.last(weights, 2, inputs, past)
    sizes = []
    forward = towers.tower
    monkeypatch.setattr(towers, "CELLS", 10)
    monkeypatch.setattr(towers, "tower", lambda *a: sizes.append(a[2].shape[:2]) or forward(*a))
    np.testing.assert_allclose(towers.last(weights, 2, inputs, past), whole, atol=2e-6)
    assert len(sizes) > 5 and all(n * t <= 10 for n, t in sizes)
    np.testing.assert_allclose(
        towers.single(weights, 2, inputs), towers.tower(weights, 2, inputs[:, None])[:, 0], atol=2e-6
    )


def test_one_item_is_the_first_place_and_no_items_are_no_rows():
    _, weights, inputs = made()
    np.testing.assert_allclose(
        towers.single(weights, 2, inputs)[3], towers.tower(weights, 2, inputs[3:5][None])[0, 0], atol=2e-6
    )
    assert towers.single(weights, 2, inputs[:0]).shape == (0, 6)


def test_a_near_start_keeps_the_likeness_of_the_rows_and_a_user_is_near_what_was_read():
    centred = ROWS - ROWS.mean(0)
    _, weights, _ = made(near=True, out=8)
    inputs = centred @ weights["adaptor.weight"].T
    np.testing.assert_allclose(weights["adaptor.weight"] @ weights["adaptor.weight"].T, np.eye(8), atol=1e-5)
    items = towers.single(weights, 2, inputs)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    kept = np.corrcoef((items @ items.T).ravel(), (units @ units.T).ravel())[0, 1]
    _, other, _ = made(near=False, out=8)
    drawn = towers.single(other, 2, centred @ other["adaptor.weight"].T)
    assert kept > 0.85 > np.corrcoef((drawn @ drawn.T).ravel(), (units @ units.T).ravel())[0, 1]
    user = towers.last(weights, 2, inputs, histories(5))[0]
    order = np.argsort(-(items @ user))
    assert set(order[:3]) & set(histories(5).item)
