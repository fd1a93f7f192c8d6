import math

import numpy as np
import pytest
import torch

from hexarec.core import Cancel, CancelledError, DataError, DeadlineError, ModelError, OptionError, StateError, run
from hexarec.lm.base import SLOT, Prompt
from hexarec.lm.hf.tokens import Tokens
from hexarec.parts.train.examples import Example, Form, encode
from hexarec.parts.train.kinds import Frozen, LoRA
from hexarec.parts.train.loop import Plan, fit, pieces
from hexarec.parts.train.sft import Supervised, sft
from hexarec.parts.train.tunable import Tunable

KIND = LoRA(r=4, dropout=0.3)


class Killed(Exception):
    """The process ended here."""


def tuned(base, examples, plan, **more):
    tunable = Tunable(base, KIND, seed=2)
    try:
        curve = sft(tunable, encode(examples, tunable.tokens), plan=plan, seed=3, **more)
        return curve, tunable.state()
    finally:
        tunable.detach()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and set(one) == set(other)


def test_a_killed_run_goes_on_to_the_same_bits(base, examples, tmp_path):
    plan = Plan(epochs=6, batch=3, rate=0.01, every=4)
    with run():
        whole_curve, whole = tuned(base, examples, plan)

    def kill(event):
        if event["kind"] == "progress" and event["done"] == 11:
            raise Killed

    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        tuned(base, examples, plan)
    assert len(list(tmp_path.glob("tune-*.safetensors"))) == 1
    seen = []
    with run(scratch=tmp_path, emit=seen.append):
        curve, state = tuned(base, examples, plan)
    assert sum(event["kind"] == "progress" for event in seen) - 1 == 18 - 8  # steps after the checkpoint of step 8
    assert curve.losses == whole_curve.losses
    assert same(state, whole)
    with run(scratch=tmp_path):  # once more: nothing is left to do
        assert same(tuned(base, examples, plan)[1], whole)


def test_a_run_goes_on_where_less_fits_into_a_forward(base, examples, tmp_path):
    def learned(tokens, emit=lambda _: None, scratch=tmp_path):
        tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=2)
        plan = Plan(epochs=4, batch=3, rate=0.01, every=4, tokens=tokens)
        try:
            with run(scratch=scratch, emit=emit):
                return sft(tunable, encode(examples, tunable.tokens), plan=plan).losses
        finally:
            tunable.detach()

    def kill(event):
        if event["kind"] == "progress" and event["done"] == 6:
            raise Killed

    with pytest.raises(Killed):
        learned(4096, kill)
    seen = []
    gone_on, whole = learned(90, seen.append), learned(4096, scratch=tmp_path / "other")
    assert sum(event["kind"] == "progress" for event in seen) - 1 == len(whole) - 4, "from the checkpoint of step 4"
    assert np.allclose(gone_on, whole, rtol=1e-3)


def test_another_run_takes_no_notice_of_the_checkpoint(base, examples, tmp_path):
    with run(scratch=tmp_path):
        tuned(base, examples, Plan(epochs=2))
        curve, _ = tuned(base, examples[:-1], Plan(epochs=1))
    assert len(curve.losses) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_another_validation_takes_no_notice_of_the_checkpoint(base, examples, tmp_path):
    plan = Plan(epochs=1)
    with run(scratch=tmp_path):
        runs = [{"metric": lambda _: 0.25, "key": "a"}, {"metric": lambda _: 0.9, "key": "b"}]
        runs += [{"valid": encode(examples[:n], Tokens(base.tokenizer))} for n in (3, 4)]
        values = [tuned(base, examples, plan, **more)[0].value for more in (*runs, *runs)]
        with pytest.raises(OptionError, match="without a key"):
            tuned(base, examples, plan, metric=lambda _: 0.5)
    assert values[:2] == [0.25, 0.9] and len(set(values[:4])) == 4 and values[:4] == values[4:]
    assert len(list(tmp_path.iterdir())) == 4


def test_another_bridge_takes_no_notice_of_the_checkpoint(base, tmp_path):
    asked = Prompt.user(f"The user is {SLOT}. Will they like Heat?")

    def losses(given, **more):
        tunable = Tunable(base, Frozen(), extra={"bridge": torch.nn.Linear(4, 64)}, seed=1)
        with torch.no_grad():
            tunable.extra["bridge"].weight.fill_(0.1)
            tunable.extra["bridge"].bias.zero_()
        data = encode([Example(asked, said) for said in ("Yes", "No", "No", "Yes")], tunable.tokens)
        bridge = lambda rows: tunable.extra["bridge"](given[list(rows)])  # noqa: E731
        return sft(tunable, data, bridge=bridge, plan=Plan(epochs=2, rate=0.05), **more).losses

    one, other = torch.eye(4), -5 * torch.eye(4)
    wanted = losses(one), losses(other)
    with run(scratch=tmp_path):
        assert (losses(one, key="one"), losses(other, key="other")) == wanted and wanted[0] != wanted[1]
        with pytest.raises(OptionError, match="without a key"):
            losses(one)


