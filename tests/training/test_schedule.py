import pytest

from headway.training.recipe import BudgetSettings, TrainSettings
from headway.training.schedule import Budget, learning_rate


def budget(**settings):
    return Budget(settings=BudgetSettings(**settings), tokens_per_step=7, steps_per_epoch=11.5)


def test_a_budget_in_tokens_or_epochs_is_so_many_steps():
    assert budget(steps=13).steps == 13
    assert budget(tokens=70).steps == 10
    assert budget(tokens=71).steps == 11
    assert budget(epochs=2).steps == 23
    assert budget(minutes=3).steps is None


def test_progress_counts_steps_or_seconds():
    assert budget(steps=4).progress(3, 1e9) == 0.75
    assert budget(minutes=2).progress(10**9, 30.0) == 0.25


def test_a_long_preparation_does_not_use_up_the_warm_up():
    assert budget(steps=4).progress_of_steps(3, 99.0, 98.0) == 0.75
    for seconds, share in ((60.0, 0.0), (75.0, 0.25), (120.0, 1.0)):
        assert budget(minutes=2).progress_of_steps(5, seconds, 60.0) == share
    assert budget(minutes=2).progress_of_steps(0, 130.0, 130.0) == 1.0


def test_what_is_left_are_steps_or_seconds_of_the_clock():
    assert budget(steps=13).steps_left(3) == 10 and budget(steps=13).steps_left(15) == 0
    assert budget(minutes=2).steps_left(3) is None and budget(minutes=2).clock_left(99.0) == 21.0


def test_the_rate_rises_in_the_warm_up_and_falls_by_half_a_cosine():
    settings = TrainSettings(learning_rate=0.8, warm_up=0.2, final_share=0.25)
    assert learning_rate(settings, 0.1) == pytest.approx(0.4)
    assert learning_rate(settings, 0.2) == pytest.approx(0.8)
    assert learning_rate(settings, 0.6) == pytest.approx(0.8 * (0.25 + 0.75 * 0.5))
    assert learning_rate(settings, 1.0) == learning_rate(settings, 1.5) == pytest.approx(0.2)
    assert learning_rate(settings, 0.0) == pytest.approx(0.008)


def test_warm_up_stable_decay_holds_the_rate_and_then_lets_it_fall():
    settings = TrainSettings(learning_rate=0.8, schedule="wsd", warm_up=0.1, cool_down=0.25, final_share=0.0)
    assert learning_rate(settings, 0.05) == pytest.approx(0.4)
    assert learning_rate(settings, 0.1) == learning_rate(settings, 0.4) == learning_rate(settings, 0.75) == 0.8
    assert learning_rate(settings, 0.75 + 0.25 / 4) == pytest.approx(0.4)  # 1 - sqrt(1/4)
    assert learning_rate(settings, 1.0) == 0.0
