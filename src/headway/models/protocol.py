"""What a model promises to decoding, tasks and the engine: the first of the three seams.

A state is a value its caller owns. `step`, `select`, `join` and `rewind` consume it and return the next; using a
consumed state raises RuntimeError; only `copy` leaves it alive. Batch is dimension 0 everywhere.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from headway.nn.trace import Ablation, Trace


class State(Protocol):
    """What a decoder remembers of its rows."""

    @property
    def lengths(self) -> "Tensor":
        """(B,) int64 on the CPU: how many tokens each row holds."""
        ...

    def select(self, indices: "Sequence[int] | Tensor") -> Self:
        """Keep, reorder or repeat rows; memory no row uses is let go; may end empty."""
        ...

    def join(self, other: Self) -> Self:
        """Append the rows of another state of the same model; consumes both."""
        ...

    def rewind(self, counts: "Sequence[int] | Tensor") -> Self:
        """Take back, per row, up to the whole latest step. Raises UsageError past it."""
        ...

    def copy(self) -> Self:
        """An independent state; this one stays usable."""
        ...


S = TypeVar("S", bound=State)


class Decoder(Protocol[S]):
    """A model that writes: RNNs, Transformer, GPT-2, Laplace, and the compiled engine."""

    @property
    def context(self) -> int | None:
        """How many tokens a row may hold; None: unlimited."""
        ...

    def start(
        self,
        source: "Tensor | None" = None,
        source_lengths: "Tensor | None" = None,
        *,
        rows: "int | Sequence[int]",
        capacity: int | None = None,
    ) -> S:
        """An empty state. `rows`: one source index per row, or a count where there is no source.

        `capacity`: tokens to reserve room for; None: it grows as needed. Raises ContextError past `context`.
        """
        ...

    def step(
        self,
        ids: "Tensor",
        counts: "Tensor",
        state: S,
        *,
        every: bool = False,
        trace: "Trace | None" = None,
        ablate: "Ablation | None" = None,
    ) -> "tuple[Tensor, S]":
        """Feed each row its next tokens.

        ids (B, T) int64 right-padded, counts (B,) in 0..T new tokens of each row; 0 leaves that row exactly as it
        was. Returns logits (B, V) after each row's last new token (undefined where its count is 0), or (B, T, V)
        with `every`; and the next state. Raises ContextError where a row would outgrow `context`.
        """
        ...


class Encoder(Protocol):
    """A model that reads in both directions: BERT, FNet and kin, and the source side of an encoder-decoder."""

    def encode(
        self,
        ids: "Tensor",
        lengths: "Tensor",
        segments: "Tensor | None" = None,
        trace: "Trace | None" = None,
        ablate: "Ablation | None" = None,
    ) -> "Tensor":
        """ids (B, T), lengths (B,) -> hidden states (B, T, D)."""
        ...


AnyDecoder = Decoder[Any]
