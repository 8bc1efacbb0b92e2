"""Making probabilities believable: one temperature for all logits, how far off they are, and when to abstain.

Guo et al. 2017, "On calibration of modern neural networks": temperature scaling in section 4.2, the error in section 2.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headway.errors import DataError

_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 60
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def fit_temperature(logits: Any, targets: Any, *, multi_label: bool = False) -> float:
    """The temperature in 0.05..20 at which logits (N, L) give the targets the smallest cross-entropy.

    targets: (N,) label numbers, or with `multi_label` (N, L) of 0 and 1. The loss has one minimum in 1 / temperature,
    where it is convex, so that bisection by the golden section finds it. Raises DataError where there are no examples.
    """
    scores, wanted = torch.as_tensor(logits).double(), torch.as_tensor(targets)
    if scores.ndim != 2 or not len(scores):
        raise DataError("a temperature is fitted to validation examples, but there are none; keep some aside")

    def loss(inverse: float) -> float:
        if multi_label:
            return float(functional.binary_cross_entropy_with_logits(scores * inverse, wanted.double()))
        return float(functional.cross_entropy(scores * inverse, wanted.long()))

    low, high = math.log(1.0 / _HOTTEST), math.log(1.0 / _COLDEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(math.exp(left)) <= loss(math.exp(right)):
            high = right
        else:
            low = left
    return math.exp(-(low + high) / 2.0)


def expected_calibration_error(confidences: Any, correct: Any, bins: int = 15) -> float:
    """How far confidence is from accuracy: the mean over `bins` equal intervals, weighted by what falls into each.

    confidences (N,) in 0..1, correct (N,) bool; 0 where there is nothing.
    """
    sure, right = _flat(confidences), _flat(correct)
    if not len(sure):
        return 0.0
    place = (sure * bins).ceil().clamp(1, bins).long() - 1
    counts = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, torch.ones_like(sure))
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - sure)
    return float(gap.abs().sum() / counts.sum())


def abstention_table(confidences: Any, correct: Any) -> tuple[tuple[float, float, float], ...]:
    """(confidence threshold, error rate, share kept) for thresholds that keep all, then ever fewer examples.

    Of the examples with at least that confidence: how many are wrong, and how many of all they are. At most 41 rows,
    those that keep evenly spread shares.
    """
    sure, right = _flat(confidences), _flat(correct)
    if not len(sure):
        return ()
    order = sure.argsort(descending=True)
    sure, wrong = sure[order], 1.0 - right[order]
    total = len(sure)
    rows: dict[int, tuple[float, float, float]] = {}
    for step in range(40, -1, -1):
        wanted = max(1, round(total * step / 40))
        threshold = float(sure[wanted - 1])
        kept = int((sure >= threshold).sum())
        rows.setdefault(kept, (threshold, float(wrong[:kept].mean()), kept / total))
    return tuple(rows.values())


def threshold_for(table: Sequence[tuple[float, float, float]], error_rate: float) -> float | None:
    """The lowest confidence threshold of an abstention table that keeps an error rate; None where none does."""
    return min((threshold for threshold, error, _ in table if error <= error_rate), default=None)


def confidences_of(logits: Tensor, *, temperature: float, multi_label: bool) -> tuple[Tensor, Tensor]:
    """logits (N, L) -> the confidence and the number of each row's label, both (N,); multi-label: (N, L) each.

    With multi-label each label is a decision of its own: its number is 1 or 0, the confidence that of the decision.
    """
    scaled = logits.double() / temperature
    if multi_label:
        yes = scaled.sigmoid()
        return torch.maximum(yes, 1.0 - yes), (yes >= 0.5).long()
    best = scaled.softmax(dim=-1).max(dim=-1)
    return best.values, best.indices


def _flat(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).flatten()
