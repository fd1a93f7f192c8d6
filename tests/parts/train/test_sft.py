import numpy as np
import pytest
import torch
from torch import nn

from hexarec.core import OptionError
from hexarec.lm.base import SLOT, Prompt
from hexarec.parts.train.examples import Example, Form, encode
from hexarec.parts.train.kinds import Frozen, LoRA
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.sft import Supervised, label_scores, sft
from hexarec.parts.train.tunable import Tunable

LABELS = Form(labels=("Yes", "No"))


@pytest.mark.parametrize("goal", ["tokens", "labels", "first"])
def test_each_goal_learns_the_labels(base, examples, goal):
    tunable = Tunable(base, LoRA(r=8, dropout=0.0), seed=1)
    data = encode(examples, tunable.tokens, LABELS)
    sft(tunable, data, goal=goal, plan=Plan(epochs=60, rate=0.02))
    scores = label_scores(tunable, data)
    assert np.allclose(np.exp(scores).sum(1), 1.0, atol=1e-5)
    said = [LABELS.labels[row] for row in scores.argmax(1)]
    assert said == [one.answer for one in examples]


def test_shuffled_answers_teach_nothing_that_holds(base):
    """On prompts that were not trained on, real answers are found and shuffled ones are not."""
    words = ["Heat", "Fargo", "Toy", "Star", "War", "Sea", "God", "Dr"]
    train = [
        Example(Prompt.user(f"{w} {'yes' if n % 2 else 'no'}?"), "Yes" if n % 2 else "No")
        for w in words[:6]
        for n in (0, 1)
    ]
    held = [
        Example(Prompt.user(f"{w} {'yes' if n % 2 else 'no'}?"), "Yes" if n % 2 else "No")
        for w in words[6:]
        for n in (0, 1)
    ]
    mixed = [Example(one.prompt, "Yes" if (n // 2) % 2 else "No") for n, one in enumerate(train)]
    right = []
    for rows in (train, mixed):
        tunable = Tunable(base, LoRA(r=8, dropout=0.0), seed=1)
        sft(tunable, encode(rows, tunable.tokens, LABELS), goal="labels", plan=Plan(epochs=30, rate=0.01))
        scores = label_scores(tunable, encode(held, tunable.tokens, LABELS))
        right.append(
            np.mean([LABELS.labels[row] == one.answer for row, one in zip(scores.argmax(1), held, strict=True)])
        )
        tunable.detach()
    assert right[0] == 1.0
    assert right[1] <= 0.75


def test_a_bridge_learns_through_slots(base):
    """Only the vectors tell the examples apart, so only a bridge that receives gradients can learn the answers."""
    given = torch.eye(4)
    tunable = Tunable(base, Frozen(), extra={"bridge": nn.Linear(4, 64)}, seed=1)
    prompt = Prompt.user(f"The user is {SLOT}. Will they like Heat?")
    data = encode([Example(prompt, answer) for answer in ("Yes", "No", "No", "Yes")], tunable.tokens, LABELS)

    def bridge(rows):
        return tunable.extra["bridge"](given[list(rows)])

    curve = sft(tunable, data, goal="labels", bridge=bridge, plan=Plan(epochs=40, rate=0.05))
    assert curve.losses[-1] < 0.1 * curve.losses[0]
    assert label_scores(tunable, data, bridge=bridge).argmax(1).tolist() == [0, 1, 1, 0]
    with pytest.raises(OptionError, match="needs a metric"):
        sft(tunable, data, valid=data, bridge=bridge)


def test_rates_of_extra_modules(base):
    tunable = Tunable(base, Frozen(), extra={"slow": nn.Linear(4, 64), "fast": nn.Linear(4, 64)}, seed=1)
    before = tunable.state()
    prompt = Prompt.user(f"{SLOT} and {SLOT}: Heat?")
    data = encode([Example(prompt, "Yes")], tunable.tokens)

    def bridge(rows):
        return torch.stack([tunable.extra[name](torch.ones(4)) for name in ("slow", "fast")])

    plan = Plan(epochs=1, warmup=0.0, rate=1e-4, rates=(("fast", 1e-2),))
    sft(tunable, data, bridge=bridge, plan=plan)
    moved = {name: float((one - before[name]).abs().max()) for name, one in tunable.state().items()}
    assert moved["extra.slow.weight"] == pytest.approx(1e-4, rel=0.01)
    assert moved["extra.fast.weight"] == pytest.approx(1e-2, rel=0.01)


def test_the_goal_labels_is_the_softmax_of_label_scores(base, examples):
    tunable = Tunable(base, LoRA())
    data = encode(examples, tunable.tokens, LABELS)
    mean = Supervised(tunable, data, "labels").mean()
    scores = label_scores(tunable, data)
    picked = [scores[n, LABELS.labels.index(one.answer)] for n, one in enumerate(examples)]
    assert mean == pytest.approx(-np.mean(picked), rel=1e-5)


def test_scores_need_labels_and_a_goal_must_exist(base, examples):
    tunable = Tunable(base, LoRA())
    data = encode(examples, tunable.tokens)
    with pytest.raises(OptionError, match="needs labels"):
        label_scores(tunable, data)
    with pytest.raises(OptionError, match="no goal"):
        Supervised(tunable, data, "magic")
    long = encode([Example(examples[0].prompt, "No")], tunable.tokens, Form(labels=("Nevertheless", "No")))
    for refused in (lambda: label_scores(tunable, long), lambda: Supervised(tunable, long, "labels")):
        with pytest.raises(OptionError, match="is one token"):
            refused()
    assert label_scores(tunable, encode([], tunable.tokens, LABELS)).shape == (0, 2)
