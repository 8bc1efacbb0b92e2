"""The keys and values a causal attention has seen: a state with preallocated room, one length a row.

The state is a value: extending, selecting, joining and rewinding consume it and give the next one, so buffers are
reused and two generations can never disturb each other. Only `copy` leaves it alive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add

import torch
from torch import Tensor

from headway.errors import ContextError, UsageError

_ROOM = 64  # tokens by which room grows at least


@dataclass(frozen=True, kw_only=True)
class KeyValueShape:
    """What the buffers of a model look like, the same for all its states."""

    n_layers: int
    n_heads: int
    head_width: int
    context: int
    dtype: torch.dtype
    device: torch.device


class KeyValueState:
    """Keys and values of B rows in every layer, with a length a row."""

    def __init__(
        self, shape: KeyValueShape, keys: list[Tensor], values: list[Tensor], lengths: Tensor, latest: Tensor
    ) -> None:
        """keys and values: a layer each (B, H, C, K) with room for C tokens; lengths, latest step's counts: (B,)."""
        self._shape = shape
        self._keys = keys
        self._values = values
        self._lengths = lengths
        self._latest = latest
        self._spent = False

    @classmethod
    def empty(cls, shape: KeyValueShape, rows: int, capacity: int | None) -> "KeyValueState":
        """A state of rows without tokens. Raises ContextError where `capacity` is past the context."""
        room = capacity or 0
        if room > shape.context:
            raise ContextError(
                f"a row may hold {shape.context} tokens (the model's context), but capacity={capacity} was asked for"
            )
        buffers = [
            torch.zeros(rows, shape.n_heads, room, shape.head_width, dtype=shape.dtype, device=shape.device)
            for _ in range(2 * shape.n_layers)
        ]
        none = torch.zeros(rows, dtype=torch.int64)
        return cls(shape, buffers[: shape.n_layers], buffers[shape.n_layers :], none, none)

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 on the CPU: how many tokens each row holds."""
        self._check()
        return self._lengths

    @property
    def capacity(self) -> int:
        """How many tokens a row has room for before the buffers grow."""
        self._check()
        return self._keys[0].shape[2]

    def select(self, indices: Sequence[int] | Tensor) -> "KeyValueState":
        """Keep, reorder or repeat rows; may end empty."""
        kept = torch.as_tensor(indices, dtype=torch.int64).reshape(-1)
        rows = self.lengths.shape[0]
        if bool(((kept < 0) | (kept >= rows)).any()):
            raise UsageError(f"select takes row numbers in 0..{rows - 1}, but got {kept.tolist()}")
        self._spent = True
        if torch.equal(kept, torch.arange(rows)):
            return KeyValueState(self._shape, self._keys, self._values, self._lengths, self._latest)
        here = kept.to(self._shape.device)
        lengths, latest = self._lengths[kept], self._latest[kept]
        if self._stays(kept.shape[0]):
            n_seen = int(self._lengths.max())
            buffers = [_reorder(buffer, here, n_seen) for buffer in (*self._keys, *self._values)]
        else:
            buffers = [buffer.index_select(0, here) for buffer in (*self._keys, *self._values)]
        n_layers = len(self._keys)
        return KeyValueState(self._shape, buffers[:n_layers], buffers[n_layers:], lengths, latest)

    def _stays(self, n_rows: int) -> bool:
        """Whether so many rows take more than half of the memory there is: then they are moved inside it."""
        buffer = self._keys[0]
        n_rows_held = buffer.untyped_storage().nbytes() // max(1, buffer[:1].nbytes)
        return n_rows <= buffer.shape[0] and 2 * n_rows > n_rows_held

    def join(self, other: "KeyValueState") -> "KeyValueState":
        """Append the rows of another state of the same model; consumes both."""
        self._check()
        other._check()
        if other is self or other._shape != self._shape:
            raise UsageError("join takes another state of the same model; for the same rows twice use select")
        self._spent = other._spent = True
        room = max(self._keys[0].shape[2], other._keys[0].shape[2])
        keys = [_stack(a, b, room) for a, b in zip(self._keys, other._keys, strict=True)]
        values = [_stack(a, b, room) for a, b in zip(self._values, other._values, strict=True)]
        lengths = torch.cat([self._lengths, other._lengths])
        return KeyValueState(self._shape, keys, values, lengths, torch.cat([self._latest, other._latest]))

    def rewind(self, counts: Sequence[int] | Tensor) -> "KeyValueState":
        """Take back, per row, up to the whole latest step. Raises UsageError past it."""
        self._check()
        back = torch.as_tensor(counts, dtype=torch.int64).reshape(-1)
        if back.shape != self._lengths.shape or bool(((back < 0) | (back > self._latest)).any()):
            raise UsageError(
                f"rewind takes one count a row, at most the latest step's {self._latest.tolist()}, "
                f"but got {back.tolist()}"
            )
        self._spent = True
        return KeyValueState(self._shape, self._keys, self._values, self._lengths - back, self._latest - back)

    def copy(self) -> "KeyValueState":
        """An independent state, with little room beyond its tokens; this one stays usable."""
        self._check()
        n_seen = max(self._lengths.tolist(), default=0)
        room = min(self._keys[0].shape[2], -(-n_seen // _ROOM) * _ROOM)
        keys = [_copied(buffer, n_seen, room) for buffer in self._keys]
        values = [_copied(buffer, n_seen, room) for buffer in self._values]
        return KeyValueState(self._shape, keys, values, self._lengths, self._latest)

    def extend(self, counts: Tensor, n_new: int) -> "Extension":
        """Make room for `counts` (B,) new tokens of each row, in a step that is `n_new` = T wide; consumes the state.

        Raises UsageError for counts outside 0..T and ContextError where a row would outgrow the context; the state
        is still usable then.
        """
        self._check()
        new = counts.to(device="cpu", dtype=torch.int64)
        # Plain ints: every step asks these few questions, and a tensor operation costs more than all of them.
        added, held = new.tolist(), self._lengths.tolist()
        if new.shape != self._lengths.shape or not all(0 <= count <= n_new for count in added):
            raise UsageError(
                f"a step takes one count in 0..{n_new} for each of {self._lengths.shape[0]} rows, but got {added}"
            )
        most = max(map(add, held, added), default=0)
        if most > self._shape.context:
            raise ContextError(
                f"a row may hold {self._shape.context} tokens (the model's context), but this step would make it {most}"
            )
        self._spent = True
        self._make_room(most)
        return Extension(self._shape, (self._keys, self._values), self._lengths, new, n_new)

    def _make_room(self, needed: int) -> None:
        """Grow by doubling, a buffer at a time, so that at most one stands twice in memory."""
        room = self._keys[0].shape[2]
        if needed <= room:
            return
        grown = min(max(needed, 2 * room, _ROOM), self._shape.context)
        for buffers in (self._keys, self._values):
            for layer, buffer in enumerate(buffers):
                buffers[layer] = _widen(buffer, grown)

    def _check(self) -> None:
        if self._spent:
            raise RuntimeError("this state was consumed by a later step, select, join or rewind; copy() it before")


class Extension:
    """One step in the making: where its tokens stand, what they may see, and where their keys and values go.

    `positions` (B or 1, T) int64; `mask` broadcasts to (B, H, T, S), None where `causal` or nothing says it all.
    """

    def __init__(
        self,
        shape: KeyValueShape,
        buffers: tuple[list[Tensor], list[Tensor]],
        lengths: Tensor,
        counts: Tensor,
        n_new: int,
    ) -> None:
        self._shape = shape
        self._keys, self._values = buffers
        self._lengths = lengths
        self._counts = counts
        self._n_new = n_new
        held, added = lengths.tolist(), counts.tolist()
        self._seen = max(map(add, held, added), default=0)
        level = len(set(held)) == 1 and min(added) == n_new  # every row grows from the same place by the same number
        self._start = held[0] if level else None
        if self._start is not None:
            positions = torch.arange(self._start, self._start + n_new)[None]  # (1, T)
        else:
            positions = lengths[:, None] + torch.arange(n_new)  # (B, T)
        self.positions = (positions if level else positions.clamp(max=shape.context - 1)).to(shape.device)
        self.causal = self._start == 0 and n_new > 1
        self.mask = None if self.causal or (level and n_new == 1) else self._mask(positions)
        if self._start is None:
            rows, columns = (torch.arange(n_new) < counts[:, None]).nonzero(as_tuple=True)
            slots = lengths[rows] + columns
            self._rows, self._columns, self._slots = (part.to(shape.device) for part in (rows, columns, slots))

    @property
    def seen(self) -> int:
        """How many keys the step's queries are compared with, S."""
        return self._seen

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the layer's new keys and values (B, H, T, K); return all a query may see, (B, H, S, K) each."""
        for buffer, new in ((self._keys[layer], key), (self._values[layer], value)):
            if self._start is not None:
                buffer.narrow(2, self._start, self._n_new).copy_(new)
            else:
                buffer[self._rows, :, self._slots] = new[self._rows, :, self._columns]
        return self._keys[layer].narrow(2, 0, self._seen), self._values[layer].narrow(2, 0, self._seen)

    def finish(self) -> KeyValueState:
        """The state after the step."""
        return KeyValueState(self._shape, self._keys, self._values, self._lengths + self._counts, self._counts.clone())

    def _mask(self, positions: Tensor) -> Tensor:
        return (torch.arange(self._seen) <= positions[:, None, :, None]).to(self._shape.device)  # (B or 1, 1, T, S)


def _reorder(buffer: Tensor, rows: Tensor, n_seen: int) -> Tensor:
    """The rows of (B, H, C, K) in another order, in the same memory; what a row has not filled yet is not moved."""
    kept = buffer[: rows.shape[0]]
    kept.narrow(2, 0, n_seen).copy_(buffer.narrow(2, 0, n_seen).index_select(0, rows))
    return kept


def _copied(buffer: Tensor, n_seen: int, room: int) -> Tensor:
    """What is filled of (B, H, C, K), in memory of its own with another room."""
    copied = buffer.new_zeros(*buffer.shape[:2], room, buffer.shape[3])
    copied[:, :, :n_seen] = buffer[:, :, :n_seen]
    return copied


def _widen(buffer: Tensor, room: int) -> Tensor:
    wider = buffer.new_zeros(*buffer.shape[:2], room, buffer.shape[3])
    wider[:, :, : buffer.shape[2]] = buffer
    return wider


def _stack(first: Tensor, second: Tensor, room: int) -> Tensor:
    rows = first.shape[0]
    both = first.new_zeros(rows + second.shape[0], first.shape[1], room, first.shape[3])
    both[:rows, :, : first.shape[2]] = first
    both[rows:, :, : second.shape[2]] = second
    return both
