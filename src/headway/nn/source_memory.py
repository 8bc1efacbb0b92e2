"""What a decoder may read of its sources: kept once for each source, never repeated for the rows that read it.

Rows of one source (the hypotheses of a beam) are put side by side, so that they read its memory in one product.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from headway.errors import UsageError


class SourceMemory:
    """Tensors of N sources, and which of them each of B rows reads. A value: every method gives a new one."""

    def __init__(self, tensors: Sequence[Tensor], lengths: Tensor, rows: Tensor) -> None:
        """tensors: each (N, ..., S, D), padded behind `lengths` (N,); rows (B,): source numbers. int64 on the CPU."""
        self.tensors = tuple(tensors)
        self.lengths = lengths
        self.rows = rows

    @classmethod
    def build(cls, tensors: Sequence[Tensor], lengths: Tensor, rows: int | Sequence[int]) -> "SourceMemory":
        """The memory of freshly encoded sources; rows: one source number a row, or a count where there is one source.

        Raises UsageError for a row of a source that is not there.
        """
        lengths = lengths.to(device="cpu", dtype=torch.int64)
        n_sources = lengths.shape[0]
        if isinstance(rows, int):
            if n_sources != 1:
                raise UsageError(f"start takes a source number for each row where there are {n_sources} sources")
            rows = [0] * rows
        wanted = torch.as_tensor(list(rows), dtype=torch.int64)
        if bool(((wanted < 0) | (wanted >= n_sources)).any()):
            raise UsageError(f"rows name sources in 0..{n_sources - 1}, but got {wanted.tolist()}")
        return cls(tensors, lengths, wanted)._without_unread()

    def select(self, indices: Tensor) -> "SourceMemory":
        """Keep, reorder or repeat rows (int64 on the CPU); sources that no row reads any more are let go."""
        return SourceMemory(self.tensors, self.lengths, self.rows[indices])._without_unread()

    def join(self, other: "SourceMemory") -> "SourceMemory":
        """Append the sources and the rows of another memory."""
        pairs = zip(self.tensors, other.tensors, strict=True)
        return SourceMemory(
            [_stack(mine, theirs) for mine, theirs in pairs],
            torch.cat([self.lengths, other.lengths]),
            torch.cat([self.rows, other.rows + self.lengths.shape[0]]),
        )

    @cached_property
    def mask(self) -> Tensor | None:
        """(N, S), True at a source's own positions; None where all sources are equally long."""
        longest = int(self.lengths.max()) if self.lengths.numel() else 0
        if self.lengths.numel() and int(self.lengths.min()) == longest:
            return None
        return (torch.arange(longest) < self.lengths[:, None]).to(self.tensors[0].device)

    def group(self, x: Tensor) -> Tensor:
        """Rows (B, T, ...) -> sources (N, G * T, ...), G the most rows that one source has; gaps are zero."""
        slots = self._slots
        if slots is None:
            return x
        places, n_slots = slots
        n_sources = self.lengths.shape[0]
        if places is None:
            return x.reshape(n_sources, n_slots * x.shape[1], *x.shape[2:])
        grouped = x.new_zeros(n_sources * n_slots, *x.shape[1:])
        grouped[places] = x
        return grouped.view(n_sources, n_slots * x.shape[1], *x.shape[2:])

    def ungroup(self, x: Tensor) -> Tensor:
        """Sources (N, G * T, ...) -> rows (B, T, ...): back from `group`."""
        slots = self._slots
        if slots is None:
            return x
        places, n_slots = slots
        flat = x.reshape(self.lengths.shape[0] * n_slots, x.shape[1] // n_slots, *x.shape[2:])
        return flat if places is None else flat[places]

    @cached_property
    def _slots(self) -> tuple[Tensor | None, int] | None:
        """Where each row stands among the rows of its source: places (None: side by side already) and G.

        None: one row a source, in order.
        """
        n_sources, n_rows = self.lengths.shape[0], self.rows.shape[0]
        if n_rows == n_sources and torch.equal(self.rows, torch.arange(n_sources)):
            return None
        counts = torch.bincount(self.rows, minlength=n_sources)
        n_slots = int(counts.max()) if n_rows else 1
        if n_rows == n_sources * n_slots and torch.equal(self.rows, torch.arange(n_sources).repeat_interleave(n_slots)):
            return None, n_slots
        order = self.rows.argsort(stable=True)
        first = counts.cumsum(0) - counts
        slot = torch.empty_like(self.rows)
        slot[order] = torch.arange(n_rows) - first[self.rows[order]]
        return (self.rows * n_slots + slot).to(self.tensors[0].device), n_slots

    def _without_unread(self) -> "SourceMemory":
        used, rows = self.rows.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        if used.numel() == self.lengths.shape[0]:
            return self
        here = used.to(self.tensors[0].device)
        lengths = self.lengths[used]
        longest = int(lengths.max()) if lengths.numel() else 0
        # A tensor of one position holds a summary of the whole source, not its positions.
        kept = [
            tensor.index_select(0, here)[..., : longest if tensor.shape[-2] > 1 else 1, :] for tensor in self.tensors
        ]
        return SourceMemory(kept, lengths, rows)


def _stack(first: Tensor, second: Tensor) -> Tensor:
    longest = max(first.shape[-2], second.shape[-2])
    return torch.cat([functional.pad(x, (0, 0, 0, longest - x.shape[-2])) for x in (first, second)])
