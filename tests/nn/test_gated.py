import numpy
import pytest
import torch

from headway.nn.gated import GatedLayer, GatedUnit, _Scan

DOUBLE = {"dtype": torch.float64, "requires_grad": True}


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def by_hand(x, state, unit, context=None):
    """Equations of appendix A.2.2 (A.1.1 without a context), a gate at a time, on NumPy arrays of one row."""
    n = unit.width
    w, b = unit.input.weight.detach().numpy(), unit.input.bias.detach().numpy()
    u, gates = unit.candidate.weight.detach().numpy(), unit.gates.weight.detach().numpy()
    c = numpy.zeros((3 * n, 1)) if context is None else unit.context.weight.detach().numpy()
    context = numpy.zeros(1) if context is None else context
    z = sigmoid(w[:n] @ x + b[:n] + gates[:n] @ state + c[:n] @ context)
    r = sigmoid(w[n : 2 * n] @ x + b[n : 2 * n] + gates[n:] @ state + c[n : 2 * n] @ context)
    proposal = numpy.tanh(w[2 * n :] @ x + b[2 * n :] + u @ (r * state) + c[2 * n :] @ context)
    return (1 - z) * state + z * proposal


def unit_of(inputs, width, context=None):
    torch.manual_seed(1)
    unit = GatedUnit(inputs, width, context=context).double()
    for parameter in unit.parameters():
        torch.nn.init.normal_(parameter)
    return unit


def test_one_position_with_numbers_worked_by_hand():
    """One unit: z = sigmoid(0) = 1/2, r = sigmoid(ln 3) = 3/4, s~ = tanh(1 + 2 * 3/4 * 0.4) = tanh(1.6)."""
    unit = GatedUnit(1, 1).double()
    with torch.no_grad():
        unit.input.weight.copy_(torch.tensor([[0.5], [0.0], [1.0]]))
        unit.input.bias.copy_(torch.tensor([-0.9, float(numpy.log(3)), 0.0]))
        unit.gates.weight.copy_(torch.tensor([[1.0], [0.0]]))
        unit.candidate.weight.fill_(2.0)
        terms, state = unit.input(torch.ones(1, 1).double()), torch.full((1, 1), 0.4).double()
        expected = 0.5 * 0.4 + 0.5 * 0.9216685544064713
        assert unit.advance(terms, state).item() == pytest.approx(expected, abs=1e-7)
        assert unit.scan(terms[None], state)[1].item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("context_width", [None, 7])
def test_the_unit_is_the_papers_equations(context_width):
    unit = unit_of(3, 5, context_width)
    x, state = torch.randn(2, 3).double(), torch.randn(2, 5).double()
    context = None if context_width is None else torch.randn(2, context_width).double()
    terms = unit.input(x) if context is None else unit.input(x) + unit.context(context)
    got = unit.advance(terms, state)
    for row in range(2):
        read = None if context is None else context[row].numpy()
        expected = by_hand(x[row].numpy(), state[row].numpy(), unit, read)
        numpy.testing.assert_allclose(got[row].detach().numpy(), expected, rtol=1e-12)


def test_the_unit_is_not_torchs_gru():
    """torch.nn.GRU applies r behind the matrix, and its z weighs the old state."""
    unit, theirs = unit_of(3, 5), torch.nn.GRUCell(3, 5).double()
    n = unit.width
    with torch.no_grad():
        swap = [*range(n, 2 * n), *range(n), *range(2 * n, 3 * n)]
        theirs.weight_ih.copy_(unit.input.weight[swap])
        theirs.bias_ih.copy_(unit.input.bias[swap])
        theirs.weight_hh.copy_(torch.cat([unit.gates.weight, unit.candidate.weight])[swap])
        theirs.bias_hh.zero_()
        for part in (theirs.weight_ih, theirs.weight_hh, theirs.bias_ih):
            part[n : 2 * n] *= -1  # 1 - z in place of z
        x, zeros = torch.randn(2, 3).double(), torch.zeros(2, 5).double()
        state = torch.randn(2, 5).double()
        torch.testing.assert_close(unit.advance(unit.input(x), zeros), theirs(x, zeros))
        assert not torch.allclose(unit.advance(unit.input(x), state), theirs(x, state), atol=1e-2)


