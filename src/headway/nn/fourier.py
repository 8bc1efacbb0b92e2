"""Mixers without parameters: the Fourier and the Hartley transform of a row, and none at all.

FNet's mixing sublayer (Lee-Thorp et al. 2021, section 3.2) over packed rows: each row is transformed over its own
length, never over padding. Both transforms are symmetric matrices, so the gradient is the same transform again.
"""

from typing import Any

import torch
from torch import Tensor, nn

from headway.nn.attention import Rotate
from headway.nn.packing import Packing
from headway.nn.trace import Watch
from headway.nn.uncompiled import uncompiled

_EXACT = (torch.float32, torch.float64)
"""The precisions in which transforms are computed as they come; others are computed in float32."""


class FourierMixer(nn.Module):
    """The real part of the two-dimensional discrete Fourier transform, over a row's tokens and the width, unnormalised.

    Re(F_T x F_D) (Lee-Thorp et al. 2021, equation 3). What is odd in both directions is lost.
    """

    def forward(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> (N, D); there are no heads to watch and no queries to rotate."""
        return _transform(x, packing, False)


class HartleyMixer(nn.Module):
    """The two-dimensional Hartley transform, Re - Im of the Fourier transform, scaled to keep lengths.

    Its own inverse, so nothing is lost (Bracewell 1983, "Discrete Hartley transform").
    """

    def forward(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> (N, D); there are no heads to watch and no queries to rotate."""
        return _transform(x, packing, True)


class NoMixer(nn.Module):
    """Adds nothing: each token is read alone ("FF-only" in Lee-Thorp et al. 2021, section 4.1)."""

    def forward(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> zeros (N, D)."""
        return x.new_zeros(1, 1).expand_as(x)


@uncompiled
def _transform(x: Tensor, packing: Packing, hartley: bool) -> Tensor:
    """x (N, D) -> (N, D)."""
    result: Tensor = _Transform.apply(x, packing, hartley)  # type: ignore[no-untyped-call]
    return result


class _Transform(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing, hartley: bool) -> Tensor:
        ctx.packing, ctx.hartley = packing, hartley
        exact = x if x.dtype in _EXACT else x.float()
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        for group in packing.groups:
            _write(group.of(exact.contiguous()), group.of(result), hartley)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _transform(gradients[0], ctx.packing, ctx.hartley), None, None


def _write(x: Tensor, result: Tensor, hartley: bool) -> None:
    """Put the transform of x (rows, T, D) into `result` (rows, T, D).

    Of a real signal half of the spectrum says it all: at (-k, -d) stands the conjugate of what stands at (k, d). On a
    processor this takes half the time of the full transform and a sixth of that of products with the matrices.
    """
    width = x.shape[-1]
    half = torch.fft.rfft2(x, norm="ortho" if hartley else "backward")  # (rows, T, D // 2 + 1)
    real, known = half.real, half.shape[-1]
    result[..., :known] = real - half.imag if hartley else real
    if known == width:
        return
    conjugate = real + half.imag if hartley else real
    turned = conjugate[..., 1 : width - known + 1].flip(1, 2)
    result[:, 0, known:] = turned[:, -1]
    result[:, 1:, known:] = turned[:, :-1]
