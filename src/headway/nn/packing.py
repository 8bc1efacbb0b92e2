"""Rows of unequal length without their padding: all tokens in one tensor (N, D), rows of equal length side by side.

What looks at one token at a time runs over the packed tensor as it is; what mixes the tokens of a row runs over each
group of equally long rows, which is a view. So nothing is ever computed on padding, and no mask is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from headway.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of one length that stand side by side: tokens begin..end of the packed tensor.

    rows: their numbers in the batch, in the order they stand.
    """

    begin: int
    end: int
    length: int
    rows: tuple[int, ...]

    def of(self, x: Tensor) -> Tensor:
        """The group's part of x (N, ...) as (rows, length, ...), a view."""
        return x[self.begin : self.end].view(len(self.rows), self.length, *x.shape[1:])


class Packing:
    """Where each token of a batch (B, T) stands in the packed tensor (N, ...): rows sorted by their length.

    Without padding it is (B, T, ...) flattened, a view both ways.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str = "cpu", *, width: int | None = None) -> None:
        """lengths (B,): each row's, at least 1; width: T, by default the longest. Raises UsageError for others."""
        self.lengths = list(lengths)
        self.longest = max(self.lengths, default=0)
        self.width = self.longest if width is None else width
        self.device = torch.device(device)
        if self.lengths and (min(self.lengths) < 1 or self.longest > self.width):
            raise UsageError(
                f"lengths takes one length in 1..{self.width} for each of {len(self.lengths)} rows, "
                f"but got {self.lengths[:8]}\nA row is never empty: give it the tokens that begin and end a text."
            )
        self.groups = _groups(self.lengths)
        self.n_tokens = sum(self.lengths)
        self.level = len(self.groups) <= 1
        """Whether all rows are equally long, so that they stand in the order of the batch."""

    @classmethod
    def of(cls, ids: Tensor, lengths: Tensor | None) -> "Packing":
        """The packing of ids (B, T) with lengths (B,), None: all T. Raises UsageError where they do not fit."""
        rows, width = ids.shape
        known = [width] * rows if lengths is None else lengths.tolist()
        if len(known) != rows:
            raise UsageError(f"lengths takes one length for each of {rows} rows, but got {len(known)}")
        return cls(known, ids.device, width=width)

    def pack(self, x: Tensor) -> Tensor:
        """x (B, T, ...) -> (N, ...)."""
        if self.level:
            return x[:, : self.longest].flatten(0, 1)
        return x.flatten(0, 1).index_select(0, self._places)

    def unpack(self, x: Tensor) -> Tensor:
        """x (N, ...) -> (B, T, ...), zero past each row's length."""
        rows, rest = len(self.lengths), x.shape[1:]
        if self.level and self.longest == self.width:
            return x.reshape(rows, self.width, *rest)
        whole = x.new_zeros(rows * self.width, *rest).index_copy(0, self._places, x)
        return whole.view(rows, self.width, *rest)

    def split(self, x: Tensor) -> list[Tensor]:
        """x (N, ...) -> each group's part as (rows, length, ...), views."""
        if self.level:
            return [group.of(x) for group in self.groups]
        # One operation for all groups: a slice each would cost a zeroed copy of x each in the backward pass.
        parts = torch.split(x, [group.end - group.begin for group in self.groups])
        return [
            part.view(len(group.rows), group.length, *x.shape[1:])
            for part, group in zip(parts, self.groups, strict=True)
        ]

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Each group's (rows, length, ...) -> (N, ...); the opposite of `split`."""
        flat = [part.flatten(0, 1) for part in parts]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def merge_square(self, parts: Sequence[Tensor]) -> Tensor:
        """Each group's (rows, H, length, length) -> (B, H, T, T), zero where either is padding."""
        whole = parts[0].new_zeros(len(self.lengths), parts[0].shape[1], self.width, self.width)
        for part, group in zip(parts, self.groups, strict=True):
            whole[list(group.rows), :, : group.length, : group.length] = part
        return whole

    @cached_property
    def positions(self) -> Tensor:
        """(N,) int64: where each token stands in its row."""
        counts = [torch.arange(group.length).repeat(len(group.rows)) for group in self.groups]
        return torch.cat(counts).to(self.device) if counts else torch.zeros(0, dtype=torch.int64, device=self.device)

    @cached_property
    def _places(self) -> Tensor:
        """(N,) int64: where each token stands in (B * T)."""
        begins = [
            (torch.tensor(group.rows)[:, None] * self.width + torch.arange(group.length)).flatten()
            for group in self.groups
        ]
        return torch.cat(begins).to(self.device) if begins else torch.zeros(0, dtype=torch.int64, device=self.device)


def _groups(lengths: list[int]) -> tuple[Group, ...]:
    """The rows of each length, the shortest first, each in the order of the batch."""
    rows_of: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        rows_of.setdefault(length, []).append(row)
    groups, begin = [], 0
    for length, rows in sorted(rows_of.items()):
        end = begin + length * len(rows)
        groups.append(Group(begin=begin, end=end, length=length, rows=tuple(rows)))
        begin = end
    return tuple(groups)
