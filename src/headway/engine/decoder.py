"""A compiled decoder and its state, by the decoding protocol of models/protocol.py.

Logits are the same to the last bit whatever the batch, the chunks, the threads and the rows' history, on one kind of
processor: every sum has one fixed order (contract 9 of the design).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from headway.engine.extension import native
from headway.engine.memory import floats, refuse_past_memory
from headway.engine.packed import PackedModel, refuse_to_show
from headway.errors import ContextError, HeadwayError, ResourceError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS = 2**20
ROW_BYTES, _PAGE_BYTES = 64, 16  # what a row takes, and its pointer to a page
_MANY = 1024  # rows that are taken without counting their pages
_FEWER = "Feed fewer tokens in a step, or fewer rows."


class CompiledState:
    """What the engine remembers of its rows: keys and values in pages of 16 tokens, shared until one row writes."""

    def __init__(self, held: Any) -> None:
        self._held: Any | None = held

    @property
    def lengths(self) -> "Tensor":
        """(B,) int64 on the CPU: how many tokens each row holds."""
        import torch

        return torch.tensor(self._use().lengths, dtype=torch.int64)

    @property
    def pages_out(self) -> int:
        """Pages in use, by all states of this model together."""
        return int(self._use().pages_out)

    def select(self, indices: "Sequence[int] | Tensor") -> "CompiledState":
        """Keep, reorder or repeat rows without copying them; may end empty.

        Raises UsageError for no such row, ResourceError where memory ends; the state is still usable then.
        """
        kept = ints(indices)
        if len(kept) > _MANY:
            pages = max(self._use().lengths, default=0) // 16 + 1
            refuse_rows(len(kept), ROW_BYTES + _PAGE_BYTES * pages)
        return self._next(lambda held: held.select(kept))

    def join(self, other: "CompiledState") -> "CompiledState":
        """Append the rows of another state of the same model; consumes both. Raises UsageError for another model's."""
        theirs = other._use()
        following = self._next(lambda held: held.join(theirs))
        other._held = None
        return following

    def rewind(self, counts: "Sequence[int] | Tensor") -> "CompiledState":
        """Take back, per row, up to the whole latest step. Raises UsageError past it."""
        return self._next(lambda held: held.rewind(ints(counts)))

    def copy(self) -> "CompiledState":
        """An independent state that shares its memory until one of the two writes; this one stays usable."""
        return CompiledState(self._use().copy())

    def _use(self) -> Any:
        held = self._held
        if held is None:
            raise RuntimeError("this state was consumed by a later step, select, join or rewind; copy() it before")
        return held

    def _next(self, change: Callable[[Any], object]) -> "CompiledState":
        """The state after a change; where that fails this one is as it was."""
        held = self._use()
        self._held = None  # another thread that comes now is told so
        try:
            with errors_of_ours():
                change(held)
        except BaseException:
            self._held = held
            raise
        return CompiledState(held)


class Stepping(PackedModel):
    """What steps in the engine; how it starts is the families' own."""

    def __init__(self, model: Any, *, vocabulary: int, context: int | None, bits: int, threads: int) -> None:
        """`model`: the extension's own."""
        super().__init__(model, context=context, bits=bits, threads=threads)
        self.vocabulary = vocabulary

    takes_arrays: Literal[True] = True
    """Said to decoding: `step` takes numpy arrays too, and then gives its logits so; PyTorch is not loaded for it."""

    @overload
    def step(
        self,
        ids: "Tensor",
        counts: "Tensor | NDArray[np.int64]",
        state: CompiledState,
        *,
        every: bool = ...,
        trace: object = ...,
        ablate: object = ...,
    ) -> "tuple[Tensor, CompiledState]": ...

    @overload
    def step(
        self,
        ids: NDArray[np.int64],
        counts: "Tensor | NDArray[np.int64]",
        state: CompiledState,
        *,
        every: bool = ...,
        trace: object = ...,
        ablate: object = ...,
    ) -> tuple[NDArray[np.float32], CompiledState]: ...

    # Six parameters: the decoding protocol's own.
    def step(
        self,
        ids: "Tensor | NDArray[np.int64]",
        counts: "Tensor | NDArray[np.int64]",
        state: CompiledState,
        *,
        every: bool = False,
        trace: object = None,
        ablate: object = None,
    ) -> "tuple[Tensor | NDArray[np.float32], CompiledState]":
        """Feed each row its next tokens; see `Decoder.step`.

        Logits are float32 on the CPU: an array where the ids are one, else a tensor. Raises UsageError for `trace` and
        `ablate` (PyTorch shows what goes on inside), ids outside the vocabulary or counts outside 0..T, ContextError
        past the context, ResourceError where memory ends; the state is still usable then.
        """
        refuse_to_show(trace, ablate)
        fed = np.ascontiguousarray(ids if isinstance(ids, np.ndarray) else ids.numpy())
        taken = ints(counts)
        shape = fed.shape if every else fed.shape[:1]
        made: list[NDArray[np.float32]] = []

        def take(held: Any) -> None:
            growth = held.growth(taken, fed.shape[-1])
            made.append(floats((*shape, self._model.logits_stride), "this step", _FEWER, beside=growth))
            self._model.step(fed, taken, held, every, self.threads, made[0])

        following = state._next(take)
        if isinstance(ids, np.ndarray):
            return made[0][..., : self.vocabulary], following
        import torch

        return torch.from_numpy(made[0])[..., : self.vocabulary], following


class CompiledDecoder(Stepping):
    """A decoder without a source."""

    def start(
        self,
        source: "Tensor | None" = None,
        source_lengths: "Tensor | None" = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> CompiledState:
        """An empty state of `rows` rows; pages are taken as tokens come, so `capacity` reserves nothing.

        Raises UsageError for a source or a number of rows that cannot be, ContextError for a capacity past the context.
        """
        if source is not None or source_lengths is not None or not isinstance(rows, int):
            raise UsageError("this model reads no source: start takes the number of rows alone, for instance rows=1")
        if not 0 <= rows <= MOST_ROWS:
            raise UsageError(f"rows must be in 0..{MOST_ROWS}, but got {rows}")
        if capacity is not None and self.context is not None and capacity > self.context:
            raise ContextError(
                f"a row may hold {self.context} tokens (the model's context), but capacity is {capacity}"
            )
        refuse_rows(rows, ROW_BYTES)
        return CompiledState(self._model.start(rows))

    def __call__(self, ids: "Tensor", lengths: "Tensor | None" = None) -> "Tensor":
        """The full pass: ids (B, T) -> logits (B, T, V); past a row's length they are zero."""
        counts = [ids.shape[1]] * ids.shape[0] if lengths is None else lengths
        logits, _ = self.step(ids, ints(counts), self.start(rows=ids.shape[0]), every=True)
        return logits


class errors_of_ours:
    """Turns what the extension raises into headway's errors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HeadwayError):
            return
        if isinstance(error, native().PastContext):
            raise ContextError(str(error)) from None
        if isinstance(error, MemoryError):
            raise ResourceError(
                "there is not enough memory for the rows' keys and values\nRun fewer rows at once."
            ) from None
        if isinstance(error, ValueError):
            raise UsageError(str(error)) from None


def ints(values: "Sequence[int] | Tensor | NDArray[np.int64]") -> NDArray[np.int64]:
    return np.ascontiguousarray(np.asarray(values, dtype=np.int64).reshape(-1))


def refuse_rows(count: int, row_bytes: int) -> None:
    """Raises ResourceError where so many rows would take more memory than is free."""
    refuse_past_memory(f"{count:,} rows", count * row_bytes, "Run fewer rows at once.")
