"""A bank of decaying complex exponentials as a mixer: h_t = lambda h_(t-1) + x_t, one lambda for each mode.

A linear recurrence with a diagonal matrix (Orvieto et al. 2023, "LRU", section 3; Gu et al. 2022, "S4D", section 4),
gated. A row's past is one complex number for each mode: its discrete Laplace transform, read at one point, so far.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.nn.attention import Rotate
from headway.nn.linear import Linear
from headway.nn.packing import Packing
from headway.nn.trace import Watch
from headway.nn.uncompiled import uncompiled

_LONGEST = 1000.0
"""Tokens after which the slowest mode of a fresh bank has faded to 1 / e; the fastest fades within one."""
_RATES = (-20.0, 5.0)
"""Logarithms that rates are kept between: from a hardly measurable decay in float32 to nothing kept at all."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class LaplaceMixer(nn.Module):
    """Modes that decay and turn, driven by a projection of the input and read through a gate.

    lambda = exp(-r + i b) with the rate r = exp(log_rate) > 0 and b = r * turn, so |lambda| < 1 whatever is learnt
    (LRU, section 3.3). b is learnt in units of the mode's own rate, as in S4D, since a slow mode is ruined by a turn
    that a fast one does not feel. The input of each mode is scaled by sqrt(1 - |lambda|^2), so that all states are
    equally large (LRU, section 3.4). `skip` passes the driving signal by the states, as D does in S4D.
    """

    def __init__(self, width: int, modes: int | None = None, *, both_sides: bool = False) -> None:
        """modes: complex numbers that a row is remembered by, by default width / 2 (rounded up).

        both_sides: the second half of the bank runs from the end of the row to its beginning.
        """
        super().__init__()
        self.modes = (width + 1) // 2 if modes is None else modes
        self.ahead = (self.modes + 1) // 2 if both_sides else self.modes
        self.log_rate = nn.Parameter(torch.empty(self.modes))
        self.turn = nn.Parameter(torch.empty(self.modes))
        self.skip = nn.Parameter(torch.empty(2 * self.modes))
        self.input = Linear(width, 4 * self.modes)
        self.output = Linear(2 * self.modes, width)
        if not self.log_rate.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self, deviation: float = 0.02) -> None:
        """Rates spread evenly over their logarithms, turns over 0 to one in a lifetime; matrices are drawn.

        From torch's global generator; `deviation` is the output matrix's.
        """
        for begin, end in ((0, self.ahead), (self.ahead, self.modes)):
            n_modes = end - begin
            self.log_rate[begin:end] = torch.linspace(-math.log(_LONGEST), 0.0, n_modes)
            # Multiples of the golden ratio: turns of neighbouring rates lie far apart.
            self.turn[begin:end] = 2.0 * math.pi * (_GOLDEN * torch.arange(n_modes, dtype=torch.float64)).frac()
        self.skip.zero_()
        self.input.weight.normal_(0.0, self.input.in_features**-0.5)
        self.output.weight.normal_(0.0, deviation)
        self.input.bias.zero_()
        self.output.bias.zero_()

    def forward(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> (N, D), from states of zero; there are no heads to watch and no queries to rotate."""
        signal, gate = self.input(x).chunk(2, dim=-1)
        return self._read(_remember_rows(self, signal, packing), signal, gate)

    def advance(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, D) and the modes' states before it (B, M), None: zero -> (B, T, D), states after each (B, T, M).

        States are complex64, or complex128 for a model in float64. Only for a bank that runs one way.
        """
        assert self.ahead == self.modes, "a bank that runs both ways has no states to go on from"
        signal, gate = self.input(x).chunk(2, dim=-1)
        parts, states = _remember(self, signal, before)
        return self._read(parts, signal, gate), states

    def drive(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """signal (..., 2 M) -> what drives the modes (..., M), and lambda (M,), both complex, never below float32."""
        exact = torch.promote_types(self.log_rate.dtype, torch.float32)
        with torch.autocast(signal.device.type, enabled=False):
            rate = self.log_rate.to(exact).clamp(*_RATES).exp()
            scale = torch.expm1(-2.0 * rate).neg().sqrt()  # sqrt(1 - |lambda|^2), exact for slow modes too
            decay = torch.polar((-rate).exp(), rate * self.turn.to(exact))
            pairs = signal.to(exact).unflatten(-1, (self.modes, 2))  # type: ignore[no-untyped-call]
            return torch.view_as_complex(pairs * scale[:, None]), decay

    def _read(self, parts: Tensor, signal: Tensor, gate: Tensor) -> Tensor:
        """Real and imaginary parts of the states (..., 2 M), signal and gate (..., 2 M) -> (..., D)."""
        return self.output((parts + self.skip * signal).to(gate.dtype) * functional.silu(gate))  # type: ignore[no-any-return]


@uncompiled
def _remember(mixer: LaplaceMixer, signal: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """signal (B, T, 2 M), states before it (B, M) -> the states' parts (B, T, 2 M), and the states (B, T, M)."""
    driven, decay = mixer.drive(signal)
    states = scan(driven, decay, before)
    return torch.view_as_real(states).flatten(-2), states


@uncompiled
def _remember_rows(mixer: LaplaceMixer, signal: Tensor, packing: Packing) -> Tensor:
    """signal (N, 2 M) of packed rows -> the states' parts (N, 2 M)."""
    driven, decay = mixer.drive(signal)
    # Padding is zero and drives nothing, before a row's end as well as behind it: all rows go in one scan.
    rows, ahead = packing.unpack(driven), mixer.ahead  # (B, T, M)
    states = scan(rows[..., :ahead], decay[:ahead])
    if ahead < mixer.modes:
        states = torch.cat([states, scan(rows[..., ahead:], decay[ahead:], backwards=True)], dim=-1)
    return torch.view_as_real(packing.pack(states)).flatten(-2)


def scan(x: Tensor, decay: Tensor, before: Tensor | None = None, *, backwards: bool = False) -> Tensor:
    """h_t = decay * h_(t-1) + x_t: x (B, T, M), decay (M,), before (B, M) or None for zero, complex -> (B, T, M).

    backwards: h_t = decay * h_(t+1) + x_t. Chunks of about sqrt(T) go side by side, then what each hands on: so about
    2 sqrt(T) steps one after another, and only powers of decay that shrink. Twice differentiable it is not.
    """
    if before is None:
        before = x.new_zeros(x.shape[0], x.shape[2])
    result: Tensor = _Scan.apply(x, decay, before, backwards)  # type: ignore[no-untyped-call]
    return result


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: Tensor, before: Tensor, backwards: bool) -> Tensor:
        states = _scan(x, decay, before, backwards)
        ctx.save_for_backward(states, decay, before)
        ctx.backwards = backwards
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient g runs the other way, g_t = conj(decay) g_(t+1) + dL/dh_t, and is the input's as it is."""
        states, decay, before = ctx.saved_tensors
        (slope,) = gradients
        back = decay.conj().resolve_conj()
        slopes = _scan(slope, back, torch.zeros_like(before), not ctx.backwards)
        if not slopes.shape[1]:
            return slopes, torch.zeros_like(decay), torch.zeros_like(before), None
        first = -1 if ctx.backwards else 0
        earlier, later = (states[:, 1:], slopes[:, :-1]) if ctx.backwards else (states[:, :-1], slopes[:, 1:])
        to_decay = (earlier.conj() * later).sum((0, 1)) + (before.conj() * slopes[:, first]).sum(0)
        return slopes, to_decay, back * slopes[:, first], None


def _scan(x: Tensor, decay: Tensor, before: Tensor, backwards: bool) -> Tensor:
    """As `scan`, without gradients."""
    length = x.shape[1]
    states = torch.empty_like(x, memory_format=torch.contiguous_format)
    size = max(1, math.isqrt(length))
    whole = length - length % size
    if backwards:  # the tokens that fill no chunk stand at the end
        before = _one_by_one(x, states, decay, before, range(length - 1, whole - 1, -1))
    if whole > size:
        before = _in_chunks(x[:, :whole], states[:, :whole], decay, before, (size, backwards))
    elif whole:
        before = _one_by_one(x, states, decay, before, range(whole - 1, -1, -1) if backwards else range(whole))
    if not backwards:
        _one_by_one(x, states, decay, before, range(whole, length))
    return states


def _one_by_one(x: Tensor, states: Tensor, decay: Tensor, before: Tensor, order: range) -> Tensor:
    """Fill `states` in this order; -> (B, M), the last one."""
    for at in order:
        before = torch.addcmul(x[:, at], decay, before, out=states[:, at])
    return before


def _in_chunks(x: Tensor, states: Tensor, decay: Tensor, before: Tensor, cut: tuple[int, bool]) -> Tensor:
    """Fill `states` (B, n * size, M), chunks of `size` side by side; -> (B, M), the last one. cut: size, backwards."""
    size, backwards = cut
    inside = range(size - 1, -1, -1) if backwards else range(size)
    inputs, results = _view(x, size), _view(states, size)  # (B, n, size, M)
    alone = inputs[:, :, inside[0]]
    results[:, :, inside[0]] = alone
    for at in inside[1:]:
        alone = torch.addcmul(inputs[:, :, at], decay, alone, out=results[:, :, at])
    powers = torch.cumprod(decay.expand(size, -1), dim=0)  # (size, M): decay, decay^2, ...
    handed = torch.empty_like(alone, memory_format=torch.contiguous_format)  # (B, n, M): what each chunk is handed
    n_chunks = alone.shape[1]
    for chunk in range(n_chunks - 1, -1, -1) if backwards else range(n_chunks):
        handed[:, chunk] = before
        before = torch.addcmul(alone[:, chunk], powers[-1], before)
    results.addcmul_(powers.flip(0) if backwards else powers, handed[:, :, None])
    return before


def _view(x: Tensor, size: int) -> Tensor:
    """(B, n * size, M) -> (B, n, size, M), the same memory."""
    chunks: Tensor = x.unflatten(1, (-1, size))  # type: ignore[no-untyped-call]
    return chunks
