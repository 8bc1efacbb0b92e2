"""Temperature, calibration error and abstention, by hand-worked numbers and on drawn examples."""

import pytest
import torch

from headway.errors import DataError
from headway.models.calibration import (
    abstention_table,
    confidences_of,
    expected_calibration_error,
    fit_temperature,
    threshold_for,
)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_logits_is_found(temperature: float) -> None:
    chance = torch.Generator().manual_seed(5)
    logits = 2.0 * torch.randn(20_000, 5, generator=chance)
    targets = torch.multinomial(logits.softmax(-1), 1, generator=chance)[:, 0]
    assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_of_several_labels_too() -> None:
    chance = torch.Generator().manual_seed(7)
    logits = 2.0 * torch.randn(5_000, 3, generator=chance)
    targets = torch.bernoulli(logits.sigmoid(), generator=chance)
    assert fit_temperature(logits * 2.0, targets, multi_label=True) == pytest.approx(2.0, rel=0.1)


def test_logits_that_are_always_right_stay_within_bounds_and_none_are_refused() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert 0.05 <= fit_temperature(logits, torch.tensor([0, 1])) < 0.1
    assert 19.0 < fit_temperature(logits, torch.tensor([1, 0])) <= 20.0
    with pytest.raises(DataError, match="keep some aside"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0))


def test_the_calibration_error_is_the_gap_weighted_by_bins() -> None:
    sure = [0.9, 0.9, 0.6, 0.6]
    right = [True, False, True, True]
    # bins of 0.1: at 0.9 accuracy 0.5, gap 0.4; at 0.6 accuracy 1, gap 0.4.
    assert expected_calibration_error(sure, right, bins=10) == pytest.approx(0.4)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert expected_calibration_error([0.0], [False]) == 0.0


def test_the_table_of_abstention_says_what_each_threshold_keeps() -> None:
    table = abstention_table([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert table[0] == (0.6, 0.25, 1.0)
    assert (0.8, 0.0, 0.5) in [(round(one, 6), two, three) for one, two, three in table]
    assert table[-1] == (0.9, 0.0, 0.25)
    assert threshold_for(table, 0.25) == pytest.approx(0.6)
    assert threshold_for(table, 0.1) == pytest.approx(0.8)
    assert threshold_for([(0.5, 0.2, 1.0)], 0.1) is None
    assert abstention_table([], []) == ()


def test_equal_confidences_are_kept_together() -> None:
    assert abstention_table([0.5] * 7, [True] * 6 + [False]) == ((0.5, pytest.approx(1 / 7), 1.0),)


def test_confidences_are_of_the_label_or_of_each_decision() -> None:
    sure, said = confidences_of(torch.tensor([[0.0, 2.0, 1.0]]), temperature=2.0, multi_label=False)
    assert said.tolist() == [1]
    assert float(sure) == pytest.approx(float(torch.tensor([0.0, 1.0, 0.5]).softmax(-1)[1]))
    sure, said = confidences_of(torch.tensor([[-1.0, 3.0]]), temperature=1.0, multi_label=True)
    assert said.tolist() == [[0, 1]]
    assert sure[0].tolist() == pytest.approx(torch.tensor([1.0, 3.0]).sigmoid().tolist())