@pytest.mark.parametrize("backward", [False, True])
def test_a_scan_is_the_unit_position_by_position(backward):
    unit = unit_of(3, 5)
    terms, state = unit.input(torch.randn(7, 2, 3).double()), torch.randn(2, 5).double()
    states = unit.scan(terms, state, backward=backward)
    assert states.shape == (8, 2, 5)
    assert torch.equal(states[-1 if backward else 0], state)
    for at in reversed(range(7)) if backward else range(7):
        state = unit.advance(terms[at], state)
        torch.testing.assert_close(states[at if backward else at + 1], state)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_the_gradients_by_hand_are_those_of_finite_differences(backward, padded):
    torch.manual_seed(2)
    padding = torch.tensor([[False, False], [False, True], [False, True]]) if padded else None
    given = [torch.randn(shape, **DOUBLE) for shape in ((3, 2, 15), (2, 5), (10, 5), (5, 5))]
    assert torch.autograd.gradcheck(lambda *parts: _Scan.apply(*parts, padding, backward), given)


def test_the_gradients_by_hand_are_those_of_autograd():
    unit = unit_of(3, 5)
    x, initial = torch.randn(7, 2, 3, **DOUBLE), torch.randn(2, 5, **DOUBLE)
    wanted = [x, initial, *unit.parameters()]
    weights = torch.randn(8, 2, 5).double()
    ours = torch.autograd.grad((unit.scan(unit.input(x), initial) * weights).sum(), wanted)
    states, terms = [initial], unit.input(x)
    for at in range(7):
        states.append(unit.advance(terms[at], states[-1]))
    theirs = torch.autograd.grad((torch.stack(states) * weights).sum(), wanted)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_the_state_stays_exactly_as_it_is_on_padding():
    unit = unit_of(3, 5)
    terms, state = torch.randn(3, 2, 15).double(), torch.randn(2, 5).double()
    padding = torch.tensor([[False, True], [True, True], [True, False]])
    states = unit.scan(terms, state, padding=padding)
    assert torch.equal(states[3, 0], states[1, 0]) and not torch.equal(states[1, 0], state[0])
    assert torch.equal(states[2, 1], state[1]) and not torch.equal(states[3, 1], state[1])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_row_does_not_depend_on_its_padding(bidirectional):
    torch.manual_seed(3)
    layer = GatedLayer(3, 5, bidirectional=bidirectional).double()
    x, lengths = torch.randn(7, 3, 3).double(), (4, 7, 1)
    padding = torch.arange(7)[:, None] >= torch.tensor(lengths)
    states, ahead, back = layer(x, padding)
    for row, length in enumerate(lengths):
        alone, alone_ahead, alone_back = layer(x[:length, row : row + 1])
        torch.testing.assert_close(states[:length, row], alone[:, 0], rtol=0.0, atol=1e-12)
        torch.testing.assert_close(ahead[row], alone_ahead[0], rtol=0.0, atol=1e-12)
        if bidirectional:
            torch.testing.assert_close(back[row], alone_back[0], rtol=0.0, atol=1e-12)
    assert (back is None) != bidirectional


def test_the_last_states_are_the_ends_of_each_direction():
    torch.manual_seed(3)
    states, ahead, back = GatedLayer(3, 5, bidirectional=True)(torch.randn(7, 2, 3))
    assert states.shape == (7, 2, 10)
    assert torch.equal(states[6, :, :5], ahead) and torch.equal(states[0, :, 5:], back)


def test_nothing_flows_to_padding():
    layer = GatedLayer(3, 5, bidirectional=True)
    x = torch.randn(4, 2, 3, requires_grad=True)
    padding = torch.arange(4)[:, None] >= torch.tensor([2, 4])
    states, ahead, back = layer(x, padding)
    (states[:2, 0].sum() + ahead[0].sum() + back[0].sum()).backward()
    assert x.grad[:2, 0].abs().min() > 0 and not x.grad[2:, 0].any() and not x.grad[:, 1].any()


def test_a_scan_runs_in_the_weights_precision_under_autocast():
    unit = GatedUnit(3, 5)
    x, initial = torch.randn(4, 2, 3), torch.zeros(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        states = unit.scan(unit.input(x), initial)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, unit.scan(unit.input(x), initial), rtol=0.0, atol=0.02)
    states.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in unit.parameters())
