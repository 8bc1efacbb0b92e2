"""How good texts' vectors are: whether a text's partner is the nearest of all, and whether likeness follows judgements.

Retrieval as in Henderson et al. 2017; Spearman's rank correlation with people's scores as in the STS shared tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from headway.errors import DataError
from headway.evaluation.bootstrap import ByExample, Resampling, percent
from headway.evaluation.classification_scores import accuracy_interval

Array = numpy.ndarray[Any, Any]

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class RetrievalScores:
    """Of each pair the second text is looked for among all second texts, and the first among the first.

    retrieval_accuracy: the share of both whose nearest is the partner, or equal to it letter by letter;
    mean_reciprocal_rank: the mean of 1 / rank of the partner. The band is Wilson's, holding `level`.
    """

    pairs: int
    retrieval_accuracy: float
    retrieval_accuracy_band: tuple[float, float]
    mean_reciprocal_rank: float
    level: float


@dataclass(frozen=True, kw_only=True)
class LikenessScores:
    """The rank correlation of cosines with judgements."""

    pairs: int
    spearman: float


def score_retrieval(
    firsts: Array, seconds: Array, texts: Sequence[tuple[str, str]], *, resampling: Resampling | None = None
) -> RetrievalScores:
    """Score vectors (N, D) of the first and the second texts of pairs. Raises DataError for fewer than two pairs."""
    level = (resampling or Resampling()).level
    if len(texts) < 2:
        raise DataError(f"a partner is looked for among others, but there are {len(texts)} pairs\nGive two or more.")
    ranks = _both_ways(firsts, seconds, texts)
    band = accuracy_interval(ranks == 1, level=level)
    return RetrievalScores(
        pairs=len(texts),
        retrieval_accuracy=band.mid,
        retrieval_accuracy_band=(band.low, band.high),
        mean_reciprocal_rank=float((1.0 / ranks).mean()),
        level=level,
    )


def retrieval_statistics(firsts: Array, seconds: Array, texts: Sequence[tuple[str, str]]) -> ByExample:
    """How often the partner is nearest, of both ways, for each pair, to compare two models by."""
    nearest = (_both_ways(firsts, seconds, texts) == 1).reshape(2, -1).sum(axis=0)  # (N,)
    values = numpy.stack([nearest, numpy.full(len(texts), 2)], axis=1)  # (N, 2)
    return ByExample(
        key="retrieval_accuracy",
        unit="points of partners nearest",
        values=values,
        score=percent,
    )


def score_likeness(firsts: Array, seconds: Array, judgements: Sequence[float]) -> LikenessScores:
    """Spearman's correlation of the cosines of (N, D) and (N, D) with N judgements, ties having their mean rank.

    Raises DataError where the judgements are all the same.
    """
    cosines = (_unit(firsts) * _unit(seconds)).sum(axis=1)
    mine, theirs = _mean_ranks(cosines), _mean_ranks(numpy.asarray(judgements, dtype=numpy.float64))
    if theirs.std() == 0.0:
        raise DataError(
            "the scores of pairs must differ, but all are the same\nGive pairs that are more and less alike."
        )
    together = ((mine - mine.mean()) * (theirs - theirs.mean())).mean()
    return LikenessScores(pairs=len(judgements), spearman=float(together / max(mine.std() * theirs.std(), 1e-12)))


def _both_ways(firsts: Array, seconds: Array, texts: Sequence[tuple[str, str]]) -> Array:
    """(2N,) the ranks of the second texts, then of the first."""
    return numpy.concatenate(
        [
            _ranks(_unit(firsts), _unit(seconds), [second for _, second in texts]),
            _ranks(_unit(seconds), _unit(firsts), [first for first, _ in texts]),
        ]
    )


def _unit(vectors: Array) -> Array:
    exact = vectors.astype(numpy.float64)
    found: Array = exact / numpy.maximum(numpy.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
    return found


def _ranks(queries: Array, documents: Array, texts: Sequence[str]) -> Array:
    """The rank, from 1, of each query's own document; documents with its text are as good."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    same = numpy.array([numbers[text] for text in texts])
    found = []
    for begin in range(0, len(queries), _ROWS_AT_ONCE):
        likeness = queries[begin : begin + _ROWS_AT_ONCE] @ documents.T  # (R, N)
        mine = same[begin : begin + _ROWS_AT_ONCE, None] == same
        own = numpy.where(mine, likeness, -numpy.inf).max(axis=1)
        found.append(1 + ((likeness > own[:, None]) & ~mine).sum(axis=1))
    return numpy.concatenate(found)


def _mean_ranks(values: Array) -> Array:
    _, places, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ends = numpy.cumsum(counts)
    found: Array = (ends - (counts - 1) / 2.0)[places]
    return found
