"""Answers score as SQuAD defines it: cases worked by hand, and properties against the definitions written plainly."""

from collections import Counter

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.question_scores import answer_f1, best_threshold, exact_match, normalised, score_answers

FEW = Resampling(resamples=19)
TEXTS = st.lists(
    st.sampled_from(["The", "a", "an", "cat", "Cat's", "dog,", "dog", "-", "U.S.", "\u00e9t\u00e9"]), max_size=5
).map(" ".join)


def plain_words(text: str) -> list[str]:
    """The definition step by step: lower case, no punctuation, no articles, blanks single."""
    kept = "".join(letter for letter in text.lower() if letter not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def plain_f1(prediction: list[str], answer: list[str], version: str) -> float:
    if version == "2.0" and not (prediction and answer):
        return float(prediction == answer)
    same = sum((Counter(prediction) & Counter(answer)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(answer)
    return 2 * precision * recall / (precision + recall)


@settings(deadline=None)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(["1.1", "2.0"]))
def test_scores_equal_the_definition_written_plainly(prediction: str, answers: list[str], version: str) -> None:
    kept = answers if version == "1.1" else [answer for answer in answers if plain_words(answer)] or [""]
    given_words, right = plain_words(prediction), [plain_words(answer) for answer in kept]
    exact = max(float(given_words == words) for words in right)
    f1 = max(plain_f1(given_words, words, version) for words in right)
    assert exact_match(prediction, answers, version) == exact  # type: ignore[arg-type]
    assert answer_f1(prediction, answers, version) == pytest.approx(f1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Cat\nsat, on a MAT.", "cat sat on mat"),
        ("an Apple a day", "apple day"),
        ("theatre and another", "theatre and another"),
        ("the-end", "theend"),  # punctuation goes before articles
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),  # only ASCII's punctuation
        ("", ""),
    ],
)
def test_normalising_worked_by_hand(text: str, wanted: str) -> None:
    assert normalised(text) == wanted


def test_scores_worked_by_hand() -> None:
    assert exact_match("the Eiffel Tower!", ["Eiffel tower"]) == 1.0
    assert answer_f1("in Paris, France", ["Paris", "the city of Paris"]) == pytest.approx(0.5)
    assert answer_f1("cat cat", ["cat"]) == pytest.approx(2 / 3)
    assert (exact_match("", []), answer_f1("", []), answer_f1("x", [])) == (1.0, 1.0, 0.0)


def test_the_versions_differ_where_nothing_is_left() -> None:
    assert (exact_match("a", ["The"], "1.1"), answer_f1("a", ["The"], "1.1")) == (1.0, 0.0)
    assert (exact_match("a", ["The"], "2.0"), answer_f1("a", ["The"], "2.0")) == (1.0, 1.0)
    assert answer_f1("the", ["the", "cat"], "1.1") == 0.0 == answer_f1("the", ["the", "cat"], "2.0")


def test_questions_with_and_without_answers_are_told_apart() -> None:
    found = score_answers(["cat", "", "dog", "x y"], [["cat"], [], [], ["x"]], resampling=FEW)
    assert (found.examples, found.answerable, found.unanswerable, found.version) == (4, 2, 2, "2.0")
    assert found.exact_match == 0.5
    assert found.exact_match_answerable == 0.5 and found.exact_match_unanswerable == 0.5
    assert found.f1_answerable == pytest.approx((1 + 2 / 3) / 2)
    assert found.f1 == pytest.approx((1 + 1 + 0 + 2 / 3) / 4)
    assert found.best_f1 is None  # no scores of none were given


def test_questions_that_all_have_answers_are_scored_as_the_first_version() -> None:
    found = score_answers(["cat"], [["the cat", "dog"]], unforced=[("cat", 0.0)], resampling=FEW)
    assert (found.version, found.exact_match, found.unanswerable) == ("1.1", 1.0, 0)
    assert found.exact_match_unanswerable is None and found.best_exact_match is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(-3, 3)), min_size=1, max_size=12))
def test_the_best_threshold_is_best_of_all(rows: list[tuple[bool, float, int]]) -> None:
    answerable = numpy.array([row[0] for row in rows])
    scores = numpy.array([row[1] if row[0] else 0.0 for row in rows])
    no_answer = numpy.array([float(row[2]) for row in rows])

    def score_at(threshold: float) -> float:
        return float(numpy.where(no_answer > threshold, ~answerable, scores).mean())

    best, threshold = best_threshold(scores, no_answer, answerable)
    assert best == pytest.approx(score_at(threshold))
    assert best >= max(score_at(value) for value in numpy.arange(-4.5, 4)) - 1e-12


def test_thresholds_are_found_on_the_answers_given_without_one() -> None:
    found = score_answers(
        ["", "", ""],
        [["cat"], [], ["dog"]],
        unforced=[("cat", -2.0), ("cow", 1.0), ("dog food", 0.0)],
        resampling=FEW,
    )
    assert found.exact_match == pytest.approx(1 / 3)
    assert found.best_exact_match == pytest.approx(2 / 3)
    assert found.best_f1 == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert found.best_f1_threshold == 0.0


def test_no_question_and_unequal_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="no question"):
        score_answers([], [])
    with pytest.raises(UsageError, match="2 have 1"):
        score_answers(["x"], [["x"], []])
