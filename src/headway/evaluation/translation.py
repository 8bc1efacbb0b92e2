"""How well translations match their references: BLEU and chrF, overall and by source length, with bootstrap bands."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy

from headway.errors import ConfigError
from headway.evaluation.bootstrap import Band, Comparison, Resampling, compare_paired, score_band
from headway.evaluation.lengths import LEAST, Unit, length_buckets, source_lengths
from headway.evaluation.references import SourceAndTarget, TestSet, read_test_set
from headway.evaluation.scores import SCORES, Statistics, length_ratio, translation_statistics
from headway.text.tokenizer import Tokenizer

Array = numpy.ndarray[Any, Any]

SENTENCES_AT_ONCE = 1024
"""How many sentences a translator gets at once: enough to sort by length in, few enough to show progress."""


class Translated(Protocol):
    """One translation, such as tasks.translator.Translation."""

    @property
    def text(self) -> str: ...

    @property
    def windowed(self) -> bool: ...


class AnyTranslator(Protocol):
    """What translates a list of sentences with a beam, such as tasks.translator.Translator."""

    def translate(self, text: list[str], *, beam: int | None = ...) -> Sequence[Translated]: ...


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How translations are scored.

    tokenize: how BLEU splits words, one of scores.TOKENIZATIONS. length_unit: what the length of a source is counted
    in. bucket_width: None takes a round one. bucket_least: a bucket with fewer sentences is merged with a neighbour.
    At 100 everyday sentences the 95 % band of BLEU is about 11 points wide, which tells a collapse from a wobble, and
    it holds the true score as often as it says; at 25 it is twice as wide and holds it less often (docs/evaluate.md).
    """

    tokenize: str = "13a"
    length_unit: Unit = "words"
    bucket_width: int | None = None
    bucket_least: int = LEAST
    resampling: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True, kw_only=True)
class Translations:
    """Translations of a test set's sentences, in order, and how they came about.

    name: the model or file they are from. beam, seconds: None where they were given. windowed: how many sources were
    longer than the model takes at once.
    """

    name: str
    texts: tuple[str, ...]
    beam: int | None = None
    windowed: int = 0
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class LengthScores:
    """The scores of the sentences whose source has low..high words (or tokens, characters)."""

    low: int
    high: int
    mean_length: float
    sentences: int
    bleu: float
    bleu_band: tuple[float, float]
    chrf: float
    chrf_band: tuple[float, float]
    length_ratio: float

    def band(self, score: str) -> Band:
        """The score of that name, "bleu" or "chrf", with its band."""
        value, (low, high) = (self.bleu, self.bleu_band) if score == "bleu" else (self.chrf, self.chrf_band)
        return Band(low, value, high)


@dataclass(frozen=True, kw_only=True)
class TranslationScores:
    """What translations of a test set are worth.

    sentences: distinct sources; references: of all of them together. Bands hold the share `level` of the resamples.
    length_ratio: words of the translations for each word of the references. seconds: of translating alone.
    """

    model: str
    sentences: int
    references: int
    bleu: float
    bleu_band: tuple[float, float]
    chrf: float
    chrf_band: tuple[float, float]
    length_ratio: float
    signatures: Mapping[str, str]
    length_unit: str
    by_length: tuple[LengthScores, ...]
    level: float
    resamples: int
    seed: int
    beam: int | None
    windowed: int
    seconds: float | None
    sentences_per_second: float | None

    def band(self, score: str) -> Band:
        """The score of that name, "bleu" or "chrf", with its band."""
        value, (low, high) = (self.bleu, self.bleu_band) if score == "bleu" else (self.chrf, self.chrf_band)
        return Band(low, value, high)


