"""The highest values in an order that nothing but the values decides: by value, then by place."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

# Values whose maximum stands for them; finding the highest of many is then one pass over them at memory's speed.
_GROUP = 128


def highest(values: "NDArray[np.floating[Any]]", count: int) -> "NDArray[np.int64]":
    """The places of the `count` highest values, highest first, the lowest place first on ties.

    values (N,), none of them NaN -> (min(count, N),).
    """
    count = min(count, len(values))
    if count < 1:
        return np.empty(0, dtype=np.int64)
    n_groups = len(values) // _GROUP
    # As many groups as are wanted have a maximum of at least this, and so as many values are at least this.
    grouped = values[: n_groups * _GROUP].reshape(n_groups, _GROUP).max(axis=1) if n_groups > 4 * count else values
    floor = np.partition(grouped, len(grouped) - count)[len(grouped) - count]
    near = np.flatnonzero(values >= floor)
    return near[np.argsort(-values[near], kind="stable")[:count]]


def highest_in_rows(values: "Tensor", count: int) -> "tuple[Tensor, Tensor]":
    """Each row's `count` highest values and their places, highest first, the lowest place first on ties.

    values (B, N), none of them NaN -> (B, C) and (B, C) int64 with C = min(count, N).
    """
    n_groups = values.shape[1] // _GROUP
    if n_groups <= 4 * count:
        return _highest_in_rows(values, count)
    # What is among the highest stands in one of the groups whose maxima are the highest, or past the last whole group.
    import torch

    grouped, rest = values[:, : n_groups * _GROUP], values[:, n_groups * _GROUP :]
    grouped = grouped.view(values.shape[0], n_groups, _GROUP)  # (B, N) -> (B, G, N / G)
    groups = _highest_in_rows(grouped.amax(dim=-1), count)[1].sort(dim=1).values  # (B, count)
    near = grouped.gather(1, groups[:, :, None].expand(-1, -1, _GROUP)).flatten(1)
    found, places = _highest_in_rows(torch.cat([near, rest], dim=1), count)
    group = groups.gather(1, (places // _GROUP).clamp(max=count - 1))
    inside = group * _GROUP + places % _GROUP
    return found, torch.where(places < near.shape[1], inside, places - near.shape[1] + n_groups * _GROUP)


def _highest_in_rows(values: "Tensor", count: int) -> "tuple[Tensor, Tensor]":
    count = min(count, values.shape[1])
    found = values.topk(min(count + 1, values.shape[1]))  # one more shows whether the last one kept is a tie
    if not bool((found.values[:, 1:] == found.values[:, :-1]).any()):
        return found.values[:, :count], found.indices[:, :count]
    order = values.sort(dim=1, descending=True, stable=True)
    return order.values[:, :count], order.indices[:, :count]
