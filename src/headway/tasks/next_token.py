"""The next token's whole distribution, and what the settings of a choice would keep of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from headway.decoding.choice import Choice
from headway.decoding.drawing import kept
from headway.decoding.logits import first_highest, require_finite
from headway.decoding.ranking import highest
from headway.decoding.window import fitting
from headway.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Probabilities of every id, (V,) float64 each.

    own: the model's own; kept: after temperature, top-k, top-p and min-p, 0 for what is never drawn. Both sum to 1.
    """

    own: Tensor
    kept: Tensor

    def best(self, count: int) -> list[int]:
        """The ids of the `count` most probable tokens, the lowest id first on ties."""
        found: list[int] = highest(self.own.numpy(), count).tolist()
        return found


def next_token(logits: Tensor, choice: Choice) -> NextToken:
    """logits (V,) -> what `decoding.choice.choose` draws from. Temperature 0 keeps the highest alone.

    Raises FormatError for logits that are not finite, UsageError for a bias or a penalty: those change with what has
    been written, which a distribution by itself does not know.
    """
    if choice.edits:
        raise UsageError("a next token's distribution is shown without bias and penalties: leave them out")
    require_finite(logits)
    values = logits.detach().to(device="cpu", dtype=torch.float64)
    probabilities = torch.zeros_like(values)
    if choice.temperature == 0:
        probabilities[first_highest(values[None])[0]] = 1.0
    else:
        ids, weights = kept(values.numpy(), choice)
        probabilities[torch.from_numpy(ids)] = torch.from_numpy(weights / weights.sum())
    return NextToken(own=torch.softmax(values, dim=0), kept=probabilities)


__all__ = ["Choice", "NextToken", "fitting", "next_token"]
