"""Low-rank adapters beside a linear layer, by hand-worked numbers and against the layer they wrap."""

import math

import pytest
import torch
from torch import nn

from headway.nn.low_rank import LowRankLinear


def adapted(dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> LowRankLinear:
    """5 inputs, 7 outputs, rank 3, with every number random."""
    torch.manual_seed(11)
    layer = LowRankLinear(nn.Linear(5, 7, dtype=dtype), rank=3, alpha=2.0, dropout=dropout)
    nn.init.normal_(layer.up)
    return layer


def test_it_begins_as_the_layer_it_wraps() -> None:
    torch.manual_seed(3)
    linear = nn.Linear(5, 7)
    layer = LowRankLinear(linear, rank=3, alpha=2.0, dropout=0.5)
    x = torch.randn(2, 11, 5)
    assert torch.equal(layer(x), linear(x))
    drawn = layer.down.detach()
    assert float(drawn.abs().max()) <= 1 / math.sqrt(5) and float(drawn.std()) > 0.1


def test_the_product_is_scaled_by_alpha_over_rank() -> None:
    layer = LowRankLinear(nn.Linear(3, 1), rank=2, alpha=5.0)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0, 0.0, 2.0]]))
        layer.linear.bias.fill_(0.5)
        layer.down.copy_(torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]))
        layer.up.copy_(torch.tensor([[3.0, -1.0]]))
    x = torch.tensor([[1.0, 2.0, 3.0]])
    # W x + b = 1 + 6 + 0.5; A x = (3, 7); B A x = 9 - 7 = 2, times 5 / 2
    assert layer(x).tolist() == [[7.5 + 5.0]]


def test_the_merged_layer_computes_the_same() -> None:
    layer = adapted()
    before = layer.linear.weight.clone()
    merged = layer.merged()
    x = torch.randn(2, 11, 5)
    assert type(merged) is nn.Linear and merged.weight.requires_grad
    assert torch.allclose(merged(x), layer(x), atol=1e-5)
    assert not torch.allclose(merged(x), layer.linear(x), atol=0.1)
    assert torch.equal(layer.linear.weight, before) and merged.weight is not layer.linear.weight


def test_the_sum_is_taken_in_float32_and_kept_in_the_weights_precision() -> None:
    layer = adapted(torch.bfloat16)
    expected = layer.linear.weight.float() + 2.0 / 3.0 * layer.up.float() @ layer.down.float()
    merged = layer.merged()
    assert merged.weight.dtype is torch.bfloat16
    assert torch.equal(merged.weight, expected.bfloat16())


def test_only_the_factors_learn() -> None:
    layer = adapted()
    weight, bias = layer.linear.weight.clone(), layer.linear.bias.clone()
    learning = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    assert learning == ["down", "up"]
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    before = layer.down.detach().clone()
    layer(torch.randn(2, 5)).square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.linear.weight, weight) and torch.equal(layer.linear.bias, bias)
    assert not torch.equal(layer.down, before)


def test_dropout_falls_on_the_input_of_the_product_alone() -> None:
    layer = adapted(dropout=0.5)
    with torch.no_grad():
        layer.down.fill_(1.0)
        layer.up.fill_(1.0)
    x = torch.ones(97, 5)
    product = (layer(x) - layer.linear(x)).detach()[:, 0] / (2.0 / 3.0 * 3)  # twice the number of inputs that were kept
    kept = product / 2
    assert torch.allclose(kept, kept.round(), atol=1e-4)
    assert 1.5 < float(kept.mean()) < 3.5 and len(kept.round().unique()) > 2
    layer.eval()
    assert torch.allclose(layer(x), layer.merged()(x), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_without_bias_stays_without(bias: bool) -> None:
    merged = LowRankLinear(nn.Linear(2, 3, bias=bias), rank=1, alpha=1.0).merged()
    assert (merged.bias is not None) is bias
