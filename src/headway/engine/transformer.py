"""The Transformer for the engine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.engine.decoder import ROW_BYTES, CompiledState, Stepping, errors_of_ours, ints, refuse_rows
from headway.engine.extension import native
from headway.engine.memory import refuse_past_memory
from headway.engine.packing import ACTIVATIONS, Asked, no_activation, pack
from headway.errors import ContextError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_POSITIONS = ("none", "sinusoid", "learned", "rotary", "relative")
"""In the order of the extension's own."""

_FARTHEST = 128  # the extension's kFarthest: relative positions past it are all one


class CompiledTransformer(Stepping):
    """An encoder-decoder in the engine; each source is read once, and shared by the rows that read it."""

    @property
    def sources_out(self) -> int:
        """How many sources the rows of all states of this model read."""
        return int(self._model.sources_out)

    def start(
        self,
        source: "Tensor | None" = None,
        source_lengths: "Tensor | None" = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> CompiledState:
        """A state of rows that hold no tokens yet, over sources (N, S) that are encoded here, once each.

        Pages are taken as tokens come, so `capacity` reserves nothing. Raises UsageError without a source, for an empty
        one or ids outside the vocabulary, ContextError past the context, ResourceError where memory ends.
        """
        if source is None:
            raise UsageError("the Transformer reads a source: start takes source (N, S) and source_lengths (N,)")
        if isinstance(rows, int):
            if source.shape[0] != 1:
                raise UsageError(f"start takes a source number for each row where there are {source.shape[0]} sources")
            rows = [0] * rows
        if capacity is not None and self.context is not None and capacity > self.context:
            raise ContextError(
                f"a row may hold {self.context} tokens (the model's context), but capacity is {capacity}"
            )
        lengths = [source.shape[1]] * source.shape[0] if source_lengths is None else source_lengths
        counts, wanted = ints(lengths), ints(list(rows))
        self._refuse_past_memory(counts, wanted, source.shape[1])
        with errors_of_ours():
            return CompiledState(self._model.start(source.contiguous().numpy(), counts, wanted, self.threads))

    def _refuse_past_memory(self, lengths: NDArray[np.int64], rows: NDArray[np.int64], columns: int) -> None:
        """Of those sources alone that rows read; lengths and rows that cannot be are left to the extension."""
        read = lengths[np.unique(rows[(rows >= 0) & (rows < len(lengths))])]
        read = read[(read > 0) & (read <= columns)]
        needed = sum(self._model.source_bytes(length) for length in read.tolist())
        refuse_rows(len(rows), ROW_BYTES)
        refuse_past_memory("these sources", needed, "Read fewer sources at once.")

    def __call__(
        self,
        source: "Tensor",
        source_lengths: "Tensor | None",
        target: "Tensor",
        target_lengths: "Tensor | None" = None,
    ) -> "Tensor":
        """The full pass: source (B, S), target (B, T) -> logits (B, T, V); past a target's length they are zero."""
        counts = [target.shape[1]] * target.shape[0] if target_lengths is None else target_lengths
        state = self.start(source, source_lengths, rows=range(target.shape[0]))
        return self.step(target, ints(counts), state, every=True)[0]


def why_not(model: Any) -> str | None:
    """Why the engine cannot run this Transformer, in a phrase; None where it can."""
    return no_activation(model.config)


def build(model: Any, asked: Asked) -> CompiledTransformer:
    """The model packed as asked for."""
    config = model.config
    sizes = {
        "vocabulary": config.vocabulary,
        "source_vocabulary": config.source_vocabulary or config.vocabulary,
        "context": config.context or 0,
        "width": config.width,
        "heads": config.n_heads,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "hidden": config.feed_forward,
        "epsilon": config.epsilon,
        "activation": ACTIVATIONS.index(config.activation),
        "positions": _POSITIONS.index(config.positions),
        "pre_norm": config.norm == "pre",
        "shared": config.shared,
        "tied": config.tied,
        "scaled": config.scaled,
        "output_bias": config.output_bias,
    }
    tables = {}
    if config.positions == "relative":
        for side in ("encoder", "decoder"):
            tables[f"{side}.positions.biases"] = _biases(model.get_submodule(f"{side}.positions"))
    packed = pack(native().Transformer, sizes, model, asked, tables)
    return CompiledTransformer(
        packed, vocabulary=config.vocabulary, context=config.context, bits=asked.bits, threads=asked.threads
    )


def _biases(positions: Any) -> "Tensor":
    """(H, 257): what relative positions add to the scores of keys from 128 before to 128 behind a query."""
    import torch

    here = torch.tensor([[_FARTHEST]], device=positions.weight.device)
    found: Tensor = positions.bias(here, 2 * _FARTHEST + 1)[0, :, 0]
    return found
