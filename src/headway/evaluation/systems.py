"""One or two systems on a file of pairs: a model that translates it, or a file of translations that exist."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headway.corpus.pair_division import Overlap, overlap
from headway.corpus.pairs import Pairs, read_pairs
from headway.corpus.text_file import shown, text_lines
from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import Comparison
from headway.evaluation.references import TestSet, read_test_set
from headway.evaluation.scores import NAMES
from headway.evaluation.translation import (
    Scoring,
    Translations,
    TranslationScores,
    compare_translations,
    score_translations,
    translate_sources,
)
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from headway.tasks.translator import Translator


@dataclass(frozen=True, kw_only=True)
class PairsFile:
    """Where the pairs of a test set are, as corpus.pairs.read_pairs takes it, and how they become sentences.

    single_reference, limit: see references.read_test_set.
    """

    path: str | Path
    target_path: str | Path | None = None
    source_field: str | None = None
    target_field: str | None = None
    single_reference: bool = False
    limit: int | None = None

    def read(self) -> TestSet:
        """The test set. Raises DataError for what cannot be read."""
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1 sentence, but got {self.limit}")
        return read_test_set(self.pairs(), single_reference=self.single_reference, limit=self.limit)

    def pairs(self) -> Pairs:
        """All the pairs."""
        return read_pairs(
            self.path,
            target_path=self.target_path,
            source_field=self.source_field,
            target_field=self.target_field,
        )


@dataclass(frozen=True, kw_only=True)
class SystemsReport:
    """The scores of a system on a test set, and those of another with what can be said of the two, score by score.

    overlap: how much of the test set stands in the training pairs, where those were given.
    """

    text: str
    scores: TranslationScores
    against: TranslationScores | None = None
    comparison: Mapping[str, Comparison] | None = None
    overlap: Overlap | None = None

    def verdicts(self) -> list[str]:
        """What can be said of the two systems by each score, a sentence each."""
        if self.against is None or self.comparison is None:
            return []
        first, second = self.against.model, self.scores.model
        return [compared.verdict(first, second, NAMES[score]) for score, compared in self.comparison.items()]


# More than six parameters: the same words as the command line's.
def evaluate_pairs(
    system: str | Path,
    file: PairsFile,
    *,
    against: str | Path | None = None,
    training: str | Path | None = None,
    beam: int | None = None,
    scoring: Scoring | None = None,
    device: str = "auto",
    dtype: str | None = None,
    engine: str = "torch",
    bits: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SystemsReport:
    """Score a system's translations of a file of pairs, and compare it with another's.

    system, against: a model folder, a bundled model's name, or a text file with one translation a line for each
    distinct source in order. training: pairs of which the test set should have none; how many it has is counted. beam:
    None is each folder's own. device, dtype, engine, bits: as for `Translator`, except that PyTorch runs unless bits or
    another engine is asked for. Raises UsageError for a beam where no model translates, DataError for a file of
    translations with more or fewer lines than sentences.
    """
    given = [_is_file(name) for name in (system, against) if name is not None]
    if all(given) and beam is not None:
        raise UsageError("beam is of translating, but only given translations are scored\nLeave it out.")
    if any(given) and file.limit is not None:
        raise UsageError("limit is of translating: a file of translations is scored as a whole\nLeave it out.")
    scoring, test = scoring or Scoring(), file.read()
    shared = None if training is None else overlap(read_pairs(training), file.pairs())
    found: list[tuple[Translations, Tokenizer | None]] = [
        _given(Path(name), test)
        if _is_file(name)
        else _translated(
            _opened(name, device=device, dtype=dtype, engine=engine, bits=bits),
            name,
            test,
            beam=beam,
            progress=progress,
        )
        for name in (system, against)
        if name is not None
    ]
    # Both are put into the same buckets, by the tokens of the first model there is.
    tokenizer = next((tokenizer for _, tokenizer in found if tokenizer is not None), None)
    scores = [score_translations(translations, test, scoring=scoring, tokenizer=tokenizer) for translations, _ in found]
    if len(found) == 1:
        return SystemsReport(text=str(file.path), scores=scores[0], overlap=shared)
    comparison = compare_translations(found[1][0], found[0][0], test, scoring=scoring)
    return SystemsReport(
        text=str(file.path), scores=scores[0], against=scores[1], comparison=comparison, overlap=shared
    )


def read_translations(path: Path, test: TestSet) -> tuple[str, ...]:
    """The lines of a file, one for each sentence of a test set. Raises DataError where there are more or fewer."""
    lines = tuple(line.removesuffix("\n") for line in text_lines(path))
    if len(lines) != len(test.sources):
        way_out = (
            "It seems to have a line for each pair: say --single-reference, or keep one line for each source."
            if len(lines) >= test.n_references > len(test.sources)
            else "Give one line for each distinct source, in the order of the test set."
        )
        raise DataError(
            f"every sentence must have one translation, but {shown(path)} has {len(lines):,} lines "
            f"and the test set {len(test.sources):,} distinct sources\n{way_out}"
        )
    return lines


def _given(path: Path, test: TestSet) -> tuple[Translations, None]:
    return Translations(name=str(path), texts=read_translations(path, test)), None


def _opened(model: str | Path, *, device: str, dtype: str | None, engine: str, bits: int | None) -> "Translator":
    from headway.tasks.translator import Translator

    return Translator(model, device=device, dtype=dtype, engine="auto" if bits else engine, bits=bits)


def _translated(
    translator: "Translator",
    model: str | Path,
    test: TestSet,
    *,
    beam: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Translations, Tokenizer]:
    beam = translator.defaults.beam if beam is None else beam
    translations = translate_sources(translator, test, name=str(model), beam=beam, progress=progress)
    return translations, translator.sides.source


def _is_file(name: str | Path) -> bool:
    return Path(name).is_file()
