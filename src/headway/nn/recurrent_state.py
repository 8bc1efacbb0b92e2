"""What a recurrent decoder remembers of its rows: one hidden state each, and the source that each row reads.

A value like `nn.key_values`: stepping, selecting, joining and rewinding consume it. The hidden states after each
position of the latest step are kept, so that the whole step can be taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headway.errors import ContextError, UsageError
from headway.nn.source_memory import SourceMemory


@dataclass(frozen=True, kw_only=True)
class RecurrentShape:
    """What the states of one model have in common."""

    width: int
    context: int | None
    dtype: torch.dtype
    device: torch.device


class RecurrentState:
    """Hidden states of B rows. Its tensors are never written to, so that copies may share them."""

    def __init__(
        self, shape: RecurrentShape, trail: Tensor, lengths: Tensor, latest: Tensor, memory: SourceMemory
    ) -> None:
        """trail (T + 1, B, N): before the latest step and after each of its positions; lengths and latest (B,)."""
        self._shape = shape
        self._trail = trail
        self._lengths = lengths
        self._latest = latest
        self._memory = memory
        self._spent = False

    @classmethod
    def begin(cls, shape: RecurrentShape, initial: Tensor, memory: SourceMemory) -> "RecurrentState":
        """Rows without tokens, with their initial states (B, N)."""
        none = torch.zeros(initial.shape[0], dtype=torch.int64)
        return cls(shape, initial[None], none, none, memory)

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 on the CPU: how many tokens each row holds."""
        self._check()
        return self._lengths

    @property
    def memory(self) -> SourceMemory:
        """What the rows read of their sources."""
        self._check()
        return self._memory

    @property
    def hidden(self) -> Tensor:
        """(B, N): each row's state after all its tokens."""
        self._check()
        if self._trail.shape[0] == 1:
            return self._trail[0]
        if bool((self._latest == self._trail.shape[0] - 1).all()):
            return self._trail[-1]
        rows = torch.arange(self._trail.shape[1])
        return self._trail[self._latest.to(self._trail.device), rows.to(self._trail.device)]

    def select(self, indices: Sequence[int] | Tensor) -> "RecurrentState":
        """Keep, reorder or repeat rows; sources that no row reads any more are let go; may end empty."""
        kept = torch.as_tensor(indices, dtype=torch.int64, device="cpu").reshape(-1)
        rows = self.lengths.shape[0]
        if bool(((kept < 0) | (kept >= rows)).any()):
            raise UsageError(f"select takes row numbers in 0..{rows - 1}, but got {kept.tolist()}")
        self._spent = True
        if torch.equal(kept, torch.arange(rows)):
            return RecurrentState(self._shape, self._trail, self._lengths, self._latest, self._memory)
        trail = self._trail.index_select(1, kept.to(self._trail.device))
        return RecurrentState(self._shape, trail, self._lengths[kept], self._latest[kept], self._memory.select(kept))

    def join(self, other: "RecurrentState") -> "RecurrentState":
        """Append the rows of another state of the same model; consumes both."""
        self._check()
        other._check()
        if other is self or other._shape != self._shape:
            raise UsageError("join takes another state of the same model; for the same rows twice use select")
        self._spent = other._spent = True
        longest = max(self._trail.shape[0], other._trail.shape[0])
        trails = [
            functional.pad(trail, (0, 0, 0, 0, 0, longest - trail.shape[0])) for trail in (self._trail, other._trail)
        ]
        return RecurrentState(
            self._shape,
            torch.cat(trails, dim=1),
            torch.cat([self._lengths, other._lengths]),
            torch.cat([self._latest, other._latest]),
            self._memory.join(other._memory),
        )

    def rewind(self, counts: Sequence[int] | Tensor) -> "RecurrentState":
        """Take back, per row, up to the whole latest step. Raises UsageError past it."""
        self._check()
        back = torch.as_tensor(counts, dtype=torch.int64, device="cpu").reshape(-1)
        if back.shape != self._lengths.shape or bool(((back < 0) | (back > self._latest)).any()):
            raise UsageError(
                f"rewind takes one count a row, at most the latest step's {self._latest.tolist()}, "
                f"but got {back.tolist()}"
            )
        self._spent = True
        return RecurrentState(self._shape, self._trail, self._lengths - back, self._latest - back, self._memory)

    def copy(self) -> "RecurrentState":
        """An independent state; this one stays usable."""
        self._check()
        return RecurrentState(self._shape, self._trail, self._lengths, self._latest, self._memory)

    def check_step(self, counts: Tensor, n_new: int) -> Tensor:
        """The step's counts (B,) as int64 on the CPU, in a step that is `n_new` = T wide; consumes nothing.

        Raises UsageError for counts outside 0..T and ContextError where a row would outgrow the context.
        """
        self._check()
        new = counts.to(device="cpu", dtype=torch.int64)
        added, held, context = new.tolist(), self._lengths.tolist(), self._shape.context
        if new.shape != self._lengths.shape or not all(0 <= count <= n_new for count in added):
            raise UsageError(
                f"a step takes one count in 0..{n_new} for each of {self._lengths.shape[0]} rows, but got {added}"
            )
        most = max((a + b for a, b in zip(held, added, strict=True)), default=0)
        if context is not None and most > context:
            raise ContextError(
                f"a row may hold {context} tokens (the model's context), but this step would make it {most}"
            )
        return new

    def advance(self, trail: Tensor, counts: Tensor) -> "RecurrentState":
        """The state after a step of these counts, with its trail (T + 1, B, N); consumes this one."""
        self._check()
        self._spent = True
        return RecurrentState(self._shape, trail, self._lengths + counts, counts.clone(), self._memory)

    def _check(self) -> None:
        if self._spent:
            raise RuntimeError("this state was consumed by a later step, select, join or rewind; copy() it before")
