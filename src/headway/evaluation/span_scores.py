"""How many spans a tagger finds: one counts where its words and its label are right (Tjong Kim Sang, De Meulder 2003).

Which spans tags stand for is said by corpus/tag_schemes.py, leniently (conlleval's way, seqeval's default) or strictly.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy

from headway.corpus.tag_schemes import Span, spans_of
from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import ByExample, Resampling, score_band
from headway.evaluation.classification_scores import Array, LabelScore, label_scores, macro_f1, micro_f1


@dataclass(frozen=True, kw_only=True)
class SpanScores:
    """Shares in 0..1; precision, recall and f1 pool all spans, macro_f1 is the mean over the labels that occur.

    spans: those to be found; predicted: those given. word_accuracy: the share of words with the right tag, None where
    spans were scored, not tags. f1_band: bootstrapped over sentences, holding `level`.
    """

    sentences: int
    spans: int
    predicted: int
    precision: float
    recall: float
    f1: float
    f1_band: tuple[float, float]
    macro_f1: float
    labels: tuple[str, ...]
    by_label: tuple[LabelScore, ...]
    word_accuracy: float | None
    strict: bool
    level: float


def score_tags(
    truth: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    scheme: str,
    *,
    strict: bool = False,
    resampling: Resampling | None = None,
) -> SpanScores:
    """Score the tags of sentences, one a word, by the spans they stand for in `scheme`.

    Raises UsageError where sentences or words differ in number, DataError for no sentence.
    """
    for number, (true, given) in enumerate(zip(truth, predicted, strict=False), start=1):
        if len(true) != len(given):
            raise UsageError(
                f"each word must have one tag, but sentence {number} has {len(true)} words, {len(given)} tags"
            )
    pairs = [(a, b) for true, given in zip(truth, predicted, strict=False) for a, b in zip(true, given, strict=True)]
    return _score(
        [spans_of(tags, scheme, strict=strict) for tags in truth],
        [spans_of(tags, scheme, strict=strict) for tags in predicted],
        word_accuracy=sum(true == given for true, given in pairs) / len(pairs) if pairs else None,
        strict=strict,
        resampling=resampling or Resampling(),
    )


def score_spans(
    truth: Sequence[Collection[Span]],
    predicted: Sequence[Collection[Span]],
    *,
    resampling: Resampling | None = None,
) -> SpanScores:
    """Score spans, a collection a sentence; one named twice counts once. Raises as score_tags does."""
    return _score(truth, predicted, word_accuracy=None, strict=False, resampling=resampling or Resampling())


def span_statistics(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str) -> ByExample:
    """The spans right, given and to be found in each sentence, read leniently, to compare two taggers by their F1."""
    true, given = ([spans_of(tags, scheme) for tags in sentences] for sentences in (truth, predicted))
    labels = sorted({span.label for spans in (*true, *given) for span in spans})
    counts = _statistics(true, given, labels).reshape(len(true), 3, -1).sum(axis=2)  # (N, 3)
    return ByExample(key="f1", unit="points of F1 of spans", values=counts, score=lambda sums: 100 * micro_f1(sums))


def _score(
    truth: Sequence[Collection[Span]],
    predicted: Sequence[Collection[Span]],
    *,
    word_accuracy: float | None,
    strict: bool,
    resampling: Resampling,
) -> SpanScores:
    if len(truth) != len(predicted):
        raise UsageError(f"each sentence must have predictions, but {len(truth)} have those of {len(predicted)}")
    if not truth:
        raise DataError("there is no sentence to score\nGive a file with at least one.")
    labels = tuple(sorted({span.label for spans in (*truth, *predicted) for span in spans}))
    statistics = _statistics(truth, predicted, labels)
    sums = statistics.sum(axis=0)
    right, given, true = (int(part.sum()) for part in numpy.split(sums, 3))
    band = score_band(statistics, micro_f1, resampling)
    return SpanScores(
        sentences=len(truth),
        spans=true,
        predicted=given,
        precision=right / max(given, 1),
        recall=right / max(true, 1),
        f1=band.mid,
        f1_band=(band.low, band.high),
        macro_f1=float(macro_f1(sums)),
        labels=labels,
        by_label=label_scores(sums, labels),
        word_accuracy=word_accuracy,
        strict=strict,
        level=resampling.level,
    )


def _statistics(
    truth: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]], labels: Sequence[str]
) -> Array:
    """(N, 3L): right, given and true spans of each label in each sentence."""
    places = {label: place for place, label in enumerate(labels)}
    found = numpy.zeros((len(truth), 3, max(1, len(labels))))
    for row, (true, given) in enumerate(zip(truth, predicted, strict=True)):
        for kind, spans in enumerate((set(true) & set(given), set(given), set(true))):
            for span in spans:
                found[row, kind, places[span.label]] += 1
    return found.reshape(len(truth), -1)
