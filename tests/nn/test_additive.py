import numpy
import pytest
import torch

from headway.nn.additive import AdditiveAttention, _AttentiveScan
from headway.nn.gated import GatedUnit

DOUBLE = {"dtype": torch.float64, "requires_grad": True}
MASK = torch.arange(7) < torch.tensor([7, 3])[:, None]


def random_parts(rows=2):
    """An attention over annotations of width 3 and a unit of width 5 that reads them."""
    torch.manual_seed(1)
    attention, unit = AdditiveAttention(5, 3, 11).double(), GatedUnit(2, 5, context=3).double()
    for parameter in [*attention.parameters(), *unit.parameters()]:
        torch.nn.init.normal_(parameter)
    annotations = torch.randn(rows, 7, 3, **DOUBLE)
    terms, initial = torch.randn(4, rows, 15, **DOUBLE), torch.randn(rows, 5, **DOUBLE)
    return attention, unit, annotations, terms, initial


def test_the_weights_are_the_papers_equations():
    attention, _, annotations, _, _ = random_parts()
    states = torch.randn(2, 4, 5).double()
    got = attention.weights(states, attention.key(annotations), MASK).detach().numpy()
    assert got.shape == (2, 4, 7)
    w, u = attention.query.weight.detach().numpy(), attention.key.weight.detach().numpy()
    b, v = attention.key.bias.detach().numpy(), attention.score.detach().numpy()
    for row, length in enumerate((7, 3)):
        for position in range(4):
            s, h = states[row, position].numpy(), annotations[row].detach().numpy()
            scores = numpy.array([v @ numpy.tanh(w @ s + u @ h[j] + b) for j in range(length)])
            expected = numpy.exp(scores) / numpy.exp(scores).sum()
            numpy.testing.assert_allclose(got[row, position, :length], expected, rtol=1e-12)
            assert not got[row, position, length:].any()


def test_without_scores_attention_is_even():
    attention, _, annotations, _, _ = random_parts()
    torch.nn.init.zeros_(attention.score)
    weights = attention.weights(torch.randn(2, 4, 5).double(), attention.key(annotations), MASK)
    torch.testing.assert_close(weights[0], torch.full((4, 7), 1 / 7).double())
    torch.testing.assert_close(weights[1], torch.tensor([1 / 3] * 3 + [0.0] * 4).double().expand(4, 7))


def plain_scan(attention, unit, annotations, terms, initial, mask):
    """The same with contexts as the paper writes them, c_i = sum of alpha h, one position after another."""
    states, weights, state = [], [], initial
    for at in range(len(terms)):
        alpha = attention.weights(state[:, None], attention.key(annotations), mask)  # (B, 1, S)
        context = (alpha @ annotations)[:, 0]
        states.append(state)
        weights.append(alpha[:, 0])
        state = unit.advance(terms[at] + unit.context(context), state)
    return torch.stack(states), torch.stack(weights, dim=1)


@pytest.mark.parametrize("mask", [None, MASK])
def test_a_scan_and_its_gradients_are_those_of_the_plain_equations(mask):
    attention, unit, annotations, terms, initial = random_parts()
    wanted = [annotations, terms, initial, *attention.parameters()]
    wanted += [unit.gates.weight, unit.candidate.weight, unit.context.weight]
    ours = attention.scan(unit, terms, initial, attention.key(annotations), unit.context(annotations), mask)
    theirs = plain_scan(attention, unit, annotations, terms, initial, mask)
    seeds = [torch.randn(part.shape).double() for part in theirs]
    results = []
    for parts in (ours, theirs):
        loss = sum((part * seed).sum() for part, seed in zip(parts, seeds, strict=True))
        results.append([*parts, *torch.autograd.grad(loss, wanted)])
    assert ours[0].shape == (4, 2, 5) and ours[1].shape == (2, 4, 7)
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("mask", [None, MASK])
def test_the_gradients_by_hand_are_those_of_finite_differences(mask):
    torch.manual_seed(2)
    shapes = ((3, 2, 15), (2, 5), (2, 7, 4), (2, 7, 15), (14, 5), (5, 5), (4,))
    given = [torch.randn(shape, **DOUBLE) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *parts: _AttentiveScan.apply(*parts, mask), given)


def test_one_position_needs_no_step_of_the_unit():
    attention, unit, annotations, terms, initial = random_parts()
    states, weights = attention.scan(
        unit, terms[:1], initial, attention.key(annotations), unit.context(annotations), None
    )
    assert torch.equal(states[0], initial)
    weights.square().sum().backward()
    assert annotations.grad.abs().sum() > 0 and not unit.candidate.weight.grad.any()


def test_a_scan_runs_in_the_weights_precision_under_autocast():
    attention, unit = AdditiveAttention(5, 3, 11), GatedUnit(2, 5, context=3)
    torch.nn.init.normal_(attention.score)
    annotations = torch.randn(2, 7, 3)
    given = (torch.randn(4, 2, 15), torch.zeros(2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        states, weights = attention.scan(unit, *given, attention.key(annotations), unit.context(annotations), None)
    assert states.dtype == weights.dtype == torch.float32
    states.sum().backward()
    assert all(part.grad.isfinite().all() for part in (attention.score, unit.gates.weight))
