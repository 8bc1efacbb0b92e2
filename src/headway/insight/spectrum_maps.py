"""The mixers of reading models as matrices: the reference that their figures are taken from, in float64.

A signal (T, D) is flattened row by row, so a map that mixes tokens by A (T, T) and columns by W (D, D) is kron(A, W^T).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.insight.spectrum import MapFigures, figures_of_values

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def fourier_matrix(length: int, width: int) -> Tensor:
    """Re(F_T x F_D), unnormalised (Lee-Thorp et al. 2021, equation 3), as a matrix (T D, T D) written from cosines."""
    return torch.cos(_angles(length, width))


def hartley_matrix(length: int, width: int) -> Tensor:
    """(Re - Im)(F_T x F_D) / sqrt(T D), as a matrix (T D, T D) written from cosines and sines."""
    angles = _angles(length, width)
    return (torch.cos(angles) + torch.sin(angles)) / math.sqrt(length * width)


def _angles(length: int, width: int) -> Tensor:
    """2 pi (k t / T + l d / D) for each output (k, l) and input (t, d); products are reduced first, so it is exact."""
    tokens, columns = torch.arange(length), torch.arange(width)
    rows = (tokens[:, None] * tokens % length).double() / length  # (T, T)
    across = (columns[:, None] * columns % width).double() / width  # (D, D)
    whole = rows[:, None, :, None] + across[None, :, None, :]  # (T, D, T, D)
    return 2.0 * math.pi * whole.reshape(length * width, length * width)


def fixed_bins(length: int, width: int) -> int:
    """How many of the T D bins are their own mirror image: k = -k (mod T) and l = -l (mod D)."""
    return (2 - length % 2) * (2 - width % 2)


def fourier_transform(x: Tensor) -> Tensor:
    """Re(F_T x F_D) of x (T, D), without the matrix."""
    return torch.view_as_real(torch.fft.fft2(x))[..., 0]


def hartley_transform(x: Tensor) -> Tensor:
    """The Hartley transform of x (T, D), scaled to keep lengths, without the matrix."""
    real, imaginary = torch.view_as_real(torch.fft.fft2(x, norm="ortho")).unbind(-1)
    return real - imaginary


def even_part(x: Tensor) -> Tensor:
    """What of x (T, D) is the same at (-t, -d) as at (t, d): all that Re(F_T x F_D) sees of it."""
    mirrored = x.flip(0, 1).roll((1, 1), (0, 1))
    return (x + mirrored) / 2.0


def undo_fourier(y: Tensor) -> Tensor:
    """The least-squares input of y = Re(F_T x F_D) x: the even part; the odd part, half of the signal, is taken as 0.

    On even signals the transform's square is T D.
    """
    return fourier_transform(y) / y.numel()


def undo_fourier_residual(y: Tensor) -> Tensor:
    """The exact input of y = x + Re(F_T x F_D) x.

    The odd part is y's own; on even signals the transform C has C^2 = T D, so (1 + C) (1 - C) = 1 - T D.
    """
    even = even_part(y)
    return y - even + (even - fourier_transform(even)) / (1.0 - y.numel())


def random_attention(length: int, head_width: int, *, causal: bool, deviation: float = 1.0) -> Tensor:
    """softmax(Q K^T / sqrt(K)) (T, T) of normal queries and keys, from torch's global generator.

    deviation: of the scores; 1 is a head whose queries and keys have unit variance.
    """
    query, key = torch.randn(2, length, head_width, dtype=torch.float64)
    scores = deviation * query @ key.T / math.sqrt(head_width)
    if causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
    return torch.softmax(scores, dim=-1)


def laplace_values(decay: Tensor, length: int) -> Tensor:
    """All singular values (M T,) of h_t = lambda h_(t-1) + x_t over T steps, for each lambda (M,) complex."""
    steps = torch.arange(length)
    behind = (steps[:, None] - steps).clamp(min=0)
    lower = (steps[:, None] >= steps).to(torch.complex128)
    powers = torch.stack([torch.linalg.svdvals(one**behind * lower) for one in decay.to(torch.complex128)])
    return powers.flatten()


def laplace_states(x: Tensor, decay: Tensor) -> Tensor:
    """h_t = lambda h_(t-1) + x_t: x (T, M) complex, lambda (M,) -> (T, M), step by step."""
    states = []
    before = torch.zeros_like(x[0])
    for one in x:
        before = decay * before + one
        states.append(before)
    return torch.stack(states)


def undo_laplace(states: Tensor, decay: Tensor) -> Tensor:
    """x_t = h_t - lambda h_(t-1), exact: (T, M) -> (T, M)."""
    return torch.cat([states[:1], states[1:] - decay * states[:-1]])


def laplace_bound(decay: Tensor) -> float:
    """(1 + |lambda|) / (1 - |lambda|) of the slowest mode: what its condition stays below, however long the row."""
    slowest = float(decay.abs().max())
    return (1.0 + slowest) / (1.0 - slowest)


def separable_figures(weights: Tensor, columns: Tensor) -> MapFigures:
    """The figures of x -> A x W, A (T, T) and W (D, D): its singular values are all products of theirs."""
    ours, theirs = torch.linalg.svdvals(weights.double()), torch.linalg.svdvals(columns.double())
    return figures_of_values((ours[:, None] * theirs).flatten())


def undo_head_residual(y: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
    """The exact input of y = x + A x W, A (T, T) and W (D, D), both known, by their eigenvectors."""
    ours, left = torch.linalg.eig(weights)
    theirs, right = torch.linalg.eig(columns)
    turned = torch.linalg.solve(left, y.to(left.dtype)) @ right
    turned = turned / (1.0 + ours[:, None] * theirs)
    back = torch.linalg.solve(right, left @ turned, left=False)
    return torch.view_as_real(back.resolve_conj())[..., 0]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is missing of a signal that came back, as shares of its length: of all of it, and of the half erased."""

    whole: float
    odd_half: float


def stored(y: Tensor, precision: torch.dtype) -> Tensor:
    """y as it comes back from storage in that precision; real or complex."""
    if y.is_complex():
        return torch.view_as_complex(stored(torch.view_as_real(y), precision))
    return y.to(precision).to(torch.float64)


def loss_of(x: Tensor, found: Tensor) -> Loss:
    """How far `found` is from x (T, D)."""
    odd = x - even_part(x)
    missed = (found - x) - even_part(found - x)
    return Loss(whole=_share(found - x, x), odd_half=_share(missed, odd))


def _share(off: Tensor, of: Tensor) -> float:
    return float(off.abs().square().sum().sqrt() / of.abs().square().sum().sqrt())
