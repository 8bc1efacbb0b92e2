"""A linear layer that learns by a product of two small matrices beside it (LoRA: Hu et al. 2021, section 4.1)."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRankLinear(nn.Module):
    """y = W x + b + (alpha / rank) B A dropout(x), where W and b stay as they are and A and B learn.

    A is `down`, (rank, inputs); B is `up`, (outputs, rank). B begins at zero, so the layer begins as the one it wraps.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        """Wraps `linear` itself, no copy of it, and freezes it; A is drawn from torch's global generator."""
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        # The paper draws A from a Gaussian; its release, and everybody since, like this.
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> (..., outputs)."""
        low = functional.linear(self.dropout(x), self.down)  # (..., rank)
        return self.linear(x) + functional.linear(low, self.up) * (self.alpha / self.rank)  # type: ignore[no-any-return]

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer of its own that computes the same without dropout: the product is added to W.

        The sum is taken in float32 at least, and then rounded to the precision of W.
        """
        plain = copy.deepcopy(self.linear).requires_grad_(True)
        precision = torch.promote_types(plain.weight.dtype, torch.float32)
        product = self.up.to(precision) @ self.down.to(precision)
        plain.weight.copy_(plain.weight.to(precision) + product * (self.alpha / self.rank))
        return plain