def test_another_seed_takes_no_notice_of_the_checkpoint(base, examples, tmp_path):
    losses = []
    with run(scratch=tmp_path):
        for seed in (1, 2):
            tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=2)  # both begin with the same weights
            plan = Plan(epochs=1, batch=3, rate=0.01)
            losses.append(sft(tunable, encode(examples, tunable.tokens), plan=plan, seed=seed).losses)
            tunable.detach()
    assert losses[0] != losses[1]


def test_a_damaged_checkpoint_is_a_typed_error(base, examples, tmp_path):
    with run(scratch=tmp_path):
        tuned(base, examples, Plan(epochs=1))
        next(tmp_path.iterdir()).write_bytes(b"x" * 100)
        with pytest.raises(StateError, match="damaged"):
            tuned(base, examples, Plan(epochs=1))


def test_the_same_seed_the_same_bits_and_the_global_generator_is_left_alone(base, examples):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, other = (tuned(base, examples, Plan(epochs=2, rate=0.01)) for _ in range(2))
    assert same(one[1], other[1]) and one[0].losses == other[0].losses
    assert torch.equal(torch.random.get_rng_state(), before)


def test_early_stopping_keeps_the_best_weights(base, examples):
    values, kept = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9]), []

    def metric(tunable):
        kept.append(tunable.state())
        return next(values)

    curve, state = tuned(base, examples, Plan(epochs=6, rate=0.01, patience=3), metric=metric)
    assert [value for _, value in curve.valid] == [0.1, 0.5, 0.4, 0.5, 0.3]
    assert curve.stopped and curve.best == 2 and curve.value == 0.5
    assert same(state, kept[1]) and not same(state, kept[-1])


def test_a_validation_that_is_no_number_is_worse_than_any(base, examples):
    nan, inf = float("nan"), float("inf")
    values, kept = iter([nan, 0.5, 0.9, inf, nan, 0.7]), []

    def metric(tunable):
        kept.append(tunable.state())
        return next(values)

    curve, state = tuned(base, examples, Plan(epochs=6, rate=0.01), metric=metric)
    assert curve.best == 3 and curve.value == 0.9 and same(state, kept[2])
    values = iter([0.5, nan, nan, 0.9])
    assert tuned(base, examples, Plan(epochs=4, patience=2), metric=metric)[0].stopped
    for never in (nan, inf, -inf):
        with pytest.raises(ModelError, match="no validation gave a number"):
            tuned(base, examples, Plan(epochs=2), metric=lambda _, never=never: never)


def test_validation_loss_stops_what_only_memorises(base, examples):
    tunable = Tunable(base, LoRA(r=8, dropout=0.0))
    train = encode(examples, tunable.tokens)
    wrong = [type(one)(one.prompt, "No" if one.answer == "Yes" else "Yes") for one in examples]
    valid = encode(wrong, tunable.tokens)
    # both learn at first that a label comes; then what is right for one is wrong for the other
    curve = sft(tunable, train, valid=valid, plan=Plan(epochs=60, rate=0.01, patience=3))
    assert curve.stopped and curve.best < len(curve.losses)
    assert -Supervised(tunable, valid).mean() == pytest.approx(curve.value, abs=1e-6)


def test_eight_examples_are_memorised(base, examples):
    tunable = Tunable(base, LoRA(r=8, dropout=0.0), seed=1)
    curve = sft(tunable, encode(examples, tunable.tokens), plan=Plan(epochs=60, batch=8, rate=0.02))
    assert curve.losses[-1] < 0.1 * curve.losses[0]
    assert all(math.isfinite(loss) for loss in curve.losses)


@pytest.mark.parametrize("most", [1, 90, 4096])
def test_tokens_of_a_forward_change_nothing(base, examples, most):
    plain, _ = tuned_without_dropout(base, examples, 4096)
    other, _ = tuned_without_dropout(base, examples, most)
    assert np.allclose(plain.losses, other.losses, rtol=1e-4)


def tuned_without_dropout(base, examples, most):
    tunable = Tunable(base, LoRA(r=4, dropout=0.0), seed=2)
    curve = sft(tunable, encode(examples, tunable.tokens), plan=Plan(epochs=3, rate=0.003, tokens=most))
    tunable.detach()
    return curve, most


class Pull:
    """Rows that each pull at a small matrix and its bias with a force of their own; `asked` are the rows of each step."""

    key, sizes = "pull", [1] * 10

    def __init__(self, tunable, slope=1.0):
        self.layer, self.slope, self.asked = tunable.extra["head"], slope, []

    def weight(self, rows):
        self.asked.append(list(rows))
        return float(len(rows))

    def loss(self, rows):
        ways = torch.tensor([[1.0 + row, -(3.0**row) / 9, 0.1] for row in rows])
        made = self.layer(ways).square().sum()
        made.register_hook(lambda slope: slope * self.slope)
        return made


