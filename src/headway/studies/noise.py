"""What lies inside the noise of an experiment, and what outside: intervals over seeds and over test sentences.

Two things would come out otherwise if the experiment were done again: the seeds (first weights, order, dropout), whose
spread is estimated from the runs, and the test sentences, whose spread is estimated by the bootstrap (Koehn 2004).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

import numpy

_NORMAL_FROM = 10_000  # degrees of freedom from which Student's distribution is the normal one


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the bounds between which it lies with the confidence asked for."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign is certain."""
        return self.low > 0.0 or self.high < 0.0


def student(freedom: float, confidence: float) -> float:
    """The t with P(|T| < t) = confidence for Student's distribution; freedom: its degrees of freedom, 1 or more.

    With t = sqrt(freedom) * tan(angle) its density is cos(angle)**(freedom - 1), which is integrated on a grid.
    """
    if freedom >= _NORMAL_FROM:
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    angle = numpy.linspace(0.0, math.pi / 2, 50_001)
    density = numpy.cos(angle) ** (freedom - 1.0)
    mass = numpy.concatenate([[0.0], numpy.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(numpy.interp(confidence * mass[-1], mass, angle)))


def mean_interval(values: Sequence[float], *, sentences: float = 0.0, confidence: float = 0.95) -> Interval | None:
    """The mean of one score a seed, and its interval; None for one seed alone, whose noise nobody knows.

    sentences: the standard deviation of that mean by the choice of test sentences (0: the sentences are given).
    """
    return _interval(fmean(values), [values], sentences, confidence)


def difference_interval(
    first: Sequence[float], second: Sequence[float], *, sentences: float = 0.0, confidence: float = 0.95
) -> Interval | None:
    """Mean of `first` less mean of `second`, one score a seed, and its interval (Welch 1947); None without two seeds.

    sentences: the standard deviation of that difference by the choice of test sentences.
    """
    return _interval(fmean(first) - fmean(second), [first, second], sentences, confidence)


def _interval(value: float, groups: Sequence[Sequence[float]], sentences: float, confidence: float) -> Interval | None:
    """The variances of the means and of the sentences add; the degrees of freedom are Welch and Satterthwaite's."""
    if min(map(len, groups)) < 2:
        return None
    parts = [(variance(values) / len(values), len(values) - 1) for values in groups]
    total = sum(part for part, _ in parts) + sentences**2
    if total == 0.0:
        return Interval(value=value, low=value, high=value)
    uncertain = sum(part**2 / freedom for part, freedom in parts)
    freedom = total**2 / uncertain if uncertain > total**2 / _NORMAL_FROM else float(_NORMAL_FROM)
    reach = student(freedom, confidence) * math.sqrt(total)
    return Interval(value=value, low=value - reach, high=value + reach)
