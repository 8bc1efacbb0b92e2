"""A compiled encoder, by the encoder protocol of models/protocol.py, with the head that reads its states.

States and what a head makes of them are the same to the last bit whatever the batch, its padding and the threads, on
one kind of processor: every sum has one fixed order (contract 9 of the design).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headway.engine.decoder import errors_of_ours
from headway.engine.memory import floats
from headway.engine.packed import PackedModel, refuse_to_show
from headway.errors import ConfigError, ContextError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Floats = NDArray[np.float32]

_PARTS = ("pooler", "transform", "words", "head")
"""In the order of the extension's own."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model answers with, and how.

    head: none, masked, pretraining, classify, tag or answer. row: what of a row's states a label of the whole row is
    read from: its first token's, its last one's, or the mean of all.
    """

    width: int
    context: int
    head: str
    row: Literal["first", "last", "mean"]
    pooler: bool
    transform: bool

    @property
    def words(self) -> bool:
        """Whether the head gives scores for each word of the vocabulary."""
        return self.head in ("masked", "pretraining")


class CompiledEncoder(PackedModel):
    """An encoder that runs in the engine; a small head at 32 bits."""

    def __init__(self, model: Any, *, reading: Reading, bits: int, threads: int) -> None:
        """`model`: the extension's own."""
        super().__init__(model, context=reading.context, bits=bits, threads=threads)
        self.reading = reading
        self.output = self._words if reading.words else None

    @property
    def device(self) -> "torch.device":
        """The CPU."""
        import torch

        return torch.device("cpu")

    def __call__(
        self,
        ids: "Tensor",
        lengths: "Tensor | None" = None,
        segments: "Tensor | None" = None,
        *,
        hidden: bool = False,
    ) -> "Tensor":
        """The full pass: ids (B, T) -> what the head answers; see `BERT.forward`."""
        states = self.encode(ids, lengths, segments)
        if self.output is not None:
            read = self.before_output(states)
            return read if hidden else self.output(read)
        return states if self.reading.head == "none" or hidden else self.read_head(states, lengths)

    # Six parameters: the encoder protocol's own.
    def encode(
        self,
        ids: "Tensor",
        lengths: "Tensor | None" = None,
        segments: "Tensor | None" = None,
        trace: object = None,
        ablate: object = None,
    ) -> "Tensor":
        """ids (B, T), lengths (B,) or None: all T -> states (B, T, D), float32, zero past each row's length.

        Nothing is computed on padding, and what stands there may be any number. Raises UsageError for an empty row, for
        ids or segments the model does not know, for `trace` and `ablate` (PyTorch shows what goes on inside);
        ContextError past the context, ResourceError where memory ends.
        """
        import torch

        refuse_to_show(trace, ablate)
        rows, columns = ids.shape
        if columns > self.reading.context:
            raise ContextError(f"at most {self.reading.context} tokens fit the model's context, but got {columns}")
        counts = np.full(rows, columns) if lengths is None else _ints(lengths)
        if counts.shape != (rows,):
            raise UsageError(f"lengths takes one length for each of {rows} rows, but got {counts.size}")
        kinds = np.zeros(0, dtype=np.int64) if segments is None else _ints(segments)
        if segments is not None and segments.shape != ids.shape:
            raise UsageError(
                f"segments are of the shape of the ids, {tuple(ids.shape)}, but got {tuple(segments.shape)}"
            )
        states = _room((rows, columns, self.reading.width))
        with errors_of_ours():
            self._model.encode(_ints(ids), counts, kinds, self.threads, states)
        return torch.from_numpy(states)

    def before_output(self, states: "Tensor") -> "Tensor":
        """states (..., D) -> (..., D): what the output matrix reads."""
        return self._apply("transform", states) if self.reading.transform else states

    def read_head(self, states: "Tensor", lengths: "Tensor | None" = None) -> "Tensor":
        """states (B, T, D) -> classify: (B, n_labels); tag: (B, T, n_labels); answer: (B, T, 2).

        lengths (B,), None: all T. Raises ConfigError without a head that answers.
        """
        if self.reading.head not in ("classify", "tag", "answer"):
            raise ConfigError(f"head={self.reading.head!r} gives no labels; set head to classify, tag or answer")
        return self._apply("head", self._rows(states, lengths) if self.reading.head == "classify" else states)

    def _rows(self, states: "Tensor", lengths: "Tensor | None") -> "Tensor":
        """states (B, T, D) and lengths (B,) -> (B, D)."""
        import torch

        counts = [states.shape[1]] * states.shape[0] if lengths is None else _ints(lengths).tolist()
        rows = _room((states.shape[0], states.shape[2]))
        for at, (count, row) in enumerate(zip(counts, states.numpy(), strict=True)):
            if self.reading.row == "mean":
                np.divide(
                    np.add.reduce(row[:count], axis=0), np.float32(count), out=rows[at]
                )  # one token after another
            else:
                rows[at] = row[0 if self.reading.row == "first" else count - 1]
        pooled = torch.from_numpy(rows)
        return self._apply("pooler", pooled) if self.reading.pooler else pooled

    def _words(self, states: "Tensor") -> "Tensor":
        """states (..., D) -> (..., V)."""
        return self._apply("words", states)

    def _apply(self, part: str, states: "Tensor") -> "Tensor":
        """states (..., D) -> (..., what the part gives)."""
        import torch

        number = _PARTS.index(part)
        read = np.ascontiguousarray(states.detach().numpy(), dtype=np.float32).reshape(-1, self.reading.width)
        outputs = self._model.outputs_of(number)
        out = _room((len(read), self._model.stride_of(number)))
        with errors_of_ours():
            self._model.apply(number, read, self.threads, out)
        return torch.from_numpy(out)[:, :outputs].view(*states.shape[:-1], outputs)


def _ints(values: "Tensor") -> NDArray[np.int64]:
    return np.ascontiguousarray(values.numpy(), dtype=np.int64)


def _room(shape: tuple[int, ...]) -> Floats:
    return floats(shape, f"an array of shape {shape}", "Read fewer texts at once.")