# More than six parameters: the same words as the command line's.
def evaluate_translation(
    translator: AnyTranslator,
    pairs: Iterable[SourceAndTarget],
    *,
    name: str = "model",
    beam: int = 4,
    single_reference: bool = False,
    limit: int | None = None,
    scoring: Scoring | None = None,
    tokenizer: Tokenizer | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TranslationScores:
    """Translate the distinct sources of some pairs and score that against all references of each.

    The arguments are those of `read_test_set`, `translate_sources` and `score_translations`. Raises what they raise.
    """
    test = read_test_set(pairs, single_reference=single_reference, limit=limit)
    translations = translate_sources(translator, test, name=name, beam=beam, progress=progress)
    return score_translations(translations, test, scoring=scoring, tokenizer=tokenizer)


def translate_sources(
    translator: AnyTranslator,
    test: TestSet,
    *,
    name: str = "model",
    beam: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Translations:
    """Translate every sentence of a test set; progress is called with how many are done, and of how many."""
    if beam < 1:
        raise ConfigError(f"beam must be at least 1, but got {beam}")
    texts: list[str] = []
    windowed, began = 0, time.perf_counter()
    if progress is not None:
        progress(0, len(test.sources))
    for start in range(0, len(test.sources), SENTENCES_AT_ONCE):
        found = translator.translate(list(test.sources[start : start + SENTENCES_AT_ONCE]), beam=beam)
        texts += [one_line(translated.text) for translated in found]
        windowed += sum(translated.windowed for translated in found)
        if progress is not None:
            progress(len(texts), len(test.sources))
    seconds = time.perf_counter() - began
    return Translations(name=name, texts=tuple(texts), beam=beam, windowed=windowed, seconds=seconds)


def score_translations(
    translations: Translations,
    test: TestSet,
    *,
    scoring: Scoring | None = None,
    tokenizer: Tokenizer | None = None,
    statistics: Statistics | None = None,
) -> TranslationScores:
    """Score translations of a test set overall and by source length.

    tokenizer: of the source, for lengths in tokens; statistics: those of these translations where they are counted
    already. Raises DataError where there are more or fewer translations than sentences, ConfigError for settings.
    """
    scoring = scoring or Scoring()
    if statistics is None:
        statistics = translation_statistics(translations.texts, test.references, tokenize=scoring.tokenize)
    lengths = source_lengths(test.sources, scoring.length_unit, tokenizer)
    buckets = length_buckets(lengths, width=scoring.bucket_width, least=scoring.bucket_least)
    by_length = []
    for bucket in buckets:
        part = Statistics(
            bleu=statistics.bleu[bucket.members],
            chrf=statistics.chrf[bucket.members],
            signatures=statistics.signatures,
        )
        bands = _bands(part, scoring.resampling)
        by_length.append(
            LengthScores(
                low=bucket.low,
                high=bucket.high,
                mean_length=float(lengths[bucket.members].mean()),
                sentences=len(bucket.members),
                bleu=bands["bleu"].mid,
                bleu_band=(bands["bleu"].low, bands["bleu"].high),
                chrf=bands["chrf"].mid,
                chrf_band=(bands["chrf"].low, bands["chrf"].high),
                length_ratio=length_ratio(part),
            )
        )
    bands = _bands(statistics, scoring.resampling)
    seconds = translations.seconds
    return TranslationScores(
        model=translations.name,
        sentences=len(test.sources),
        references=test.n_references,
        bleu=bands["bleu"].mid,
        bleu_band=(bands["bleu"].low, bands["bleu"].high),
        chrf=bands["chrf"].mid,
        chrf_band=(bands["chrf"].low, bands["chrf"].high),
        length_ratio=length_ratio(statistics),
        signatures=dict(statistics.signatures),
        length_unit=scoring.length_unit,
        by_length=tuple(by_length),
        level=scoring.resampling.level,
        resamples=scoring.resampling.resamples,
        seed=scoring.resampling.seed,
        beam=translations.beam,
        windowed=translations.windowed,
        seconds=seconds,
        sentences_per_second=None if seconds is None else len(test.sources) / max(seconds, 1e-9),
    )


def compare_translations(
    first: Translations, second: Translations, test: TestSet, *, scoring: Scoring | None = None
) -> dict[str, Comparison]:
    """Compare two systems' translations of one test set by each score, "bleu" and "chrf", on the same resamples."""
    scoring = scoring or Scoring()
    counted = [
        translation_statistics(system.texts, test.references, tokenize=scoring.tokenize) for system in (first, second)
    ]
    return compare_statistics(counted[0], counted[1], scoring.resampling)


def compare_statistics(first: Statistics, second: Statistics, resampling: Resampling) -> dict[str, Comparison]:
    """The same from what was counted already."""
    return {name: compare_paired(first.of(name), second.of(name), score, resampling) for name, score in SCORES.items()}


def one_line(text: str) -> str:
    """A translation as one line, as files of translations hold it; no score sees the difference."""
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def _bands(statistics: Statistics, resampling: Resampling) -> dict[str, Band]:
    return {name: score_band(statistics.of(name), score, resampling) for name, score in SCORES.items()}
