import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from hexarec.parts.train import losses


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(11, 6, generator=draw).requires_grad_()
    return states, torch.randint(9, (11,), generator=draw), torch.randn(11, generator=draw)


@pytest.mark.parametrize("bias", [False, True])
def test_log_probs_and_their_gradients_are_those_of_torch(rows, bias, monkeypatch):
    monkeypatch.setattr(losses, "ROWS", 4)  # so that several pieces are made
    states, targets, weights = rows
    head = nn.Linear(6, 9, bias=bias)
    plain = -cross_entropy(head(states), targets, reduction="none")
    (wanted,) = torch.autograd.grad((plain * weights).sum(), states)
    head.requires_grad_(False)
    quick = losses.log_probs(head, states, targets)
    (found,) = torch.autograd.grad((quick * weights).sum(), states)
    assert torch.allclose(quick, plain, atol=1e-5)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_head_that_learns_gets_its_gradient(rows):
    states, targets, _ = rows
    head = nn.Linear(6, 9)
    losses.log_probs(head, states, targets).sum().backward()
    assert head.weight.grad.abs().sum() > 0


def test_label_logits_are_columns_of_all_logits(rows):
    states, _, _ = rows
    head = nn.Linear(6, 9)
    labels = torch.tensor([[n % 9, (n + 3) % 9] for n in range(11)])
    found = losses.label_logits(head, states, labels)
    assert torch.allclose(found, head(states).gather(1, labels), atol=1e-5)


def test_two_labels_are_the_bce_of_their_difference():
    logits, truth = torch.tensor([[2.0, 0.5], [-1.0, 3.0]]), torch.tensor([0, 0])
    wanted = binary_cross_entropy_with_logits(logits[:, 0] - logits[:, 1], torch.ones(2), reduction="none")
    assert torch.allclose(losses.over_labels(logits, truth), wanted)


def test_the_first_label_by_itself():
    logits, truth = torch.tensor([[2.0, 9.0], [-1.0, 9.0]]), torch.tensor([0, 1])
    wanted = torch.nn.functional.softplus(torch.tensor([-2.0, -1.0]))
    assert torch.allclose(losses.first_label(logits, truth), wanted)
