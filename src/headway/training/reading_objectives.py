"""What a reader is asked to do well: one goal a task, and the objective that gives the trainer its parts.

Devlin et al. 2018, section 4 and appendix C.5: classify from the first token, tag from each word's first piece, and an
answer by its begin and its end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.corpus.batches import IGNORED
from headway.training.reading_batches import ReadingBatches, ReadingPart
from headway.training.reading_store import Rows


class Goal(Protocol):
    """A task, as the objective sees it."""

    @property
    def kept_by(self) -> str:
        """The score by which the best weights are chosen."""
        ...

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """The loss summed over the part's targets."""
        ...

    def scores(self, model: nn.Module, parts: Iterator[tuple[Any, ReadingPart]]) -> Mapping[str, float]:
        """How well the model does on all of the validation data."""
        ...


class ReadingObjective:
    """Labelled rows, and what is wanted of them."""

    def __init__(self, batches: ReadingBatches, *, validation: Rows, goal: Goal, accumulation: int) -> None:
        self._batches = batches
        self._validation = validation
        self._goal = goal
        self._accumulation = accumulation

    @property
    def tokens_per_step(self) -> int:
        """Tokens one step reads, on average."""
        return max(1, round(self._batches.rows.tokens / self._batches.steps_per_epoch))

    @property
    def kept_by(self) -> str:
        """The task's own score: the loss rises with overconfidence, which calibration takes back."""
        return self._goal.kept_by

    @property
    def steps_per_epoch(self) -> float:
        """Steps one pass over the examples takes."""
        return self._batches.steps_per_epoch

    def parts(self, step: int) -> list[ReadingPart]:
        """The batch of a step in `accumulation` parts of nearly equal rows."""
        return self._batches.parts(step, self._accumulation)

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """The goal's loss, summed over the part's targets."""
        return self._goal.loss(model, part)

    def validation(self) -> Iterator[ReadingPart]:
        """All of the validation data: labelled data is small, and half of it would choose the weights by chance."""
        for _, part in self.every(self._validation):
            yield part

    def every(self, rows: Rows) -> Iterator[tuple[Any, ReadingPart]]:
        """The rows of a split in parts, with their numbers."""
        yield from self._batches.every(rows, self._batches.tokens // self._accumulation)

    def bits_per_byte(self, loss: float, *, training: bool) -> float | None:
        """None: labels are no text."""
        return None

    def scores(self, model: nn.Module) -> Mapping[str, float]:
        """What the goal measures on the validation data."""
        device = next(model.parameters()).device
        parts = ((numbers, part.to(device)) for numbers, part in self.every(self._validation))
        return self._goal.scores(model, parts)


def answers_of(model: nn.Module, part: ReadingPart) -> Tensor:
    """What the model's head says of the rows, in float32: classify (B, L), tag (B, T, L), answer (B, T, 2)."""
    states = model.encode(part.ids, part.lengths, part.segments)  # type: ignore[operator]
    return model.read_head(states, part.lengths).float()  # type: ignore[operator,no-any-return]


@dataclass(frozen=True, kw_only=True)
class Classify:
    """One label of several, or with multi_label each label a yes or no.

    weights (L,): what a mistake in each label counts; with multi_label, what a text that has it counts against one that
    has not; None: all alike.
    """

    n_labels: int
    multi_label: bool = False
    weights: Tensor | None = None

    @property
    def kept_by(self) -> str:
        """Macro-F1: where one label is rare, accuracy says little of it."""
        return "macro_f1"

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """Cross-entropy; with multi_label the mean over the labels of that of each decision."""
        logits = answers_of(model, part)  # (B, L)
        weights = None if self.weights is None else self.weights.to(logits.device)
        if self.multi_label:
            wanted = self.wanted(part.targets)
            return (
                functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights, reduction="sum")
                / self.n_labels
            )
        target = part.targets[:, 0]
        each = functional.cross_entropy(logits, target, reduction="none")
        return (each if weights is None else each * weights[target]).sum()

    def scores(self, model: nn.Module, parts: Iterator[tuple[Any, ReadingPart]]) -> Mapping[str, float]:
        """accuracy (multi-label: all labels of a text right) and macro_f1, the mean of the labels' F1."""
        wanted, found = [], []
        for _, part in parts:
            logits = answers_of(model, part)
            wanted.append(self.wanted(part.targets))
            chosen = (logits > 0) if self.multi_label else functional.one_hot(logits.argmax(-1), self.n_labels)
            found.append(chosen.float())
        gold, said = torch.cat(wanted), torch.cat(found)
        return {"accuracy": float((gold == said).all(dim=-1).float().mean()), "macro_f1": _macro_f1(gold, said)}

    def wanted(self, targets: Tensor) -> Tensor:
        """targets (B, K) -> (B, L) of 0 and 1."""
        wanted = torch.zeros(len(targets), self.n_labels + 1, device=targets.device)
        places = torch.where(targets == IGNORED, self.n_labels, targets)  # the last column takes the padding
        return wanted.scatter_(1, places, 1.0)[:, : self.n_labels]


def _macro_f1(gold: Tensor, said: Tensor) -> float:
    """gold, said (N, L) of 0 and 1; a label that neither has counts as 0, as is usual."""
    hits, total = (gold * said).sum(0), gold.sum(0) + said.sum(0)
    return float((2 * hits / total.clamp(min=1)).mean())


def balanced_weights(targets: Any, n_labels: int, *, rows: int, multi_label: bool) -> Tensor:
    """(L,) weights that let each label count alike: rows / (L * its rows); multi-label: rows without by rows with."""
    counts = torch.bincount(torch.as_tensor(targets), minlength=n_labels).double()
    if multi_label:
        return ((rows - counts) / counts.clamp(min=1)).clamp(min=0.05, max=100.0).float()
    return (rows / (n_labels * counts.clamp(min=1))).float()
