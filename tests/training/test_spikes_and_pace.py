import pytest

from headway.training.pace import Pace
from headway.training.spikes import RECENT, remember, stands_out

USUAL = tuple(3.0 + 0.1 * (number % 3) for number in range(40))  # deviation 0.082


def test_a_value_far_above_the_latest_stands_out_and_one_far_below_does_not():
    assert stands_out(9.0, USUAL, 6.0) and not stands_out(3.4, USUAL, 6.0) and not stands_out(0.1, USUAL, 6.0)
    assert stands_out(3.4, USUAL, 3.0) and not stands_out(9.0, USUAL, 0.0)


def test_nothing_stands_out_before_there_is_anything_to_compare_with():
    assert not stands_out(100.0, USUAL[:31], 6.0) and stands_out(100.0, USUAL[:32], 6.0)


def test_values_that_hardly_differ_leave_room_for_usual_ones():
    assert not stands_out(3.05, (3.0,) * 50, 6.0) and stands_out(3.2, (3.0,) * 50, 6.0)


def test_only_the_latest_values_are_remembered():
    recent = ()
    for number in range(RECENT + 7):
        recent = remember(float(number), recent)
    assert len(recent) == RECENT and recent[0] == 7.0 and recent[-1] == RECENT + 6.0


def test_the_time_left_counts_steps_measurements_and_checkpoints_and_no_slow_first_step():
    pace = Pace()
    for seconds in (30.0, *[0.5] * 9):
        pace.add_step(seconds)
    pace.add_evaluation(4.0)
    pace.add_save(2.0)
    assert pace.seconds_per_step == 0.5
    # 100 s of steps and 12 s of measuring; a checkpoint every 50 steps, or every 56 s, and the last one
    assert pace.seconds_left(steps=200, evaluations=3, save_steps=50, save_seconds=60.0) == pytest.approx(122.0)
    assert pace.seconds_left(steps=200, evaluations=3, save_steps=None, save_seconds=56.0) == pytest.approx(118.0)
