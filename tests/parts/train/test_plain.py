import numpy as np
import pytest
import torch

from hexarec.core import OptionError, run
from hexarec.parts.train.loop import Plan, fit
from hexarec.parts.train.plain import Plain, arrays_of, begun, step_draw


class Line:
    """Squares of distances to a line; remembers whether dropout was on."""

    def __init__(self, net):
        self.net, self.sizes, self.key, self.modes = net, [1] * 12, "line", []
        self.x = torch.linspace(-1, 1, 12)[:, None]

    def weight(self, rows):
        return float(len(rows))

    def loss(self, rows):
        self.modes.append(self.net.training)
        return ((self.net(self.x[rows]) - 2 * self.x[rows] - 1) ** 2).sum()


def line():
    return begun(lambda: torch.nn.Linear(1, 1), 0, "line")


def test_the_loop_moves_plain_modules_and_goes_on_to_the_same_bits(tmp_path):
    class Killed(Exception):
        pass

    def kill(event):
        if event["kind"] == "progress" and event["done"] == 40:
            raise Killed

    plan = Plan(epochs=30, batch=4, rate=0.05)
    whole = line()
    curve = fit(Plain("line", {"line": whole}), Line(whole), plan)
    assert curve.losses[-1] < 0.1 * curve.losses[0]
    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        net = line()
        fit(Plain("line", {"line": net}), Line(net), plan)
    with run(scratch=tmp_path):
        net = line()
        fit(Plain("line", {"line": net}), Line(net), plan)
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
        other = line()
        fit(Plain("another", {"line": other}), Line(other), Plan(epochs=1, batch=4))
    assert len(list(tmp_path.iterdir())) == 2


def test_modules_train_in_steps_and_rest_afterwards_and_have_rates_of_their_own():
    net = line()
    made, told = Plain("line", {"line": net}), Line(net)
    fit(made, told, Plan(epochs=1, rates=(("line", 0.0001),)))
    assert all(told.modes) and not net.training
    assert abs(arrays_of(net)["weight"] - arrays_of(line())["weight"]).max() < 0.001
    with pytest.raises(OptionError, match="no extra module 'other'"):
        fit(Plain("line", {"line": net}), told, Plan(rates=(("other", 0.1),)))
    with pytest.raises(OptionError, match="nothing to tune"):
        fit(Plain("empty", {}), told, Plan())


def test_draws_follow_seed_words_and_the_state_of_torch():
    def first(seed, word, state):
        torch.manual_seed(state)
        return step_draw(seed, word).random()

    assert first(0, "a", 1) == first(0, "a", 1)
    assert len({first(0, "a", 1), first(1, "a", 1), first(0, "b", 1), first(0, "a", 2)}) == 4


def test_arrays_are_copies():
    net = line()
    arrays = arrays_of(net)
    with torch.no_grad():
        net.weight.add_(1.0)
    assert not np.array_equal(arrays["weight"], net.weight.detach().numpy())
