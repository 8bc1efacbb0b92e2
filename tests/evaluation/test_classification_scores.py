"""Scores of classifiers equal scikit-learn's on generated cases, and bands behave."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.classification_scores import (
    accuracy_interval,
    check_labels,
    reliability_table,
    score_classes,
    score_label_sets,
)
from headway.models.calibration import expected_calibration_error

FEW = Resampling(resamples=19)
NAMES = ("ant", "bee", "cat", "dog", "eel")
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES[:3])), min_size=1, max_size=40)
SETS = st.sets(st.sampled_from(NAMES[:4]))


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_scores_of_single_labels_equal_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = score_classes(truth, predicted, NAMES, resampling=FEW)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(truth, predicted, average="macro", zero_division=0))
    assert found.confusion == tuple(map(tuple, metrics.confusion_matrix(truth, predicted, labels=NAMES).tolist()))
    wanted = metrics.precision_recall_fscore_support(truth, predicted, labels=NAMES, zero_division=0)
    for place, part in enumerate(found.by_label):
        assert (part.precision, part.recall, part.f1, part.examples) == pytest.approx([row[place] for row in wanted])
        assert part.predicted == predicted.count(part.label)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=30))
def test_scores_of_label_sets_equal_those_of_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    truth, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = score_label_sets(truth, predicted, NAMES, resampling=FEW)
    true = numpy.array([[name in chosen for name in NAMES] for chosen in truth])
    given_ = numpy.array([[name in chosen for name in NAMES] for chosen in predicted])
    occurring = numpy.flatnonzero((true | given_).any(axis=0))
    assert found.subset_accuracy == pytest.approx(metrics.accuracy_score(true, given_))
    assert found.micro_f1 == pytest.approx(metrics.f1_score(true, given_, average="micro", zero_division=0))
    if len(occurring):
        macro = metrics.f1_score(true, given_, labels=occurring, average="macro", zero_division=0)
        assert found.macro_f1 == pytest.approx(macro)


def test_scores_worked_by_hand() -> None:
    found = score_classes(["a", "a", "a", "b"], ["a", "a", "b", "b"], ["a", "b"], resampling=FEW)
    assert found.accuracy == 0.75
    first, second = found.by_label
    assert (first.precision, first.recall, first.f1) == pytest.approx((1.0, 2 / 3, 0.8))
    assert (second.precision, second.recall, second.f1) == pytest.approx((0.5, 1.0, 2 / 3))
    assert found.confusion == ((2, 1), (0, 1))
    assert found.calibration_error is None and found.reliability == ()


def test_labels_that_never_occur_do_not_lower_macro_f1() -> None:
    found = score_classes(["a", "b"], ["a", "b"], ["a", "b", "never"], resampling=FEW)
    assert found.macro_f1 == 1.0
    assert found.by_label[2].f1 == 0.0 and found.by_label[2].examples == 0


def test_reliability_table_holds_every_example_in_its_bin() -> None:
    confidences = numpy.array([0.0, 1 / 15, 0.0667, 0.5, 1.0, 0.99])
    correct = numpy.array([False, True, False, True, True, False])
    table = reliability_table(confidences, correct)
    assert [part.examples for part in table] == [2, 1, 1, 2]
    assert (table[0].low, table[-1].high) == (0.0, 1.0)
    assert (table[-1].confidence, table[-1].accuracy) == pytest.approx((0.995, 0.5))


def test_calibration_error_is_that_of_the_table() -> None:
    random = numpy.random.default_rng(2)
    confidences, correct = random.random(211), random.random(211) < 0.6
    table = reliability_table(confidences, correct)
    by_hand = sum(part.examples * abs(part.confidence - part.accuracy) for part in table) / 211
    assert expected_calibration_error(confidences, correct) == pytest.approx(by_hand)
    truth = ["a" if right else "b" for right in correct]
    found = score_classes(truth, ["a"] * 211, ["a", "b"], confidences=confidences, resampling=FEW)
    assert found.calibration_error == pytest.approx(by_hand) and found.reliability == table


def test_calibration_of_label_sets_counts_every_decision() -> None:
    probabilities = numpy.array([[0.9, 0.2], [0.6, 0.4]])
    found = score_label_sets([{"a"}, {"a"}], [{"a"}, {"a"}], ["a", "b"], probabilities=probabilities, resampling=FEW)
    assert found.calibration_error == pytest.approx((0.1 + 0.2 + 0.4 + 0.4) / 4)


def test_the_accuracy_interval_is_wilsons() -> None:
    band = accuracy_interval([True] * 81 + [False] * 182)  # 81 of 263: 0.2553 to 0.3662, Newcombe 1998, table I
    assert (band.low, band.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    whole = accuracy_interval([True] * 11)
    assert whole.high == 1.0 and whole.low == pytest.approx(0.7412, abs=1e-3)  # all right is not certain


def test_the_accuracy_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = numpy.random.default_rng(3)
    held = 0
    for _ in range(1000):
        band = accuracy_interval(random.random(101) < 0.8)
        held += band.low <= 0.8 <= band.high
    assert 925 <= held <= 975


def test_bands_hold_the_score() -> None:
    random = numpy.random.default_rng(5)
    truth = [NAMES[place] for place in random.integers(0, 3, size=101)]
    predicted = [label if random.random() < 0.7 else "ant" for label in truth]
    found = score_classes(truth, predicted, NAMES, resampling=Resampling(resamples=200))
    for value, (low, high) in ((found.accuracy, found.accuracy_band), (found.macro_f1, found.macro_f1_band)):
        assert low < value < high and high - low < 0.3


def test_an_unknown_label_is_named_with_those_known() -> None:
    with pytest.raises(DataError, match=r"tests\.tsv has 'cow'\nIt knows 'ant', 'bee'"):
        check_labels(["ant", "cow"], ("ant", "bee"), "tests.tsv")
    with pytest.raises(DataError, match="'cow'"):
        score_classes(["cow"], ["ant"], ("ant", "bee"))
    many = [f"label {number}" for number in range(100)]
    with pytest.raises(DataError, match="and 92 more") as raised:
        check_labels(["cow"], many)
    assert len(str(raised.value).splitlines()) <= 6


def test_no_example_and_unequal_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="no example"):
        score_classes([], [], NAMES)
    with pytest.raises(DataError, match="no example"):
        accuracy_interval([])
    with pytest.raises(UsageError, match="2 examples and 1"):
        score_classes(["ant", "bee"], ["ant"], NAMES)
    with pytest.raises(UsageError, match="1 examples and 2"):
        score_label_sets([{"ant"}], [{"ant"}, set()], NAMES)
