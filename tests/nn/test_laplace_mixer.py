"""The bank of exponentials against a loop written out in NumPy, in steps and over rows of unequal length."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.nn.laplace import LaplaceMixer, scan
from headway.nn.packing import Packing


def random_complex(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def decays(n_modes: int, *, slowest: float = 0.999) -> torch.Tensor:
    return torch.polar(
        torch.linspace(0.05, slowest, n_modes, dtype=torch.float64), torch.arange(n_modes, dtype=torch.float64)
    )


def by_hand(x: numpy.ndarray, decay: numpy.ndarray, before: numpy.ndarray, *, backwards: bool) -> numpy.ndarray:
    states, state = numpy.zeros_like(x), before
    order = range(x.shape[1])
    for at in reversed(order) if backwards else order:
        state = decay * state + x[:, at]
        states[:, at] = state
    return states


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 3), length=st.integers(0, 70), backwards=st.booleans())
def test_the_scan_is_the_loop_written_out(rows: int, length: int, backwards: bool) -> None:
    x, decay, before = random_complex(rows, length, 5), decays(5), random_complex(rows, 5, seed=7)
    found = scan(x, decay, before, backwards=backwards)
    expected = by_hand(x.numpy(), decay.numpy(), before.numpy(), backwards=backwards)
    numpy.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 19])
@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_of_the_scan_are_those_of_finite_differences(length: int, backwards: bool) -> None:
    given = (random_complex(2, length, 3), decays(3), random_complex(2, 3, seed=7))
    for tensor in given:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: scan(*parts, backwards=backwards), given)


def test_a_scan_that_goes_on_from_its_last_state_equals_one_at_once() -> None:
    x, decay = random_complex(2, 53, 5), decays(5)
    first = scan(x[:, :17], decay)
    second = scan(x[:, 17:], decay, first[:, -1])
    torch.testing.assert_close(torch.cat([first, second], dim=1), scan(x, decay))


def test_ten_thousand_steps_stay_finite_and_near_float64() -> None:
    mixer = LaplaceMixer(11)
    with torch.no_grad():
        mixer.log_rate.copy_(torch.linspace(-30.0, 6.0, mixer.modes))  # from no decay at all to nothing kept
    x = torch.randn(1, 10_000, 11, generator=torch.Generator().manual_seed(5))
    mixed, states = mixer.advance(x)
    mixed.sum().backward()
    assert bool(states.isfinite().all()) and bool(mixed.isfinite().all())
    assert all(bool(parameter.grad.isfinite().all()) for parameter in mixer.parameters())
    exact = LaplaceMixer(11).double()
    exact.load_state_dict(mixer.state_dict())
    expected = exact.advance(x.double())[0]
    assert bool(((mixed - expected).abs().max() < 1e-3 * expected.abs().max()).item())


@pytest.mark.parametrize("rate", [-40.0, -3.0, 0.0, 5.0, 80.0])
def test_whatever_is_learnt_no_mode_grows(rate: float) -> None:
    mixer = LaplaceMixer(3)
    with torch.no_grad():
        mixer.log_rate.fill_(rate)
    _, states = mixer.advance(torch.ones(1, 300, 3), torch.ones(1, 2, dtype=torch.complex64))
    assert bool(states.isfinite().all()) and float(states.detach().abs().max()) < 100.0


def test_the_mixer_is_its_formula_written_out_in_numpy() -> None:
    torch.manual_seed(3)
    mixer = LaplaceMixer(5, 3).double()
    torch.nn.init.normal_(mixer.skip)
    torch.nn.init.normal_(mixer.input.bias)
    torch.nn.init.normal_(mixer.output.bias)
    x = torch.randn(1, 7, 5, dtype=torch.float64)
    table = {name: value.detach().numpy() for name, value in mixer.named_parameters()}
    state, rate = numpy.zeros(3, dtype=complex), numpy.exp(table["log_rate"])
    decay = numpy.exp(rate * (-1.0 + 1j * table["turn"]))
    for at in range(7):
        driven = table["input.weight"] @ x[0, at].numpy() + table["input.bias"]
        signal, gate = driven[:6], driven[6:]
        scaled = signal * numpy.sqrt(1.0 - numpy.abs(decay) ** 2).repeat(2)
        state = decay * state + scaled[0::2] + 1j * scaled[1::2]
        read = numpy.stack([state.real, state.imag], axis=-1).reshape(6) + table["skip"] * signal
        expected = table["output.weight"] @ (read * gate / (1.0 + numpy.exp(-gate))) + table["output.bias"]
        numpy.testing.assert_allclose(mixer.advance(x)[0][0, at].detach().numpy(), expected, atol=1e-12)


def test_steps_equal_the_parallel_form() -> None:
    torch.manual_seed(5)
    mixer, x = LaplaceMixer(7), torch.randn(2, 41, 7)
    whole, states = mixer.advance(x)
    before = None
    for at in range(41):
        mixed, after = mixer.advance(x[:, at : at + 1], before)
        before = after[:, -1]
        torch.testing.assert_close(mixed[:, 0], whole[:, at], rtol=0.0, atol=1e-5)
        torch.testing.assert_close(before, states[:, at], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("both_sides", [False, True])
def test_packed_rows_of_unequal_length_equal_each_row_alone(both_sides: bool) -> None:
    torch.manual_seed(5)
    mixer, lengths = LaplaceMixer(7, 5, both_sides=both_sides), [5, 1, 11, 2, 11]
    packing, x = Packing(lengths), torch.randn(30, 7)
    rows, mixed = packing.unpack(x), packing.unpack(mixer(x, packing))
    for row, length in enumerate(lengths):
        alone = mixer(rows[row, :length], Packing([length]))
        torch.testing.assert_close(mixed[row, :length], alone, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(("both_sides", "seen"), [(False, range(4)), (True, range(7))])
def test_a_bank_of_one_side_looks_back_alone_and_one_of_both_sides_everywhere(both_sides: bool, seen: range) -> None:
    torch.manual_seed(5)
    mixer, x = LaplaceMixer(3, both_sides=both_sides), torch.randn(7, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(x, Packing([7]))[3].sum(), x)
    assert [at for at in range(7) if bool((gradient[at] != 0.0).any())] == list(seen)


def test_weights_of_half_precision_keep_their_states_in_float32() -> None:
    torch.manual_seed(5)
    mixer, x = LaplaceMixer(7).to(torch.bfloat16), torch.randn(2, 13, 7).to(torch.bfloat16)
    mixed, states = mixer.advance(x)
    assert mixed.dtype == torch.bfloat16 and states.dtype == torch.complex64
    whole = LaplaceMixer(7)
    whole.load_state_dict(mixer.state_dict())
    torch.testing.assert_close(mixed.float(), whole.advance(x.float())[0], rtol=0.0, atol=2e-3)


def test_autocast_runs_the_recurrence_in_float32() -> None:
    torch.manual_seed(5)
    mixer, x = LaplaceMixer(7), torch.randn(2, 13, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, states = mixer.advance(x)
    assert states.dtype == torch.complex64
    torch.testing.assert_close(mixed.float(), mixer.advance(x)[0], rtol=0.0, atol=2e-3)


def test_a_fresh_bank_spans_one_to_a_thousand_tokens_in_each_direction() -> None:
    mixer = LaplaceMixer(11, 10, both_sides=True)
    for bank in (mixer.log_rate[:5], mixer.log_rate[5:]):
        assert bank[0].item() == pytest.approx(-math.log(1000.0)) and bank[-1].item() == pytest.approx(0.0)
