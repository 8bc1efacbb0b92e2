"""The position-wise feed-forward network (Vaswani et al. 2017, section 3.3) with the activations the families use."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.nn.linear import Linear

Activation = Literal["gelu_tanh", "gelu", "relu", "silu", "tanh"]


def _gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of Hendrycks and Gimpel 2016, which GPT-2 was trained with."""
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu_tanh": _gelu_tanh,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}
assert set(ACTIVATIONS) == set(get_args(Activation))


class FeedForward(nn.Module):
    """Widen, bend, narrow: the same function at every position."""

    def __init__(self, width: int, hidden: int, activation: Activation, *, dropout: float = 0.0) -> None:
        """`dropout` falls on what the activation gives."""
        super().__init__()
        self.dropout = dropout
        self.expand = Linear(width, hidden)
        self.contract = Linear(hidden, width)
        self.activate = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        bent = self.activate(self.expand(x))
        if self.training and self.dropout:
            bent = functional.dropout(bent, self.dropout)
        return self.contract(bent)  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """One half of the widened vector, bent, multiplies the other half (Shazeer 2020, "GLU variants", equation 6)."""

    def __init__(self, width: int, hidden: int, activation: Activation, *, dropout: float = 0.0) -> None:
        """`dropout` falls on the product. `expand` gives the half that is bent first."""
        super().__init__()
        self.dropout = dropout
        self.expand = Linear(width, 2 * hidden)
        self.contract = Linear(hidden, width)
        self.activate = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        gate, passed = self.expand(x).chunk(2, dim=-1)
        product = self.activate(gate) * passed
        if self.training and self.dropout:
            product = functional.dropout(product, self.dropout)
        return self.contract(product)  # type: ignore[no-any-return]
