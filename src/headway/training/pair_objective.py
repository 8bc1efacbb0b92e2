"""Sequence to sequence: predict each token of the target from those before it and from the whole source.

Sutskever et al. 2014, equation 1; label smoothing as in Vaswani et al. 2017, section 5.4.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import numpy
import torch
from torch import Tensor, nn

from headway.corpus.batches import IGNORED
from headway.corpus.pair_batches import PairBatch, PairBatches, evaluation_batches
from headway.corpus.pair_shards import PairSplit
from headway.nn.cross_entropy import linear_cross_entropy


@dataclass(frozen=True, kw_only=True)
class PairPart:
    """Some pairs of a step: source (B, S), inputs and targets (B, T), lengths (B,), all int64 and right-padded."""

    source: Tensor
    source_lengths: Tensor
    inputs: Tensor
    targets: Tensor
    target_lengths: Tensor
    count: int

    def to(self, device: torch.device) -> "PairPart":
        """The same pairs on a device; the lengths stay on the processor, which asks for them."""
        return replace(
            self, source=self.source.to(device), inputs=self.inputs.to(device), targets=self.targets.to(device)
        )


class SequenceToSequence:
    """The objective of the encoder-decoders."""

    kept_by = None

    def __init__(
        self,
        batches: PairBatches,
        *,
        training: PairSplit,
        validation: PairSplit,
        accumulation: int,
        validation_tokens: int,
        smoothing: float,
    ) -> None:
        self._batches = batches
        self._training = training
        self._validation = validation
        self._accumulation = accumulation
        self._validation_tokens = validation_tokens
        self._smoothing = smoothing

    @property
    def tokens_per_step(self) -> int:
        """Target tokens one step reads, on average."""
        return max(1, round(_predicted(self._training) / self._batches.steps_per_epoch))

    @property
    def steps_per_epoch(self) -> float:
        """Steps one pass over the pairs takes."""
        return self._batches.steps_per_epoch

    def parts(self, step: int) -> list[PairPart]:
        """The batch of a step in `accumulation` parts of nearly equal rows."""
        batch = self._batches.batch(step)
        rows = numpy.array_split(numpy.arange(len(batch.source)), self._accumulation)
        return [_part(batch, some) for some in rows if len(some)]

    def loss(self, model: nn.Module, part: PairPart) -> Tensor:
        """Cross-entropy summed over the targets, smoothed in training only."""
        hidden = model(part.source, part.source_lengths, part.inputs, part.target_lengths, hidden=True)  # (B, T, D)
        return linear_cross_entropy(
            hidden.flatten(0, 1),
            model.get_parameter("output.weight"),
            part.targets.flatten(),
            ignored=IGNORED,
            smoothing=self._smoothing if model.training else 0.0,
            bias=getattr(model, "output_bias", None),
        )

    def validation(self) -> Iterator[PairPart]:
        """Pairs spread over the validation pairs, of about `validation_tokens` target tokens."""
        for batch in evaluation_batches(
            self._validation,
            tokens=max(1, self._batches.tokens // self._accumulation),
            limit=self._validation_tokens,
            start_id=self._batches.start_id,
            end_id=self._batches.end_id,
            source_end_id=self._batches.source_end_id,
        ):
            yield _part(batch, numpy.arange(len(batch.source)))

    def bits_per_byte(self, loss: float, *, training: bool) -> float:
        """Nats per token times tokens per byte of that split's targets, in bits."""
        split = self._training if training else self._validation
        return loss / 0.6931471805599453 * _predicted(split) / split.target_bytes

    def scores(self, model: nn.Module) -> Mapping[str, float]:
        """Nothing: translations are scored after training."""
        return {}


def _predicted(split: PairSplit) -> int:
    """Every token of the targets, and the end of each."""
    return split.target_tokens + split.pairs


def _part(batch: PairBatch, rows: numpy.ndarray) -> PairPart:
    """The rows of a batch, no wider than they need."""
    width, depth = int(batch.source_lengths[rows].max()), int(batch.target_lengths[rows].max())
    cut = {field.name: torch.from_numpy(getattr(batch, field.name)[rows]) for field in fields(PairBatch)}
    targets = cut["targets"][:, :depth].contiguous()
    return PairPart(
        source=cut["source"][:, :width].contiguous(),
        source_lengths=cut["source_lengths"],
        inputs=cut["inputs"][:, :depth].contiguous(),
        targets=targets,
        target_lengths=cut["target_lengths"],
        count=int((targets != IGNORED).sum()),
    )
