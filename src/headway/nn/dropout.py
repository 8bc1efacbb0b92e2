"""Dropout (Srivastava et al. 2014, section 4), with fewer random numbers on a processor, where they are what it costs.

torch draws one number for each element; here one of 64 bits serves four, at a probability of whole 65536ths.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 2**16


class Dropout(nn.Module):
    """`nn.Dropout` in every respect but speed and which elements fall: by torch's global generator all the same."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape -> the same; in training, each element is zero with the probability, else scaled up."""
        if not self.training or self.probability == 0.0:
            return x
        if not x.is_cpu or torch.compiler.is_compiling():
            return functional.dropout(x, self.probability)
        falling = min(max(round(self.probability * _STEPS), 1), _STEPS - 1)
        return x * _kept(x, falling) * (_STEPS / (_STEPS - falling))

    def extra_repr(self) -> str:
        """What printing the module shows."""
        return f"probability={self.probability}"


def _kept(x: Tensor, falling: int) -> Tensor:
    """True with probability 1 - falling / 65536, in the shape of x."""
    drawn = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return drawn.view(torch.int16)[: x.numel()].view(x.shape) >= falling - _STEPS // 2
