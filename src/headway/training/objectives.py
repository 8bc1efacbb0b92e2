"""What a model is asked to do well: an objective turns a step's number into parts of a batch, and a part into a loss.

Losses are sums with counts; the trainer divides by the count of the whole step, so that one part of 32 rows and four
parts of 8 give the same gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from headway.corpus.batches import IGNORED, TokenBatches, evaluation_windows
from headway.corpus.shards import TokenStream
from headway.nn.cross_entropy import linear_cross_entropy


class Part(Protocol):
    """One part of a step's batch."""

    @property
    def count(self) -> int:
        """How many of its targets count for the loss."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same part on a device."""
        ...


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A part of text: inputs and targets (B, T) int64."""

    inputs: Tensor
    targets: Tensor
    count: int

    def to(self, device: torch.device) -> "Windows":
        """The same windows on a device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


class Objective(Protocol):
    """The seam between data and trainer."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens one step reads."""
        ...

    @property
    def kept_by(self) -> str | None:
        """The score, higher is better, by which the best weights are chosen; None: the validation loss."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """Steps one pass over the training text takes."""
        ...

    def parts(self, step: int) -> Sequence[Part]:
        """The batch of a step, a pure function of (seed, step), in its parts."""
        ...

    def loss(self, model: nn.Module, part: Any) -> Tensor:
        """The loss summed over the targets of one of its own parts, in nats."""
        ...

    def validation(self) -> Iterator[Part]:
        """The validation text, the same at every call."""
        ...

    def bits_per_byte(self, loss: float, *, training: bool) -> float | None:
        """What a mean loss in nats per token means in bits per byte of its text; None where it means nothing."""
        ...

    def scores(self, model: nn.Module) -> Mapping[str, float]:
        """What else the validation data says of a model in evaluation mode, by name; shares are in 0..1."""
        ...


class CausalLanguageModelling:
    """Predict each token from those before it (Radford et al. 2018, equation 1)."""

    kept_by = None

    def __init__(
        self,
        batches: TokenBatches,
        *,
        training: TokenStream,
        validation: TokenStream,
        accumulation: int,
        validation_tokens: int,
    ) -> None:
        self._batches = batches
        self._training = training
        self._validation = validation
        self._accumulation = accumulation
        self._validation_tokens = validation_tokens

    @property
    def tokens_per_step(self) -> int:
        """Tokens one step reads."""
        return self._batches.batch_size * self._batches.context

    @property
    def steps_per_epoch(self) -> float:
        """Steps one pass over the training text takes."""
        return self._batches.steps_per_epoch

    def parts(self, step: int) -> list[Windows]:
        """The batch of a step in `accumulation` parts of equal rows."""
        inputs, targets = (torch.from_numpy(array) for array in self._batches.batch(step))
        return [
            _part(x, y)
            for x, y in zip(inputs.chunk(self._accumulation), targets.chunk(self._accumulation), strict=True)
        ]

    def loss(self, model: nn.Module, part: Windows) -> Tensor:
        """Cross-entropy summed over the targets; the logits never stand in memory all at once."""
        hidden = model(part.inputs, hidden=True)  # (B, T, D)
        weight = model.get_parameter("output.weight")
        return linear_cross_entropy(hidden.flatten(0, 1), weight, part.targets.flatten(), ignored=IGNORED)

    def validation(self) -> Iterator[Windows]:
        """Windows over the validation text, at most `validation_tokens` of it."""
        for inputs, targets in evaluation_windows(
            self._validation,
            context=self._batches.context,
            batch_size=max(1, self._batches.batch_size // self._accumulation),
            limit=self._validation_tokens,
        ):
            yield _part(torch.from_numpy(inputs), torch.from_numpy(targets))

    def bits_per_byte(self, loss: float, *, training: bool) -> float:
        """Nats per token times tokens per byte of that split, in bits."""
        stream = self._training if training else self._validation
        return loss / 0.6931471805599453 * stream.tokens / stream.bytes

    def scores(self, model: nn.Module) -> Mapping[str, float]:
        """Nothing: the loss says it all."""
        return {}


def _part(inputs: Tensor, targets: Tensor) -> Windows:
    return Windows(inputs=inputs, targets=targets, count=int((targets != IGNORED).sum()))
