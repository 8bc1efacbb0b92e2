"""Scores of vectors: worked by hand, and Spearman's as scipy has it."""

import numpy
import pytest
from scipy import stats

from headway.errors import DataError
from headway.evaluation import vector_scores
from headway.evaluation.vector_scores import score_likeness, score_retrieval


def test_partners_are_looked_for_both_ways() -> None:
    firsts = numpy.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    seconds = numpy.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    # The third first text's nearest second text is the third; of the seconds, the third's nearest first is the first.
    found = score_retrieval(firsts, seconds, [("a", "x"), ("b", "y"), ("c", "z")])
    assert found.retrieval_accuracy == pytest.approx(5 / 6)
    assert found.mean_reciprocal_rank == pytest.approx((5 + 1 / 2) / 6)
    assert found.retrieval_accuracy_band[0] < 5 / 6 < found.retrieval_accuracy_band[1]


def test_partners_equal_in_letters_are_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_scores, "_ROWS_AT_ONCE", 2)
    firsts = numpy.eye(3)
    seconds = numpy.array([[0.1, 1.0, 0.0], [1.0, 0.1, 0.0], [0.0, 0.0, 1.0]])
    assert score_retrieval(firsts, seconds, [("a", "x"), ("b", "x"), ("c", "z")]).retrieval_accuracy == 4 / 6
    assert score_retrieval(firsts, seconds, [("a", "x"), ("b", "y"), ("c", "z")]).retrieval_accuracy == 2 / 6


def test_likeness_is_spearmans_with_ties() -> None:
    random = numpy.random.default_rng(2)
    firsts, seconds = random.normal(size=(31, 5)), random.normal(size=(31, 5))
    seconds[7], firsts[7], seconds[11], firsts[11] = 1.0, 2.0, 3.0, 1.0  # equal cosines
    judged = random.integers(0, 5, size=31).astype(float)
    cosines = (firsts * seconds).sum(1) / numpy.linalg.norm(firsts, axis=1) / numpy.linalg.norm(seconds, axis=1)
    found = score_likeness(firsts, seconds, judged.tolist())
    assert found.spearman == pytest.approx(stats.spearmanr(cosines.round(12), judged).statistic, abs=2e-3)


def test_one_pair_and_equal_judgements_are_refused() -> None:
    with pytest.raises(DataError, match="two or more"):
        score_retrieval(numpy.eye(1), numpy.eye(1), [("a", "b")])
    with pytest.raises(DataError, match="must differ"):
        score_likeness(numpy.eye(2), numpy.eye(2), [1.0, 1.0])
