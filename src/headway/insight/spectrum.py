"""How much of a signal a linear map keeps: ranks, condition and spectra, in float64.

The effective rank is the exponential of the entropy of the singular values' shares (Roy and Vetterli 2007, "The
effective rank", section 3): n for n equal values, 1 where one outweighs all others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LOWEST = 1 / 16
"""The share of the frequencies that is called low here."""


@dataclass(frozen=True, kw_only=True)
class MapFigures:
    """What the singular values of a map say.

    size: numbers that go in; rank: how many singular values are above rounding (largest * size * 2^-52, as NumPy has
    it); effective_rank: 1..size; energy_rank: the same of the squared values, so of where a white signal's energy goes;
    condition: largest over smallest, infinite for a map that is not of full rank.
    """

    size: int
    rank: int
    effective_rank: float
    energy_rank: float
    condition: float


def figures_of(matrix: Tensor) -> MapFigures:
    """The figures of a map given as its matrix (S, S)."""
    return figures_of_values(torch.linalg.svdvals(matrix.to(_wide(matrix))))


def figures_of_values(values: Tensor) -> MapFigures:
    """The figures of a map given by all its singular values (S,), in any order."""
    values = values.double()
    size, largest = values.numel(), float(values.max())
    rank = int((values > largest * size * torch.finfo(torch.float64).eps).sum())
    condition = largest / float(values.min()) if rank == size else math.inf
    return MapFigures(
        size=size,
        rank=rank,
        effective_rank=effective_rank(values),
        energy_rank=effective_rank(values.square()),
        condition=condition,
    )


def effective_rank(values: Tensor) -> float:
    """exp of the entropy of the singular values' shares (S,); 0 for a map that is zero."""
    total = float(values.sum())
    if total == 0.0:
        return 0.0
    shares = values.double() / total
    return math.exp(float(torch.special.entr(shares).sum()))


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The matrix (T D, T D) of the linear map that `function` is near x (T, D), by its own backward pass."""
    x = x.detach().clone().requires_grad_()
    result = function(x).flatten()
    rows = [
        torch.autograd.grad(result[at], x, retain_graph=True, materialize_grads=True)[0].flatten()
        for at in range(len(result))
    ]
    return torch.stack(rows).detach()


def power_spectrum(rows: Tensor) -> Tensor:
    """The power at each frequency 0..n // 2 of signals (..., n) along their last axis, summed over all of them.

    Both of a real signal's halves are counted, so that the sum is n times the signals' energy (Parseval).
    """
    size = rows.shape[-1]
    power = torch.fft.rfft(rows.double()).abs().square()
    doubled = torch.full((power.shape[-1],), 2.0, dtype=torch.float64)
    doubled[0] = 1.0
    if size % 2 == 0:
        doubled[-1] = 1.0
    whole: Tensor = (power * doubled).reshape(-1, power.shape[-1]).sum(0)
    return whole


def low_share(power: Tensor, lowest: float = LOWEST) -> float:
    """The share of a power spectrum (n // 2 + 1,) that lies in the lowest `lowest` of its frequencies, 0 included."""
    total = float(power.sum())
    count = max(1, round(lowest * len(power)))
    return float(power[:count].sum()) / total if total else 0.0


def passed(weights: Tensor) -> float:
    """How much of a white signal's variation from place to place is left after weights (T, S), as a share of length.

    1 for weights that pick another place each, 0 for those that give every place the same average: ||C A C|| / ||C||
    with C the matrix that takes the mean away (Wang et al. 2022, "Anti-oversmoothing", section 2).
    """
    weights = weights.double()
    centred = weights - weights.mean(-1, keepdim=True)
    centred = centred - centred.mean(-2, keepdim=True)
    most = math.sqrt(max(1, min(weights.shape[-2:]) - 1))
    return float(torch.linalg.matrix_norm(centred).mean()) / most


def _wide(matrix: Tensor) -> torch.dtype:
    return torch.complex128 if matrix.is_complex() else torch.float64
