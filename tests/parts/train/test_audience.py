import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from hexarec.lm.base import Prompt
from hexarec.lm.open import open_lm
from hexarec.parts.train.audience import Attracts, Head, Lessons, Recipe, over_frozen, over_tuned
from hexarec.parts.train.kinds import LoRA
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.plain import begun

DRAW = np.random.default_rng(0)
LIKED = csr_array(
    (DRAW.random((8, 12)) < 0.3).astype(np.float32) + np.eye(8, 12, dtype=np.float32) > 0, dtype=np.float32
)
STATES = DRAW.standard_normal((8, 5)).astype(np.float32)
RATES = (("head", 0.01), ("people", 0.01))


def lessons(valid=()):
    guides = DRAW.standard_normal((8, 3)).astype(np.float32)
    people = DRAW.standard_normal((12, 3)).astype(np.float32)
    return Lessons(LIKED, guides, np.array(valid, np.int64), people)


def objective(recipe, valid=(), made=None):
    made = made or lessons(valid)
    head = begun(lambda: Head(5, 3, recipe), 0, "test")
    people = torch.nn.Embedding(12, 3, _weight=torch.tensor(made.people))
    states = torch.from_numpy(STATES)
    return head, made, Attracts(made, recipe, lambda own: states[list(own)], [1] * 8, head, people, 0)


def by_hand(head, made, rows, guide):
    total = 0.0
    for row in rows:
        h = head(torch.from_numpy(STATES[[row]]))[0]
        odds = torch.log_softmax(h @ torch.from_numpy(made.people).T, 0)
        truth = torch.from_numpy(LIKED[[row]].toarray()[0])
        total = (
            total - (odds * truth / truth.sum()).sum() + guide * ((h - torch.from_numpy(made.guides[row])) ** 2).mean()
        )
    return total.item()


@pytest.mark.parametrize("recipe", [Recipe(0, False, 0.0, 0), Recipe(0, False, 10.0, 0), Recipe(4, True, 2.0, 0)])
def test_the_loss_is_shared_cross_entropy_and_guidance(recipe):
    head, made, goal = objective(recipe)
    assert goal.loss([0, 3, 7]).item() == pytest.approx(by_hand(head, made, [0, 3, 7], recipe.guide), rel=1e-5)
    assert goal.weight([0, 3, 7]) == 3.0 and len(goal.sizes) == 8


def test_items_that_validate_are_no_rows_of_the_loss():
    head, made, goal = objective(Recipe(0, False, 1.0, 0), valid=(0, 2))
    assert len(goal.sizes) == 6
    assert goal.loss([0, 5]).item() == pytest.approx(by_hand(head, made, [1, 7], 1.0), rel=1e-5)
    assert goal.value(4096) == pytest.approx(-by_hand(head, made, [0, 2], 0.0) / 2, rel=1e-5)
    assert goal.value(1) == pytest.approx(goal.value(4096), rel=1e-6)  # one item a forward


def test_a_sampled_softmax_has_the_mean_of_the_whole_one():
    made = lessons()
    _, _, whole = objective(Recipe(0, False, 0.0, 0), made=made)
    _, _, some = objective(Recipe(0, False, 0.0, 6), made=made)
    exact = whole.loss([1]).item()
    drawn = []
    for n in range(300):
        torch.manual_seed(n)
        drawn.append(some.loss([1]).item())
    assert np.std(drawn) > 0.01 and np.mean(drawn) == pytest.approx(exact, abs=0.12)
    _, _, many = objective(Recipe(0, False, 0.0, 50), made=made)
    assert many.loss([1]).item() == pytest.approx(exact)


def test_a_head_with_relu_is_never_negative_and_one_with_a_layer_is_wider():
    x = torch.from_numpy(STATES)
    assert (begun(lambda: Head(5, 3, Recipe(0, True, 0.0, 0)), 0, "t")(x) >= 0).all()
    assert (begun(lambda: Head(5, 3, Recipe(0, False, 0.0, 0)), 0, "t")(x) < 0).any()
    assert begun(lambda: Head(5, 3, Recipe(7, False, 0.0, 0)), 0, "t").out.in_features == 7


def test_training_over_frozen_states_moves_head_and_vocabulary():
    made = lessons((3,))
    learned = over_frozen(STATES, made, Recipe(0, False, 1.0, 0), Plan(30, 4, 0.01, RATES), 0)
    assert learned.curve["losses"][-1] < 0.7 * learned.curve["losses"][0] and len(learned.curve["valid"]) == 30
    assert np.abs(learned.people - made.people).max() > 0.01 and learned.adapter is None
    assert set(learned.head) == {"out.weight", "out.bias"}


def test_training_over_a_tuned_tower_leaves_the_vocabulary_out_of_the_adapter():
    lm = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
    asked = [Prompt.user(f"Item {n}: {'ocean ' * n}") for n in range(8)]
    plan = Plan(3, 4, 1e-3, RATES, tokens=64)
    learned = over_tuned(lm, asked, LoRA(4, 8.0, 0.0), lessons((3,)), Recipe(0, False, 1.0, 0), plan, 0, method="test")
    assert learned.adapter["about"]["method"] == "test"
    assert learned.adapter["tensors"] and not any(name.startswith("extra") for name in learned.adapter["tensors"])
    assert any(np.abs(one).max() > 0 for name, one in learned.adapter["tensors"].items() if name.endswith(".B"))
    assert len(learned.curve["valid"]) == 3 and learned.people.shape == (12, 3)
