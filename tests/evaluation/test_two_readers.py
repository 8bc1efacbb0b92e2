"""Two systems example by example: the statistics give each task's own score, and decide only what they can."""

import numpy
import pytest
import torch

from headway.evaluation.bootstrap import ByExample, Resampling, compare_paired
from headway.evaluation.question_scores import answer_statistics, score_answers
from headway.evaluation.span_scores import score_tags, span_statistics
from headway.evaluation.vector_scores import retrieval_statistics, score_retrieval

FEW = Resampling(resamples=199)


def whole(found: ByExample) -> float:
    return float(found.score(found.values.sum(axis=0)))


def test_spans_by_sentence_sum_to_the_f1_of_the_file() -> None:
    truth = [["B-HUE", "O"], ["O", "B-THING", "I-THING"], ["B-HUE", "B-THING", "O"]]
    given = [["B-HUE", "O"], ["B-HUE", "B-THING", "O"], ["O", "B-THING", "O"]]
    found = span_statistics(truth, given, "BIO")
    assert found.values.shape == (3, 3)
    assert whole(found) == pytest.approx(100 * score_tags(truth, given, "BIO", resampling=FEW).f1)
    nothing = span_statistics([["O"]], [["O"]], "BIO")
    assert whole(nothing) == 0.0


def test_answers_by_question_sum_to_the_scores_of_the_file() -> None:
    given, right = ["the red house", "a ship", ""], [["red house"], ["ship came"], []]
    scores = score_answers(given, right, resampling=FEW)
    exact, f1 = answer_statistics(given, right, scores.version)
    assert whole(exact) == pytest.approx(100 * scores.exact_match)
    assert whole(f1) == pytest.approx(100 * scores.f1) and scores.f1 > scores.exact_match


def test_partners_by_pair_sum_to_the_share_of_the_file() -> None:
    generator = torch.Generator().manual_seed(3)
    firsts, seconds = (torch.randn(11, 2, generator=generator).numpy() for _ in range(2))
    texts = [(f"a {number}", f"b {number}") for number in range(11)]
    found = retrieval_statistics(firsts, seconds, texts)
    share = score_retrieval(firsts, seconds, texts, resampling=FEW).retrieval_accuracy
    assert whole(found) == pytest.approx(100 * share) and 0 < share < 1
    nearest = [
        int((firsts[n] @ seconds.T / numpy.linalg.norm(seconds, axis=1)).argmax() == n)
        + int((seconds[n] @ firsts.T / numpy.linalg.norm(firsts, axis=1)).argmax() == n)
        for n in range(11)
    ]
    assert found.values[:, 0].tolist() == nearest


def test_a_tagger_that_finds_all_is_better_than_one_that_finds_nothing() -> None:
    truth = [["B-HUE", "O", "O"]] * 31
    all_right, nothing = span_statistics(truth, truth, "BIO"), span_statistics(truth, [["O"] * 3] * 31, "BIO")
    found = compare_paired(nothing.values, all_right.values, all_right.score, FEW)
    assert found.decided and found.difference.mid == pytest.approx(100.0)
    table = found.table(found.verdict("it", "the other", all_right.unit))
    assert table["verdict"].startswith("the other is better than it by 100.00 points of F1 of spans")
    again = compare_paired(nothing.values, nothing.values, nothing.score, FEW)
    assert not again.decided and again.difference.mid == 0.0
