"""How often a classifier is right, label by label, and whether its probabilities can be believed.

Precision, recall and F1 (van Rijsbergen 1979); where nothing was predicted or nothing was to be found they are 0, as
scikit-learn has them with zero_division=0.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy

from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import Band, Resampling, score_band
from headway.models.calibration import expected_calibration_error

Array = numpy.ndarray[Any, Any]

BINS = 15
"""Bins of equal width in the reliability table (Guo et al. 2017, section 2)."""


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """One label's scores; examples: those that have it; predicted: those that were given it."""

    label: str
    precision: float
    recall: float
    f1: float
    examples: int
    predicted: int


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The examples whose confidence lies in (low, high]: its mean, and the share that was right."""

    low: float
    high: float
    examples: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """One label a text: all shares lie in 0..1.

    macro_f1: the mean over the labels that occur in the truth or among the predictions. confusion: one row a true
    label, one column a predicted one, both in the order of `labels`. calibration_error: expected, in 15 bins (Guo et
    al. 2017); None where no confidence was given. Bands hold `level`: accuracy's is Wilson's, macro_f1's bootstrapped.
    """

    examples: int
    accuracy: float
    accuracy_band: tuple[float, float]
    macro_f1: float
    macro_f1_band: tuple[float, float]
    labels: tuple[str, ...]
    by_label: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float | None
    reliability: tuple[ReliabilityBin, ...]
    level: float


@dataclass(frozen=True, kw_only=True)
class LabelSetScores:
    """Several labels a text: subset_accuracy counts a text as right where all its labels are, and no other.

    micro_f1 pools all labels' decisions; macro_f1 as in ClassificationScores; calibration_error counts each label of
    each text as a decision. Bands are bootstrapped over texts, but for subset_accuracy's, which is Wilson's.
    """

    examples: int
    subset_accuracy: float
    subset_accuracy_band: tuple[float, float]
    micro_f1: float
    micro_f1_band: tuple[float, float]
    macro_f1: float
    macro_f1_band: tuple[float, float]
    labels: tuple[str, ...]
    by_label: tuple[LabelScore, ...]
    calibration_error: float | None
    level: float


def score_classes(
    truth: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    *,
    confidences: Sequence[float] | Array | None = None,
    resampling: Resampling | None = None,
) -> ClassificationScores:
    """Score predictions, one label a text; confidences (N,): the probability of each predicted label.

    Raises DataError for no example and for a label that is not among `labels`, UsageError for unequal numbers.
    """
    resampling = resampling or Resampling()
    _check_numbers(truth, predicted)
    places = {label: place for place, label in enumerate(labels)}
    check_labels(truth, labels)
    check_labels(predicted, labels)
    true = numpy.array([places[label] for label in truth])
    given = numpy.array([places[label] for label in predicted])
    confusion = numpy.zeros((len(labels), len(labels)), dtype=numpy.int64)
    numpy.add.at(confusion, (true, given), 1)
    one_of = numpy.eye(len(labels))
    statistics = label_statistics(one_of[true], one_of[given])
    correct = true == given
    macro = score_band(statistics, macro_f1, resampling)
    reliability = () if confidences is None else reliability_table(confidences, correct)
    return ClassificationScores(
        examples=len(true),
        accuracy=float(correct.mean()),
        accuracy_band=_ends(accuracy_interval(correct, level=resampling.level)),
        macro_f1=macro.mid,
        macro_f1_band=_ends(macro),
        labels=tuple(labels),
        by_label=label_scores(statistics.sum(axis=0), labels),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        calibration_error=None if confidences is None else expected_calibration_error(confidences, correct, BINS),
        reliability=reliability,
        level=resampling.level,
    )


def score_label_sets(
    truth: Sequence[Collection[str]],
    predicted: Sequence[Collection[str]],
    labels: Sequence[str],
    *,
    probabilities: Array | None = None,
    resampling: Resampling | None = None,
) -> LabelSetScores:
    """Score predictions of several labels a text; probabilities (N, L). Raises as score_classes does."""
    resampling = resampling or Resampling()
    _check_numbers(truth, predicted)
    for chosen in (*truth, *predicted):
        check_labels(chosen, labels)
    true, given = _indicators(truth, labels), _indicators(predicted, labels)
    statistics = label_statistics(true, given)
    correct = (true == given).all(axis=1)
    micro, macro = score_band(statistics, micro_f1, resampling), score_band(statistics, macro_f1, resampling)
    return LabelSetScores(
        examples=len(true),
        subset_accuracy=float(correct.mean()),
        subset_accuracy_band=_ends(accuracy_interval(correct, level=resampling.level)),
        micro_f1=micro.mid,
        micro_f1_band=_ends(micro),
        macro_f1=macro.mid,
        macro_f1_band=_ends(macro),
        labels=tuple(labels),
        by_label=label_scores(statistics.sum(axis=0), labels),
        calibration_error=None if probabilities is None else _decisions_error(probabilities, true),
        level=resampling.level,
    )


def check_labels(found: Collection[str], labels: Sequence[str], place: str = "the file") -> None:
    """Raises DataError naming the labels found that are not among those the model knows."""
    unknown = sorted(set(found) - set(labels))
    if unknown:
        raise DataError(
            f"every label must be one the model knows, but {place} has {_some(unknown)}\n"
            f"It knows {_some(list(labels))}.\n"
            "Mend the labels, or train a model on data that has them."
        )


def label_statistics(truth: Array, predicted: Array) -> Array:
    """Indicators (N, L) of 0 and 1, twice -> (N, 3L): right, given and true, for the bootstrap."""
    return numpy.concatenate([truth * predicted, predicted, truth], axis=1)


def macro_f1(sums: Array) -> Array:
    """From sums (..., 3L) of label_statistics to (...): the mean over labels that are true or given somewhere."""
    right, given, true = numpy.split(sums, 3, axis=-1)
    occurs = given + true > 0
    f1 = 2 * right / numpy.maximum(given + true, 1)
    found: Array = f1.sum(axis=-1) / numpy.maximum(occurs.sum(axis=-1), 1)
    return found


def micro_f1(sums: Array) -> Array:
    """From sums (..., 3L) of label_statistics to (...)."""
    right, given, true = (part.sum(axis=-1) for part in numpy.split(sums, 3, axis=-1))
    found: Array = 2 * right / numpy.maximum(given + true, 1)
    return found


def label_scores(sums: Array, labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """From sums (3L,) of right, given and true, the scores of each label."""
    right, given, true = numpy.split(sums, 3)
    return tuple(
        LabelScore(
            label=label,
            precision=float(right[place] / max(given[place], 1)),
            recall=float(right[place] / max(true[place], 1)),
            f1=float(2 * right[place] / max(given[place] + true[place], 1)),
            examples=int(true[place]),
            predicted=int(given[place]),
        )
        for place, label in enumerate(labels)
    )


def accuracy_interval(correct: Sequence[bool] | Array, *, level: float = 0.95) -> Band:
    """The share of examples that are right and its interval by the choice of examples (Wilson 1927).

    Unlike a bootstrap it is wide for few examples that are all right. Raises DataError for no example.
    """
    n_examples = len(correct)
    if n_examples == 0:
        raise DataError("there is no example to score\nGive a file with at least one.")
    share = float(numpy.asarray(correct, dtype=numpy.float64).mean())
    z = NormalDist().inv_cdf(0.5 + level / 2)
    shrunk = 1 + z**2 / n_examples
    middle = (share + z**2 / (2 * n_examples)) / shrunk
    reach = z / shrunk * math.sqrt(share * (1 - share) / n_examples + z**2 / (4 * n_examples**2))
    return Band(max(0.0, min(share, middle - reach)), share, min(1.0, max(share, middle + reach)))


def reliability_table(
    confidences: Sequence[float] | Array, correct: Sequence[bool] | Array
) -> tuple[ReliabilityBin, ...]:
    """The bins that have examples; confidences (N,) in 0..1, correct (N,)."""
    values, right = numpy.asarray(confidences, dtype=numpy.float64), numpy.asarray(correct, dtype=numpy.float64)
    bins = numpy.clip(numpy.ceil(values * BINS).astype(int) - 1, 0, BINS - 1)
    counts = numpy.bincount(bins, minlength=BINS)
    sums, rights = numpy.bincount(bins, values, BINS), numpy.bincount(bins, right, BINS)
    return tuple(
        ReliabilityBin(
            low=place / BINS,
            high=(place + 1) / BINS,
            examples=int(counts[place]),
            confidence=float(sums[place] / counts[place]),
            accuracy=float(rights[place] / counts[place]),
        )
        for place in range(BINS)
        if counts[place]
    )


def _decisions_error(probabilities: Array, truth: Array) -> float:
    """Each label is given or not: the confidence is that of the likelier of the two."""
    given = probabilities >= 0.5
    return expected_calibration_error(numpy.maximum(probabilities, 1 - probabilities), given == (truth > 0), BINS)


def _indicators(sets: Sequence[Collection[str]], labels: Sequence[str]) -> Array:
    places = {label: place for place, label in enumerate(labels)}
    found = numpy.zeros((len(sets), len(labels)))
    for row, chosen in enumerate(sets):
        found[row, [places[label] for label in chosen]] = 1.0
    return found


def _check_numbers(truth: Sequence[object], predicted: Sequence[object]) -> None:
    if len(truth) != len(predicted):
        raise UsageError(
            f"each example must have one prediction, but there are {len(truth)} examples and {len(predicted)}"
            " predictions"
        )
    if not truth:
        raise DataError("there is no example to score\nGive a file with at least one.")


def _ends(band: Band) -> tuple[float, float]:
    return band.low, band.high


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8:,} more"
