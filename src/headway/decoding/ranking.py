"""The highest values in an order that nothing but the values decides: by value, then by place."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def highest(values: "Tensor", count: int) -> "Tensor":
    """The places of the `count` highest values, highest first, the lowest place first on ties.

    values (N,) -> (min(count, N),) int64. `torch.topk` alone breaks ties as its kernel happens to.
    """
    count = min(count, values.shape[0])
    if count < 1:
        return values.new_empty(0).long()
    floor = values.topk(count).values[-1]
    candidates = (values >= floor).nonzero().flatten()
    order = values[candidates].sort(descending=True, stable=True).indices
    return candidates[order[:count]]