def pulled(base):
    head = torch.nn.Linear(3, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]]))
        head.bias.fill_(0.3)
    return Tunable(base, Frozen(), extra={"head": head})


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_loop_is_adamw_with_clipping_decay_and_schedule(base, schedule):
    plan = Plan(epochs=3, batch=4, rate=0.05, schedule=schedule, decay=0.3, clip=2.0, warmup=0.2)
    ours, theirs = pulled(base), pulled(base)
    objective = Pull(ours)
    curve = fit(ours, objective, plan, seed=4)
    other = Pull(theirs)
    matrix, bias = theirs.extra["head"].weight, theirs.extra["head"].bias
    adam = torch.optim.AdamW([{"params": [matrix], "weight_decay": 0.3}, {"params": [bias], "weight_decay": 0.0}])
    for step, rows in enumerate(objective.asked):
        adam.zero_grad()
        loss = other.loss(rows) / len(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([matrix, bias], 2.0)
        for group in adam.param_groups:
            group["lr"] = 0.05 * plan.share(step, 9)
        adam.step()
        assert curve.losses[step] == pytest.approx(loss.item(), rel=1e-4)
    for name, one in ours.state().items():
        assert torch.allclose(one, theirs.state()[name], atol=1e-6)


def test_every_epoch_asks_every_row_once_in_an_order_of_its_own(base):
    tunable = pulled(base)
    objective = Pull(tunable)
    fit(tunable, objective, Plan(epochs=3, batch=4, rate=1e-6), seed=4)
    epochs = [objective.asked[n : n + 3] for n in (0, 3, 6)]
    assert all(sorted(row for rows in epoch for row in rows) == list(range(10)) for epoch in epochs)
    orders = [sorted(map(tuple, epoch)) for epoch in epochs]
    assert [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)] not in orders
    assert orders[0] != orders[1] != orders[2] != orders[0]
    again = Pull(tunable)
    fit(tunable, again, Plan(epochs=1, batch=4, rate=1e-6), seed=5)
    assert sorted(map(tuple, again.asked)) != orders[0], "another seed is another order"


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_ends_it(base, slope):
    tunable = pulled(base)
    before = tunable.state()
    with pytest.raises(ModelError, match="diverged: a gradient"):
        fit(tunable, Pull(tunable, slope), Plan(epochs=1))
    assert same(tunable.state(), before), "the weights are those of before the step"


def test_pieces():
    assert list(pieces([0, 1, 2, 3], [5, 5, 5, 20], 10)) == [[0, 1], [2], [3]]
    assert list(pieces([], [], 10)) == []


def test_the_schedule():
    plan = Plan(warmup=0.2)
    shares = [plan.share(step, 10) for step in range(10)]
    assert shares[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert shares == pytest.approx([1 / 3, 2 / 3] + [1 - n / 8 for n in range(8)])
    cosine = Plan(warmup=0.0, schedule="cosine")
    assert [cosine.share(step, 4) for step in range(4)] == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert Plan(warmup=0.0, schedule="constant").share(3, 4) == 1.0


def test_cancel_and_deadline_end_it_between_steps(base, examples):
    cancel = Cancel()

    def emit(event):
        if event["kind"] == "progress" and event["done"] == 2:
            cancel.set()

    with pytest.raises(CancelledError), run(cancel=cancel, emit=emit):
        tuned(base, examples, Plan(epochs=9))
    with pytest.raises(DeadlineError), run(seconds=0.0):
        tuned(base, examples, Plan(epochs=9))


def test_what_is_refused(base, examples):
    with pytest.raises(DataError, match="no examples"):
        tuned(base, [], Plan())
    with pytest.raises(OptionError, match="needs labels"):
        tuned(base, examples, Plan(), goal="labels")
    with pytest.raises(OptionError, match="no extra module 'head'"):
        tuned(base, examples, Plan(rates=(("head", 0.1),)))
    nothing = Tunable(base, Frozen())
    with pytest.raises(OptionError, match="nothing to tune"):
        sft(nothing, encode(examples, nothing.tokens))
    with pytest.raises(ModelError, match="diverged"):
        tuned(base, examples, Plan(epochs=4, rate=1e38, clip=1e30, warmup=0.0))
    odd = ({"rate": np.nan}, {"rate": np.inf}, {"clip": np.nan}, {"tokens": 0}, {"decay": -1.0}, {"rate": -1.0})
    for wrong in ({"epochs": 0}, {"rate": 0.0}, {"warmup": 1.0}, {"schedule": "zigzag"}, {"patience": -1}, *odd):
        field, value = next(iter(wrong.items()))
        with pytest.raises(OptionError, match=f"{field} is '?{value}"):
            Plan(**wrong)
    with pytest.raises(OptionError, match="the rate of head is -0.1"):
        Plan(rates=(("head", -0.1),))
    with pytest.raises(OptionError):
        Form(window=1)
