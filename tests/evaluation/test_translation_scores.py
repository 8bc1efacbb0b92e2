"""BLEU and chrF from summed counts: worked by hand, and equal to sacreBLEU's own."""

import math
from itertools import zip_longest

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from headway.errors import ConfigError, DataError
from headway.evaluation.scores import bleu, chrf, length_ratio, translation_statistics

SENTENCE = st.text(alphabet="aabc .,!é中", max_size=24)


def scores_of(translations: list[str], references: list[list[str]]) -> tuple[float, float]:
    found = translation_statistics(translations, references, tokenize="none")
    return float(bleu(found.bleu.sum(axis=0))), float(chrf(found.chrf.sum(axis=0)))


def test_bleu_of_a_worked_example() -> None:
    # 1 word: "the" once and "cat", 2 of 4; 2 words: "the cat", 1 of 3; then none of 2 and none of 1, which count as
    # half and as a quarter of a match.
    found, _ = scores_of(["the the the cat"], [["the cat"]])
    assert found == pytest.approx(100 * (2 / 4 * 1 / 3 * (1 / 2) / 2 * (1 / 4) / 1) ** 0.25)


def test_bleu_punishes_brevity_against_the_closest_reference() -> None:
    assert scores_of(["a b c d"], [["a b c d e"]])[0] == pytest.approx(100 * math.exp(1 - 5 / 4))
    assert scores_of(["a b c d"], [["a b c d e f", "x a b c d"]])[0] == pytest.approx(100 * math.exp(1 - 5 / 4))
    assert scores_of(["a b c d"], [["a b c d e", "a b c"]])[0] == pytest.approx(
        100
    )  # 3 and 5 are as close: the shorter


def test_chrf_of_a_worked_example() -> None:
    # 1 letter: 2 of 2 and of 3; 2 letters: 1 of 1 and of 2; no 3 letters in "ab".
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    _, found = scores_of(["ab"], [["abc"]])
    assert found == pytest.approx(100 * 5 * precision * recall / (4 * precision + recall))


def test_chrf_takes_the_reference_that_fits_best() -> None:
    assert scores_of(["abcdef"], [["xyz", "abcdef", "abc"]])[1] == pytest.approx(100)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3)), min_size=1, max_size=6))
def test_scores_are_those_of_sacrebleu(sentences: list[tuple[str, list[str]]]) -> None:
    translations, references = [text for text, _ in sentences], [list(several) for _, several in sentences]
    found = translation_statistics(translations, references)
    padded = list(zip_longest(*references))
    for metric, ours in ((BLEU(), bleu(found.bleu.sum(axis=0))), (CHRF(), chrf(found.chrf.sum(axis=0)))):
        assert float(ours) == pytest.approx(metric.corpus_score(translations, padded).score, abs=1e-9)


def test_many_sums_are_scored_as_each_alone() -> None:
    generator = numpy.random.default_rng(1)
    words = ["a", "b", "c", "d", "e"]
    texts = [" ".join(generator.choice(words, size=7)) for _ in range(22)]
    found = translation_statistics(texts[:11], [[text] for text in texts[11:]])
    for score, counts in ((bleu, found.bleu), (chrf, found.chrf)):
        sums = generator.integers(0, 3, size=(5, 11)) @ counts
        assert score(sums) == pytest.approx([float(score(one)) for one in sums])
        assert score(sums.reshape(5, 1, -1)).shape == (5, 1)


def test_a_gap_in_the_references_is_no_empty_reference() -> None:
    # An empty second reference would be the one closest to a translation of one word, and take its brevity away.
    translations, references = ["a", "a b c d e"], [["a b c d e f"], ["a b c d e", "a b c d"]]
    found = translation_statistics(translations, references)
    assert found.bleu[0, :2].tolist() == [1, 6]
    assert "nrefs:var" in found.signatures["bleu"] and "nrefs:var" in found.signatures["chrf"]
    assert "nrefs:1" in translation_statistics(["a"], [["b"]]).signatures["bleu"]


def test_signatures_say_how_words_were_split() -> None:
    signatures = translation_statistics(["中文"], [["中文"]], tokenize="zh").signatures
    assert "tok:zh" in signatures["bleu"] and "nc:6|nw:0" in signatures["chrf"]


def test_an_unknown_tokenize_is_refused() -> None:
    with pytest.raises(ConfigError, match="tokenize must be one of 13a, intl, zh, char, none, but got 'spm'"):
        translation_statistics(["a"], [["a"]], tokenize="spm")


def test_missing_translations_are_refused() -> None:
    with pytest.raises(DataError, match="1 translations of 2 sentences"):
        translation_statistics(["a"], [["a"], ["b"]])


def test_length_ratio_counts_the_closest_references_words() -> None:
    found = translation_statistics(["a b c", "a"], [["a b"], ["a b c", "a b"]])
    assert length_ratio(found) == pytest.approx(4 / 4)
