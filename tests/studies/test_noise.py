"""Intervals over seeds and sentences against tables and against what they promise."""

import math

import numpy
import pytest

from headway.studies.noise import Interval, difference_interval, mean_interval, student


@pytest.mark.parametrize(
    ("freedom", "confidence", "quantile"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.30265), (4, 0.95, 2.77645), (4, 0.99, 4.60409), (30, 0.95, 2.04227)],
)
def test_student_quantiles_are_those_of_the_tables(freedom: int, confidence: float, quantile: float) -> None:
    assert student(freedom, confidence) == pytest.approx(quantile, abs=2e-4)


def test_student_with_much_freedom_is_normal() -> None:
    assert student(5_000, 0.95) == pytest.approx(1.9604, abs=1e-3)
    assert student(1e9, 0.95) == pytest.approx(1.959964, abs=1e-5)


def test_one_seed_has_no_interval() -> None:
    assert mean_interval([20.0]) is None
    assert difference_interval([20.0, 21.0], [19.0]) is None


def test_the_interval_of_a_mean_is_the_one_worked_by_hand() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found is not None and found.value == 2.0
    assert found.high - found.value == pytest.approx(4.30265 / math.sqrt(3), abs=1e-3)


def test_a_difference_of_equal_spreads_is_students_classic_one() -> None:
    found = difference_interval([1.0, 2.0, 3.0], [5.0, 6.0, 7.0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx(
        (-4 - 2.77645 * math.sqrt(2 / 3), -4 + 2.77645 * math.sqrt(2 / 3)), abs=1e-3
    )
    assert found.excludes_zero


def test_noise_of_the_sentences_widens_the_interval() -> None:
    narrow = difference_interval([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    wide = difference_interval([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], sentences=3.0)
    assert narrow is not None and wide is not None
    assert wide.high - wide.low > narrow.high - narrow.low


def test_scores_without_any_spread_have_an_interval_of_one_point() -> None:
    assert mean_interval([4.0, 4.0]) == Interval(value=4.0, low=4.0, high=4.0)
    assert not Interval(value=0.0, low=0.0, high=0.0).excludes_zero


def test_equal_families_are_called_different_as_seldom_as_promised() -> None:
    generator = numpy.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        first, second = generator.normal(20.0, [[1.0], [3.0]], size=(2, 3)).tolist()
        found = difference_interval(first, second)
        wrong += found is not None and found.excludes_zero
    assert wrong / 200 < 0.09
