"""Scores of the families with their noise: over seeds, over test sentences, by source length, and between families.

Every system is resampled on the same draws of sentences, so differences are paired.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy
from numpy.typing import NDArray

from headway.evaluation.bootstrap import Comparison, Resampling, Score, resampled_sums
from headway.evaluation.lengths import Bucket, length_buckets, source_lengths
from headway.evaluation.references import TestSet
from headway.evaluation.scores import SCORES, Statistics, translation_statistics
from headway.evaluation.translation import compare_statistics
from headway.studies.noise import Interval, difference_interval, mean_interval
from headway.studies.systems import System

Draws = NDArray[numpy.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class FamilyScore:
    """A family's score: the mean over its seeds; the interval is over seeds and sentences.

    With one seed there is no interval over seeds; interval is None, and sentences alone are drawn anew in
    sentence_interval.
    """

    mean: float
    seeds: tuple[float, ...]
    seed_deviation: float | None
    interval: Interval | None
    sentence_interval: Interval


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The score of `first` less that of `second`: the interval is None with one seed a family.

    pairings: the paired bootstrap over sentences of the models of equal seeds, which knows nothing of seeds.
    """

    first: str
    second: str
    value: float
    interval: Interval | None
    pairings: tuple[Comparison, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BucketScores:
    """The families' scores on the sentences with a source of low..high words."""

    low: int
    high: int
    mean_length: float
    sentences: int
    families: dict[str, FamilyScore]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything about one score, "bleu" or "chrf". growth: how the differences grow from the shortest sources to the
    longest, where there are two buckets or more. confidence: of the intervals between families, so that all of them
    together hold in 95 of 100 experiments (Bonferroni's correction)."""

    families: dict[str, FamilyScore]
    differences: tuple[Difference, ...]
    by_length: tuple[BucketScores, ...]
    growth: tuple[Difference, ...]
    confidence: float
    signature: str = ""
    sentence_scores: dict[str, tuple[float, ...]] = field(default_factory=dict)


class Scored:
    """The scores of systems on some sentences (or texts, or questions), and on resamples of them."""

    def __init__(self, score: Score, names: Sequence[str], each: Sequence[Draws], resampling: Resampling) -> None:
        """names: the family of each system; each: its statistics (N, K), of which sums are scored."""
        width = each[0].shape[1]
        sums = resampled_sums(numpy.concatenate(each, axis=1), resampling)  # (R, systems * K)
        self.values: dict[str, list[float]] = {}
        drawn: dict[str, list[Draws]] = {}
        for place, (name, own) in enumerate(zip(names, each, strict=True)):
            self.values.setdefault(name, []).append(float(score(own.sum(axis=0))))
            part = score(sums[:, place * width : (place + 1) * width])
            drawn.setdefault(name, []).append(part)
        self.drawn = {family: numpy.mean(parts, axis=0) for family, parts in drawn.items()}  # (R,) each

    def family(self, name: str) -> FamilyScore:
        values = self.values[name]
        low, high = numpy.quantile(self.drawn[name], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        mean = fmean(values)
        return FamilyScore(
            mean=mean,
            seeds=tuple(values),
            seed_deviation=stdev(values) if len(values) > 1 else None,
            interval=mean_interval(values, sentences=float(self.drawn[name].std()), confidence=CONFIDENCE),
            sentence_interval=Interval(value=mean, low=float(low), high=float(high)),
        )

    def difference(self, first: str, second: str, confidence: float) -> Interval | None:
        """Of first less second, over both's seeds."""
        spread = float((self.drawn[first] - self.drawn[second]).std())
        return difference_interval(self.values[first], self.values[second], sentences=spread, confidence=confidence)

    def distance(self, first: str, second: str, confidence: float) -> Interval | None:
        """Of first less second, where second is one system without seeds: only first's vary."""
        (given,) = self.values[second]
        spread = float((self.drawn[first] - self.drawn[second]).std())
        return mean_interval([value - given for value in self.values[first]], sentences=spread, confidence=confidence)


def score_all(systems: Sequence[System], test: TestSet, resampling: Resampling, *, least: int) -> dict[str, Scores]:
    """The scores of all systems by name, "bleu" and "chrf"; least: the fewest sentences of a bucket of lengths."""
    statistics = [translation_statistics(system.translations.texts, test.references) for system in systems]
    lengths = source_lengths(test.sources)
    buckets = length_buckets(lengths, least=least)
    names = list(dict.fromkeys(system.family for system in systems))
    couples = list(itertools.combinations(names, 2))
    claims = len(couples) * (2 if len(buckets) > 1 else 1)
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(claims, 1)
    pairings = {couple: _pairings(couple, systems, statistics, resampling) for couple in couples}
    found = {}
    for score in SCORES:
        whole = _scored(score, systems, statistics, resampling)
        parts = [_scored(score, systems, _only(statistics, bucket), resampling) for bucket in buckets]
        found[score] = Scores(
            families={name: whole.family(name) for name in names},
            differences=tuple(
                Difference(
                    first=first,
                    second=second,
                    value=fmean(whole.values[first]) - fmean(whole.values[second]),
                    interval=whole.difference(first, second, confidence),
                    pairings=tuple(comparison[score] for comparison in pairings[first, second]),
                )
                for first, second in couples
            ),
            by_length=tuple(
                BucketScores(
                    low=bucket.low,
                    high=bucket.high,
                    mean_length=float(lengths[bucket.members].mean()),
                    sentences=len(bucket.members),
                    families={name: part.family(name) for name in names},
                )
                for bucket, part in zip(buckets, parts, strict=True)
            ),
            growth=tuple(_growth(couple, parts, confidence) for couple in couples) if len(parts) > 1 else (),
            confidence=confidence,
            signature=statistics[0].signatures[score],
            sentence_scores=_sentence_scores(score, systems, statistics),
        )
    return found


def _scored(score: str, systems: Sequence[System], statistics: Sequence[Statistics], resampling: Resampling) -> Scored:
    names = [system.family for system in systems]
    return Scored(SCORES[score], names, [found.of(score) for found in statistics], resampling)


def _growth(couple: tuple[str, str], parts: Sequence[Scored], confidence: float) -> Difference:
    """How much larger the difference is on the longest sources than on the shortest, seed by seed.

    The two buckets have no sentence in common, so the variances of their resamples add.
    """
    first, second = couple
    short, long = parts[0], parts[-1]
    changes = {
        name: [after - before for before, after in zip(short.values[name], long.values[name], strict=True)]
        for name in couple
    }
    spread = sum(float((part.drawn[first] - part.drawn[second]).var()) for part in (short, long)) ** 0.5
    return Difference(
        first=first,
        second=second,
        value=fmean(changes[first]) - fmean(changes[second]),
        interval=difference_interval(changes[first], changes[second], sentences=spread, confidence=confidence),
    )


def _pairings(
    couple: tuple[str, str], systems: Sequence[System], statistics: Sequence[Statistics], resampling: Resampling
) -> list[dict[str, Comparison]]:
    """The paired bootstrap of the models of equal seeds, by seed; the difference is the first's less the second's."""
    by_seed: dict[int, dict[str, Statistics]] = {}
    for system, own in zip(systems, statistics, strict=True):
        by_seed.setdefault(system.result.seed, {})[system.family] = own
    both = [found for _, found in sorted(by_seed.items()) if all(name in found for name in couple)]
    return [compare_statistics(found[couple[1]], found[couple[0]], resampling) for found in both]


def _sentence_scores(
    score: str, systems: Sequence[System], statistics: Sequence[Statistics]
) -> dict[str, tuple[float, ...]]:
    """Each family's first model, sentence by sentence."""
    found: dict[str, tuple[float, ...]] = {}
    for system, own in zip(systems, statistics, strict=True):
        if system.family not in found:
            found[system.family] = tuple(float(value) for value in SCORES[score](own.of(score)))
    return found


def _only(statistics: Sequence[Statistics], bucket: Bucket) -> list[Statistics]:
    return [
        Statistics(bleu=own.bleu[bucket.members], chrf=own.chrf[bucket.members], signatures=own.signatures)
        for own in statistics
    ]
