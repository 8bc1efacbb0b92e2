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


def first_highest(values: "Tensor") -> list[int]:
    """The place of each row's highest value, the lowest on ties; values (B, N), none of them NaN.

    On a processor numpy finds it several times faster than torch, which does not vectorise this search.
    """
    import torch

    if values.device.type != "cpu":
        return values.argmax(dim=-1).tolist()
    exact = values if values.dtype in (torch.float32, torch.float64) else values.float()
    return exact.detach().numpy().argmax(axis=-1).tolist()  # type: ignore[no-any-return]
