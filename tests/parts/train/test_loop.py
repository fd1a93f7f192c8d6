import math

import numpy as np
import pytest
import torch

from hexarec.core import Cancel, CancelledError, DataError, DeadlineError, ModelError, OptionError, StateError, run
from hexarec.parts.train.examples import Form, encode
from hexarec.parts.train.kinds import Frozen, LoRA
from hexarec.parts.train.loop import Plan, pieces
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


def test_another_run_takes_no_notice_of_the_checkpoint(base, examples, tmp_path):
    with run(scratch=tmp_path):
        tuned(base, examples, Plan(epochs=2))
        curve, _ = tuned(base, examples[:-1], Plan(epochs=1))
    assert len(curve.losses) == 1
    assert len(list(tmp_path.iterdir())) == 2


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
    odd = ({"rate": np.nan}, {"rate": np.inf}, {"clip": np.nan})
    for wrong in ({"epochs": 0}, {"rate": 0.0}, {"warmup": 1.0}, {"schedule": "zigzag"}, {"patience": -1}, *odd):
        with pytest.raises(OptionError):
            Plan(**wrong)
    with pytest.raises(OptionError):
        Form(window=1)
