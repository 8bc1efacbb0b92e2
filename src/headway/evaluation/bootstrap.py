"""How far a score can be trusted: bands and differences by resampling sentences.

A score is a function of sums over sentences (sufficient statistics), so a resample is a weighted sum and a thousand of
them are one matrix product; nothing is scored again. Bands are percentile intervals (Efron and Tibshirani 1993).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from headway.errors import ConfigError, UsageError

Array = numpy.ndarray[Any, Any]

Score = Callable[[Array], Array]
"""From sums of statistics (..., K) to scores (...)."""

_AT_ONCE = 2**22  # draws held at once: 32 MB


class Band(NamedTuple):
    """A value on all the sentences, and the interval its resamples leave."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How to resample: how often, from which seed, and the share of the resamples that an interval holds."""

    resamples: int = 1000
    seed: int = 1
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ConfigError(f"resamples must be at least 1, but got {self.resamples}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, but got {self.seed}")
        if not 0.0 < self.level < 1.0:
            raise ConfigError(f"level must be between 0 and 1, but got {self.level}")


@dataclass(frozen=True, kw_only=True)
class ByExample:
    """What a score of a system is a function of: statistics (N, K) of the N examples, and the score of their sums.

    key: the score's name in tables; unit: what its differences are called in a verdict.
    """

    key: str
    unit: str
    values: Array
    score: Score


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two systems on the same sentences: each one's band, and that of the second's score less the first's.

    p_bootstrap: two-sided, twice the share of resamples (Koehn 2004) in which the difference has not the sign it has
    on the whole. p_randomisation: the share of random exchanges of the two systems' translations that leave a
    difference at least as large (Riezler and Maxwell 2005). wins: the share of resamples in which the second is
    better. decided: whether a claim holds: zero lies outside the interval and both p are at most 1 - level.
    """

    first: Band
    second: Band
    difference: Band
    wins: float
    p_bootstrap: float
    p_randomisation: float
    decided: bool
    level: float

    def table(self, verdict: str) -> dict[str, Any]:
        """The second's score less the first's, as `headway evaluate --json` has it."""
        return {
            "difference": self.difference.mid,
            "difference_band": [self.difference.low, self.difference.high],
            "p_bootstrap": self.p_bootstrap,
            "p_randomisation": self.p_randomisation,
            "decided": self.decided,
            "verdict": verdict,
        }

    def verdict(self, first: str, second: str, score: str) -> str:
        """What can be said of the two systems in one sentence; inside the noise, that nothing can."""
        low, mid, high = self.difference
        share = f"{100 * self.level:g} %"
        if not self.decided:
            return (
                f"no verdict: the difference of {mid:+.2f} {score} between {second} and {first} lies inside the noise "
                f"({share} interval {low:+.2f} to {high:+.2f}, p = {max(self.p_bootstrap, self.p_randomisation):.3f})"
            )
        better, worse = (second, first) if mid > 0 else (first, second)
        near, far = sorted((abs(low), abs(high)))
        return (
            f"{better} is better than {worse} by {abs(mid):.2f} {score} "
            f"({share} interval {near:.2f} to {far:.2f}, p = {max(self.p_bootstrap, self.p_randomisation):.3f})"
        )


def percent(sums: Array) -> Array:
    """From sums (..., 2) to (...): how many in a hundred the first is of the second."""
    found: Array = 100 * sums[..., 0] / sums[..., 1]
    return found


def resampled_sums(statistics: Array, resampling: Resampling) -> Array:
    """The sums (R, K) of the statistics (N, K) of R resamples of N sentences each, drawn with replacement.

    The draws depend on N, the number of resamples and the seed alone. Systems stand side by side in the columns where
    they are to be compared on the same draws. Raises UsageError where there is no sentence.
    """
    n_sentences = len(statistics)
    if n_sentences == 0:
        raise UsageError("there is no sentence to resample\nGive a test set with at least one sentence.")
    generator = numpy.random.default_rng(resampling.seed)
    values = statistics.astype(numpy.float64)
    parts = []
    for rows in _rows_at_once(resampling.resamples, n_sentences):
        drawn = generator.integers(0, n_sentences, size=(rows, n_sentences))
        drawn += numpy.arange(rows)[:, None] * n_sentences  # each row counts in a stretch of its own
        counts = numpy.bincount(drawn.ravel(), minlength=rows * n_sentences).reshape(rows, n_sentences)
        parts.append(counts.astype(numpy.float64) @ values)
    return numpy.concatenate(parts)  # (R, K)


def score_band(statistics: Array, score: Score, resampling: Resampling) -> Band:
    """The score of statistics (N, K) with its bootstrap band. Raises UsageError where there is no sentence."""
    drawn = score(resampled_sums(statistics, resampling))
    return interval(float(score(statistics.sum(axis=0))), drawn, resampling.level)


def interval(value: float, drawn: Array, level: float) -> Band:
    """The band of a value whose resamples are `drawn` (R,); the ends are values drawn, the outer ones of two."""
    tail = (1.0 - level) / 2
    low = float(numpy.quantile(drawn, tail, method="lower"))
    high = float(numpy.quantile(drawn, 1.0 - tail, method="higher"))
    return Band(low, value, high)


def compare_paired(first: Array, second: Array, score: Score, resampling: Resampling) -> Comparison:
    """Compare two systems by their statistics (N, K) on the same N sentences, in the same order.

    Raises UsageError where they have not the same number of sentences, or none.
    """
    if first.shape != second.shape:
        raise UsageError(
            f"two systems are compared on the same sentences, but one has {len(first)} and the other {len(second)}\n"
            "Score both on the same test set."
        )
    width = first.shape[1]
    sums = resampled_sums(numpy.concatenate([first, second], axis=1), resampling)
    drawn_first, drawn_second = score(sums[:, :width]), score(sums[:, width:])
    value_first, value_second = float(score(first.sum(axis=0))), float(score(second.sum(axis=0)))
    difference = interval(value_second - value_first, drawn_second - drawn_first, resampling.level)
    p_bootstrap = _two_sided(drawn_second - drawn_first)
    p_randomisation = randomisation_p(first, second, score, resampling)
    noise = 1.0 - resampling.level + 1e-12
    return Comparison(
        first=interval(value_first, drawn_first, resampling.level),
        second=interval(value_second, drawn_second, resampling.level),
        difference=difference,
        wins=float(numpy.mean(drawn_second > drawn_first)),
        p_bootstrap=p_bootstrap,
        p_randomisation=p_randomisation,
        decided=(difference.low > 0 or difference.high < 0) and max(p_bootstrap, p_randomisation) <= noise,
        level=resampling.level,
    )


def randomisation_p(first: Array, second: Array, score: Score, resampling: Resampling) -> float:
    """Approximate randomisation: how often exchanging translations at random leaves as large a difference.

    The statistics are (N, K); the trial that exchanges nothing counts too, so p is never zero.
    """
    sum_first, sum_second = first.sum(axis=0), second.sum(axis=0)
    observed = abs(float(score(sum_second)) - float(score(sum_first)))
    apart = second.astype(numpy.float64) - first
    generator = numpy.random.default_rng(resampling.seed)
    as_large = 0
    for rows in _rows_at_once(resampling.resamples, len(first)):
        exchanged = generator.integers(0, 2, size=(rows, len(first)), dtype=numpy.int8).astype(numpy.float64)
        moved = exchanged @ apart  # (rows, K)
        drawn = numpy.abs(score(sum_second - moved) - score(sum_first + moved))
        as_large += int(numpy.count_nonzero(drawn >= observed - 1e-9))  # equal but for rounding counts as equal
    return (as_large + 1) / (resampling.resamples + 1)


def _two_sided(drawn: Array) -> float:
    smaller = min(numpy.count_nonzero(drawn <= 0), numpy.count_nonzero(drawn >= 0))
    return min(1.0, 2 * (int(smaller) + 1) / (len(drawn) + 1))


def _rows_at_once(resamples: int, n_sentences: int) -> Iterator[int]:
    rows = max(1, _AT_ONCE // max(1, n_sentences))
    for part in range(math.ceil(resamples / rows)):
        yield min(rows, resamples - part * rows)
