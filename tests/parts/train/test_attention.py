import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from hexarec.parts.train.attention import Segmented

LENGTHS = [1, 7, 2, 13]


def row(heads, seed):
    draw = torch.Generator().manual_seed(seed)
    made = torch.randn(sum(LENGTHS), heads, 8, generator=draw, dtype=torch.float64)
    return made.transpose(0, 1).requires_grad_()


@pytest.mark.parametrize("kv", [1, 2, 4])
def test_values_and_gradients_are_those_of_torch(kv):
    q, k, v = row(4, 1), row(kv, 2), row(kv, 3)
    slope = torch.randn(sum(LENGTHS), 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    ours = Segmented.apply(q, k, v, LENGTHS, 0.3)
    parts = zip(*(one.split(LENGTHS, dim=1) for one in (q, k, v)), strict=True)
    made = [
        scaled_dot_product_attention(x[None], y[None], z[None], is_causal=True, scale=0.3, enable_gqa=True)[0]
        for x, y, z in parts
    ]
    theirs = torch.cat(made, 1).transpose(0, 1)
    assert torch.allclose(ours, theirs, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(o, (q, k, v), slope) for o in (ours, theirs)), strict=True):
        assert torch.allclose(one, other, atol=1e-6)  # a row of odds is levelled in float32


def test_bfloat16_is_as_close_as_its_rounding():
    q, k, v = (row(heads, n).detach().bfloat16() for n, heads in enumerate((4, 2, 2)))
    near = Segmented.apply(q, k, v, LENGTHS, 0.3)
    exact = Segmented.apply(q.double(), k.double(), v.double(), LENGTHS, 0.3)
    assert near.dtype == torch.bfloat16
    assert (near - exact).abs().max() < 0.03
