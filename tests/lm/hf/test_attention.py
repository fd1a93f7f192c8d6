"""The arithmetic below the engine: attention, 8-bit products and the output layer against torch's own."""

import pytest
import torch
from torch import nn

from hexarec.core.errors import ModelError
from hexarec.lm.hf import attention, head
from hexarec.lm.hf.attention import Plan, Prefix, Span
from hexarec.lm.hf.head import Head
from hexarec.lm.hf.linear import Int8

HEADS, KV, SIZE = 4, 2, 16


def drawn(n, past, seed=0):
    """(heads, n, size) queries, (kv heads, past + n, size) keys and values, in float32 that bfloat16 holds exactly."""
    draw = torch.Generator().manual_seed(seed)
    shapes = (HEADS, n, SIZE), (KV, past + n, SIZE), (KV, past + n, SIZE)
    return [torch.randn(shape, generator=draw).bfloat16().float() for shape in shapes]


@pytest.mark.parametrize("past", [0, 37])
@pytest.mark.parametrize("n", [1, 2, 128, 300])
def test_causal_attention_in_bfloat16_is_that_of_float32(n, past):
    q, k, v = drawn(n, past)
    wanted = attention._causal(q, k, v, past, 0.25)
    found = attention._causal(q.bfloat16(), k.bfloat16(), v.bfloat16(), past, 0.25).float()
    assert (found - wanted).abs().max() < 0.04 and (found - wanted).square().mean().sqrt() < 0.004


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_of_the_future_changes_a_row(dtype):
    n, past, cut = 200, 9, 150
    q, k, v = (one.to(dtype) for one in drawn(n, past))
    before = attention._causal(q, k, v, past, 0.25)
    k[:, past + cut :], v[:, past + cut :] = 7.0, -50.0
    after = attention._causal(q, k, v, past, 0.25)
    assert torch.equal(after[:, :cut], before[:, :cut])
    assert not torch.equal(after[:, cut:], before[:, cut:])


@pytest.mark.parametrize("more", [{"softcap": 30.0}, {"s_aux": torch.zeros(HEADS)}])
def test_capped_scores_and_sinks_are_refused(more):
    layer = nn.Module()
    layer.layer_idx = 0
    q, k, v = (one[None] for one in drawn(3, 0))
    plan = Plan([Span(Prefix(1), slice(0, 3), slice(3, 3))])
    made, _ = attention.attend(layer, q, k, v, None, 0.25, plan=plan, softcap=None)
    assert made.shape == (1, 3, HEADS, SIZE)
    with pytest.raises(ModelError, match="no capped scores and no sinks"):
        attention.attend(layer, q, k, v, None, 0.25, plan=plan, **more)


def test_int8_has_a_scale_for_each_output_and_each_token():
    draw = torch.Generator().manual_seed(0)
    layer = nn.Linear(32, 24)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(24, 32, generator=draw) * torch.logspace(-3, 3, 24)[:, None])
        layer.bias.zero_()
        rows = torch.randn(20, 32, generator=draw) * torch.logspace(-2, 2, 20)[:, None]
        wanted, found = layer(rows), Int8.of(layer)(rows)
    sizes = rows.norm(dim=1)[:, None] * layer.weight.norm(dim=1)[None]
    error = ((found - wanted) / sizes).abs().max()
    assert 0 < error < 0.01, "each product is right for its own row and column, whatever the size of the others"


class Biased(nn.Module):
    """An output layer with a bias."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.layer = nn.Linear(16, 50)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(50, 16, generator=draw))
            self.layer.bias.copy_(3 * torch.randn(50, generator=draw))

    def get_output_embeddings(self):
        return self.layer


@pytest.mark.parametrize("laid_out", [True, False])
def test_the_output_layer_has_its_bias(laid_out, monkeypatch):
    monkeypatch.setattr(head, "COLUMNS", 16)  # several blocks
    if not laid_out:
        monkeypatch.setattr(head, "packable", lambda: False)
    model = Biased()
    made, states = Head(model), torch.randn(7, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model.layer(states)
    assert torch.allclose(made.logits(states), wanted, atol=1e-4)
    assert torch.allclose(made.log_sums(states), wanted.logsumexp(1), atol=1e-4)
    same, own = torch.tensor([3, 44, 0]), torch.arange(14).view(7, 2) * 3
    assert torch.allclose(made.columns(states, same), wanted[:, same], atol=1e-4)
    assert torch.allclose(made.columns(states, own), wanted.gather(1, own), atol=1e-4)
