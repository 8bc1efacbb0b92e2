"""How good answers are that stand in a text: exact match and F1 as SQuAD defines them.

Rajpurkar et al. 2016, section 6.1 (version 1.1), and 2018, section 5 (version 2.0, with questions that have no answer).
Both compare words after lower-casing and without punctuation and articles, and take the best of several right answers.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy

from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import ByExample, Resampling, percent, score_band
from headway.evaluation.classification_scores import Array

Version = Literal["1.1", "2.0"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII's alone, as the definition has it


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """Shares in 0..1, over all questions, over those that have an answer, and over those that have none.

    The last two are None where there is no such question. best_exact_match, best_f1: what the best threshold on the
    score of no answer would give, and those thresholds; None unless such scores were given and some questions have no
    answer. Chosen on this very file, they are a bound, not a result. Bands hold `level` (bootstrap over questions).
    """

    examples: int
    version: Version
    exact_match: float
    exact_match_band: tuple[float, float]
    f1: float
    f1_band: tuple[float, float]
    answerable: int
    exact_match_answerable: float | None
    f1_answerable: float | None
    unanswerable: int
    exact_match_unanswerable: float | None
    best_exact_match: float | None
    best_exact_match_threshold: float | None
    best_f1: float | None
    best_f1_threshold: float | None
    level: float


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation and the words a, an, the; blanks single."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str], version: Version = "2.0") -> float:
    """1.0 where the prediction is one of the answers once both are normalised, else 0.0; an empty one means none."""
    return _best(_equal, prediction, answers, version)


def answer_f1(prediction: str, answers: Sequence[str], version: Version = "2.0") -> float:
    """F1 of the prediction's words, the best over the answers; an empty prediction means that there is no answer.

    Where nothing is left of one of the two, version 1.1 gives 0 and version 2.0 gives 1 if nothing is left of both.
    """
    return _best(_overlap_of_empty if version == "2.0" else _overlap, prediction, answers, version)


def score_answers(
    predictions: Sequence[str],
    answers: Sequence[Sequence[str]],
    *,
    unforced: Sequence[tuple[str, float]] | None = None,
    version: Version | None = None,
    resampling: Resampling | None = None,
) -> QuestionScores:
    """Score one prediction a question against its answers; an empty prediction, or no answers, means none.

    unforced: for each question the best answer there would be if there were one, and the score of none above it, from
    which the best thresholds come. version: None takes 2.0 where a question has no answer, else 1.1. Raises DataError
    for no question, UsageError for unequal numbers.
    """
    if len(predictions) != len(answers) or (unforced is not None and len(unforced) != len(answers)):
        raise UsageError(f"each question must have one prediction, but {len(answers)} have {len(predictions)}")
    if not answers:
        raise DataError("there is no question to score\nGive a file with at least one.")
    resampling = resampling or Resampling()
    has = numpy.array([bool(_right_answers(given, "2.0")[0]) for given in answers])
    version = version or ("1.1" if has.all() else "2.0")
    found = _each(predictions, answers, version)
    exact = score_band(found, lambda sums: sums[..., 0] / sums[..., 2], resampling)
    f1 = score_band(found, lambda sums: sums[..., 1] / sums[..., 2], resampling)
    best: tuple[tuple[float, float] | None, ...] = (None, None)
    if unforced is not None and not has.all():
        scores = numpy.array([score for _, score in unforced])
        kinds = (exact_match, answer_f1)
        best = tuple(
            best_threshold(
                numpy.array([score(text, right) for (text, _), right in zip(unforced, answers, strict=True)]),
                scores,
                has,
            )
            for score in kinds
        )
    return QuestionScores(
        examples=len(answers),
        version=version,
        exact_match=exact.mid,
        exact_match_band=(exact.low, exact.high),
        f1=f1.mid,
        f1_band=(f1.low, f1.high),
        answerable=int(has.sum()),
        exact_match_answerable=_mean(found[has, 0]),
        f1_answerable=_mean(found[has, 1]),
        unanswerable=int((~has).sum()),
        exact_match_unanswerable=_mean(found[~has, 0]),
        best_exact_match=None if best[0] is None else best[0][0],
        best_exact_match_threshold=None if best[0] is None else best[0][1],
        best_f1=None if best[1] is None else best[1][0],
        best_f1_threshold=None if best[1] is None else best[1][1],
        level=resampling.level,
    )


def answer_statistics(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], version: Version
) -> tuple[ByExample, ByExample]:
    """Exact match and F1 question by question, to compare two systems by."""
    found = _each(predictions, answers, version)
    return (
        ByExample(key="exact_match", unit="points of exact match", values=found[:, [0, 2]], score=percent),
        ByExample(key="f1", unit="points of F1", values=found[:, [1, 2]], score=percent),
    )


def best_threshold(scores: Array, no_answer: Array, answerable: Array) -> tuple[float, float]:
    """The best mean score by a threshold on the score of no answer, and that threshold.

    scores (N,): of the answers given if there is to be one; no_answer (N,): the higher, the less there seems to be one;
    answerable (N,) bool. Questions with no_answer above the threshold get none, which is right where none is.
    """
    order = numpy.argsort(no_answer, kind="stable")
    sure = no_answer[order]
    gains = numpy.where(answerable, scores, scores - 1.0)[order]  # by answering, against answering none
    totals = numpy.concatenate([[0.0], numpy.cumsum(gains)]) + float(numpy.count_nonzero(~answerable))
    apart = numpy.concatenate([[True], sure[1:] != sure[:-1], [True]])  # a threshold does not part equal scores
    best = int(numpy.argmax(numpy.where(apart, totals, -numpy.inf)))
    return float(totals[best]) / len(scores), float(sure[best - 1]) if best else float(sure[0]) - 1.0


def _each(predictions: Sequence[str], answers: Sequence[Sequence[str]], version: Version) -> Array:
    """(N, 3): exact match, F1, and 1."""
    return numpy.array(
        [
            (exact_match(prediction, right, version), answer_f1(prediction, right, version), 1.0)
            for prediction, right in zip(predictions, answers, strict=True)
        ]
    )


def _best(score: Callable[[str, str], float], prediction: str, answers: Sequence[str], version: Version) -> float:
    return max(score(normalised(prediction), normalised(answer)) for answer in _right_answers(answers, version))


def _right_answers(answers: Sequence[str], version: Version) -> Sequence[str]:
    """Version 2.0 passes over answers of which nothing is left; without one, the right answer is none."""
    if version == "1.1" and answers:
        return answers
    return [answer for answer in answers if normalised(answer)] or [""]


def _equal(prediction: str, answer: str) -> float:
    return float(prediction == answer)


def _overlap(prediction: str, answer: str) -> float:
    given, right = prediction.split(), answer.split()
    common = (Counter(given) & Counter(right)).total()
    return 2.0 * common / (len(given) + len(right)) if common else 0.0


def _overlap_of_empty(prediction: str, answer: str) -> float:
    return _overlap(prediction, answer) if prediction and answer else _equal(prediction, answer)


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None
