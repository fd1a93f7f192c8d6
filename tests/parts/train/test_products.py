import pytest
import torch
from torch import nn

from hexarec.parts.train import products


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 6), (1, 7, 6)])
def test_values_and_gradients_are_those_of_torch(bias, shape):
    layer = nn.Linear(6, 9, bias=bias).requires_grad_(False)
    x = torch.randn(shape, requires_grad=True)
    slope = torch.randn(*shape[:-1], 9)
    plain = layer(x)
    with products.quick():
        quick = layer(x)
    assert torch.allclose(quick, plain, atol=1e-6)
    found, wanted = (torch.autograd.grad(made, x, slope)[0] for made in (quick, plain))
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.skipif(not products._there(), reason="this build of torch has no oneDNN")
def test_only_frozen_float32_layers_go_there():
    x = torch.randn(7, 6, requires_grad=True)
    with products.quick():
        assert "_Product" in type(nn.Linear(6, 9).requires_grad_(False)(x).grad_fn).__name__
        learns, half = nn.Linear(6, 9), nn.Linear(6, 9).bfloat16().requires_grad_(False)
        assert "_Product" not in type(learns(x).grad_fn).__name__
        assert "_Product" not in type(half(x.bfloat16()).grad_fn).__name__
        learns(x).sum().backward()
    assert learns.weight.grad.abs().sum() > 0
    assert "_Product" not in type(nn.Linear(6, 9).requires_grad_(False)(x).grad_fn).__name__
