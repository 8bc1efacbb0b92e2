"""BLEU (Papineni and others 2002) and chrF (Popovic 2015) as sacreBLEU computes them (Post 2018), sentence by sentence.

sacreBLEU counts; the two functions here turn sums of its counts into scores for many resamples at once, and a test
holds them equal to sacreBLEU's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy

from headway.errors import ConfigError, DataError
from headway.evaluation.bootstrap import Score

Array = numpy.ndarray[Any, Any]

TOKENIZATIONS = ("13a", "intl", "zh", "char", "none")
"""sacreBLEU's ways to split words that need neither a download nor another package."""

BLEU_ORDER = 4
CHRF_ORDER = 6
CHRF_BETA = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """What each of N translations adds to the scores.

    bleu (N, 10): translation's words, reference's words, matches of 1 to 4 words, and all of 1 to 4 words. chrf
    (N, 18): for 1 to 6 characters, those of the translation, of the reference that fits best, and the matches.
    signatures: sacreBLEU's, by score.
    """

    bleu: Array
    chrf: Array
    signatures: Mapping[str, str]

    def of(self, score: str) -> Array:
        """The statistics of the score of that name, "bleu" or "chrf"."""
        return self.bleu if score == "bleu" else self.chrf


def translation_statistics(
    translations: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = "13a"
) -> Statistics:
    """Count with sacreBLEU: references[i] are those of translations[i], one at least; tokenize is BLEU's alone.

    Where sentences have different numbers of references the gaps are None, which sacreBLEU leaves out; an empty
    string would count as a reference of length 0. Its signature then says nrefs:var. Raises ConfigError for another
    tokenize, DataError where the numbers of translations and sentences differ.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    if tokenize not in TOKENIZATIONS:
        raise ConfigError(f"tokenize must be one of {', '.join(TOKENIZATIONS)}, but got {tokenize!r}")
    if len(translations) != len(references):
        raise DataError(
            f"every sentence must have one translation, but there are {len(translations)} translations "
            f"of {len(references)} sentences\nGive one line for each distinct source, in the order of the test set."
        )
    bleu, chrf = BLEU(tokenize=tokenize), CHRF(char_order=CHRF_ORDER, beta=CHRF_BETA)
    padded: list[Any] = list(zip_longest(*references))  # None is allowed, though sacreBLEU's types forget it
    texts = list(translations)
    # The counts per sentence have no public name in sacreBLEU; its own significance tests take them from here.
    found = {
        name: numpy.array(metric._extract_corpus_statistics(texts, padded), dtype=numpy.int64)
        for name, metric in (("bleu", bleu), ("chrf", chrf))
    }
    return Statistics(
        bleu=found["bleu"],
        chrf=found["chrf"],
        signatures={"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
    )


def bleu(sums: Array) -> Array:
    """BLEU (...) of summed statistics (..., 10), with sacreBLEU's default smoothing ("exp").

    An order without a match counts half a match, the next one a quarter; 0 where nothing matches or nothing has four
    words.
    """
    translation, reference = sums[..., 0].astype(numpy.float64), sums[..., 1].astype(numpy.float64)
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    halved = numpy.cumsum((correct == 0) & (total > 0), axis=-1)
    matches = numpy.where(correct > 0, correct, numpy.exp2(-halved.astype(numpy.float64)))
    defined: Array = numpy.asarray((correct > 0).any(axis=-1) & (total > 0).all(axis=-1))
    precisions = matches / numpy.maximum(total, 1)
    logs = numpy.log(numpy.where(defined[..., None], precisions, 1.0)).mean(axis=-1)
    brevity = numpy.minimum(0.0, 1.0 - reference / numpy.maximum(translation, 1))
    scores: Array = numpy.where(defined, 100.0 * numpy.exp(logs + brevity), 0.0)
    return scores


def chrf(sums: Array) -> Array:
    """chrF (...) of summed statistics (..., 18): F2 of the mean precision and recall of the orders that occur."""
    counts = sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3).astype(numpy.float64)
    translation, reference, matches = counts[..., 0], counts[..., 1], counts[..., 2]
    occurs = (translation > 0) & (reference > 0)
    orders = numpy.maximum(occurs.sum(axis=-1), 1)
    precision = numpy.where(occurs, matches / numpy.maximum(translation, 1), 0.0).sum(axis=-1) / orders
    recall = numpy.where(occurs, matches / numpy.maximum(reference, 1), 0.0).sum(axis=-1) / orders
    weighted = CHRF_BETA**2 * precision + recall
    scores: Array = 100.0 * (1 + CHRF_BETA**2) * precision * recall / numpy.where(weighted > 0, weighted, 1.0)
    return scores


SCORES: Mapping[str, Score] = {"bleu": bleu, "chrf": chrf}
"""Each score by its name in results, a function of summed statistics."""

NAMES: Mapping[str, str] = {"bleu": "BLEU", "chrf": "chrF"}
"""Each score by its name for people."""


def length_ratio(statistics: Statistics) -> float:
    """The words of the translations for each word of their references, as BLEU counts them."""
    translation, reference = statistics.bleu[:, 0].sum(), statistics.bleu[:, 1].sum()
    return float(translation / max(1, int(reference)))
