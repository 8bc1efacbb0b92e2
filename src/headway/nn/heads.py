"""What stands between the states of a reader and the matrix that gives its answer (Devlin et al. 2018, section 3)."""

import torch
from torch import Tensor, nn

from headway.nn.feed_forward import ACTIVATIONS, Activation
from headway.nn.linear import Linear


class Transform(nn.Module):
    """A matrix, an activation and a norm before the output matrix, as the released code of BERT has them."""

    def __init__(self, width: int, activation: Activation, *, epsilon: float) -> None:
        super().__init__()
        self.dense = Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.activate = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        return self.norm(self.activate(self.dense(x)))  # type: ignore[no-any-return]


class Pooler(nn.Module):
    """A row's vector through a matrix and tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, row: Tensor) -> Tensor:
        """row (B, D) -> (B, D)."""
        return torch.tanh(self.dense(row))
