"""A translator scored on pairs: every source once, overall and by length, and two systems beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from headway.corpus.pairs import Pair
from headway.errors import ConfigError, DataError
from headway.evaluation import translation
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.references import TestSet, read_test_set
from headway.evaluation.translation import (
    Scoring,
    Translations,
    compare_translations,
    evaluate_translation,
    score_translations,
    translate_sources,
)

WORDS = "the old man saw a small dog near his house and went home".split()
SMALL = Scoring(bucket_width=5, bucket_least=7, resampling=Resampling(resamples=50))


@dataclass(frozen=True)
class Answer:
    text: str
    windowed: bool = False


class Forgetful:
    """Repeats the first `memory` words of a source; notes what it was asked."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.asked: list[tuple[list[str], int | None]] = []

    def translate(self, text: list[str], *, beam: int | None = None) -> Sequence[Answer]:
        self.asked.append((text, beam))
        return [
            Answer(" ".join(words[: self.memory]), len(words) > 15) for words in (source.split() for source in text)
        ]


def pairs(n_sentences: int, *, seed: int = 1) -> list[Pair]:
    """Sentences of 4 to 20 words, every third with two references, the target being the source itself."""
    generator = numpy.random.default_rng(seed)
    made = []
    for number in range(n_sentences):
        source = " ".join([str(number), *generator.choice(WORDS, size=int(generator.integers(3, 20)))])
        made.append(Pair(source=source, target=source))
        if number % 3 == 0:
            made.append(Pair(source=source, target=source.upper()))
    return made


def test_every_distinct_source_is_translated_once() -> None:
    translator = Forgetful(8)
    found = evaluate_translation(translator, pairs(30), name="forgetful", beam=3, scoring=SMALL)
    ((asked, beam),) = translator.asked
    assert len(asked) == len(set(asked)) == found.sentences == 30 and beam == found.beam == 3
    assert found.references == 40 and found.model == "forgetful"
    assert found.windowed == sum(len(text.split()) > 15 for text in asked) > 0
    assert found.seconds is not None and found.sentences_per_second == pytest.approx(30 / found.seconds)


def test_scores_are_sacrebleus_overall_and_in_each_bucket() -> None:
    test = read_test_set(pairs(60))
    translations = translate_sources(Forgetful(8), test)
    found = score_translations(translations, test, scoring=SMALL)
    lengths = [len(source.split()) for source in test.sources]
    assert len(found.by_length) > 2
    for part in (found, *found.by_length):
        low, high = (part.low, part.high) if part is not found else (0, 1000)
        members = [place for place, length in enumerate(lengths) if low <= length <= high]
        texts = [translations.texts[place] for place in members]
        padded = list(zip_longest(*(test.references[place] for place in members)))
        whole = BLEU().corpus_score(texts, padded)
        assert part.sentences == len(members)
        assert part.bleu == pytest.approx(whole.score) and part.length_ratio == pytest.approx(whole.ratio)
        assert part.chrf == pytest.approx(CHRF().corpus_score(texts, padded).score)
        assert part.bleu_band[0] <= part.bleu <= part.bleu_band[1]
        assert part.chrf_band[0] <= part.chrf <= part.chrf_band[1]
        assert part.band("bleu") == (part.bleu_band[0], part.bleu, part.bleu_band[1])
        assert part.band("chrf").mid == part.chrf
    assert "nrefs:var" in found.signatures["bleu"]


def test_a_model_that_forgets_falls_with_length() -> None:
    found = evaluate_translation(Forgetful(8), pairs(90), scoring=SMALL)
    curve = [part.bleu for part in found.by_length]
    assert curve[0] == pytest.approx(100) and curve == sorted(curve, reverse=True) and curve[-1] < 50
    assert found.by_length[0].bleu_band[0] > found.by_length[-1].bleu_band[1]
    assert [part.low for part in found.by_length] == sorted(part.low for part in found.by_length)


def test_the_same_translations_score_the_same_each_time() -> None:
    test = read_test_set(pairs(30))
    translations = Translations(name="given", texts=tuple(source[5:] for source in test.sources))
    assert score_translations(translations, test) == score_translations(translations, test)


def test_single_reference_scores_each_line() -> None:
    translator = Forgetful(50)
    found = evaluate_translation(translator, pairs(30), single_reference=True, scoring=SMALL)
    assert found.sentences == found.references == 40 and "nrefs:1" in found.signatures["bleu"]
    assert found.bleu < 100  # a line in capitals is no longer saved by its other reference


def test_sentences_go_in_groups_and_progress_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "SENTENCES_AT_ONCE", 7)
    translator, counts = Forgetful(5), list[tuple[int, int]]()
    found = translate_sources(translator, read_test_set(pairs(17)), progress=lambda *count: counts.append(count))
    assert [len(texts) for texts, _ in translator.asked] == [7, 7, 3] and len(found.texts) == 17
    assert counts == [(0, 17), (7, 17), (14, 17), (17, 17)]


def test_a_translation_of_several_lines_becomes_one() -> None:
    class Breaking:
        def translate(self, text: list[str], *, beam: int | None = None) -> Sequence[Answer]:
            return [Answer("one\ntwo\r\nthree\rfour") for _ in text]

    test = TestSet(sources=("x",), references=(("one two three four",),))
    assert translate_sources(Breaking(), test).texts == ("one two three four",)


def test_an_empty_translation_is_scored() -> None:
    test = TestSet(sources=("a b", "c d e f"), references=(("a b",), ("c d e f",)))
    found = score_translations(Translations(name="given", texts=("", "c d e f")), test)
    assert 0 < found.bleu < 100 and found.length_ratio == pytest.approx(4 / 6)
    nothing = score_translations(Translations(name="given", texts=("", "")), test)
    assert (nothing.bleu, nothing.chrf, nothing.length_ratio) == (0, 0, 0)


def test_hostile_text_is_scored() -> None:
    texts = ("\0\ufffd", "مرحبا بالعالم", "👩‍👩‍👧", "<b>&amp;</b>", "a " * 10_000)
    test = TestSet(sources=texts, references=tuple((text,) for text in texts))
    found = score_translations(Translations(name="given", texts=texts), test)
    assert found.bleu == pytest.approx(100) and found.chrf == pytest.approx(100)


def test_two_systems_are_compared_on_the_same_sentences() -> None:
    test = read_test_set(pairs(90))
    short, long = (translate_sources(Forgetful(memory), test, name=str(memory)) for memory in (7, 10))
    found = compare_translations(short, long, test, scoring=SMALL)
    assert list(found) == ["bleu", "chrf"]
    scores = [score_translations(system, test, scoring=SMALL) for system in (short, long)]
    for name, compared in found.items():
        assert compared.decided and compared.first == scores[0].band(name) and compared.second == scores[1].band(name)
        assert compared.difference.mid == pytest.approx(scores[1].band(name).mid - scores[0].band(name).mid)


def test_bad_settings_are_refused() -> None:
    test = read_test_set(pairs(3))
    with pytest.raises(ConfigError, match="beam must be at least 1"):
        translate_sources(Forgetful(3), test, beam=0)
    with pytest.raises(DataError, match="1 translations of 3 sentences"):
        score_translations(Translations(name="given", texts=("x",)), test)
    with pytest.raises(ConfigError, match="tokenize must be one of"):
        score_translations(translate_sources(Forgetful(3), test), test, scoring=Scoring(tokenize="moses"))
