"""Dropout that draws fewer random numbers: its shares, its scale, its gradient, and where it does nothing."""

import pytest
import torch

from headway.nn.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_so_many_elements_fall_and_the_others_keep_the_mean(probability):
    torch.manual_seed(3)
    dropped = Dropout(probability)(torch.ones(401, 503))
    fell = dropped == 0.0
    assert float(fell.float().mean()) == pytest.approx(probability, abs=0.005)
    assert float(dropped[~fell][0]) == pytest.approx(1 / (1 - probability), rel=1e-3)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert dropped.unique().numel() == 2


def test_every_one_of_the_four_that_share_a_draw_falls_equally_often_and_alone():
    torch.manual_seed(3)
    fell = (Dropout(0.3)(torch.ones(100_003)) == 0.0)[:100_000].view(-1, 4).float()
    assert fell.mean(0).tolist() == pytest.approx([0.3] * 4, abs=0.01)
    correlation = torch.corrcoef(fell.t()) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.03
    assert float(torch.corrcoef(torch.stack([fell[1:, 0], fell[:-1, 3]]))[0, 1].abs()) < 0.03


def test_the_gradient_passes_where_the_element_stayed():
    torch.manual_seed(3)
    x = torch.randn(7, 11, requires_grad=True)
    dropped = Dropout(0.4)(x)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient * x, dropped)
    assert bool((gradient == 0.0).any()) and bool((gradient > 1.0).any())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_stays_as_it_is(dtype):
    assert Dropout(0.5)(torch.ones(3, 5, dtype=dtype)).dtype == dtype


def test_the_same_seed_drops_the_same_elements_and_the_next_draw_others():
    x = torch.ones(13, 17)
    torch.manual_seed(5)
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.5)(x), first) and not torch.equal(first, second)


def test_it_does_nothing_in_evaluation_or_at_probability_zero():
    x = torch.randn(3, 5)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 0)])
def test_any_shape_will_do(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape
