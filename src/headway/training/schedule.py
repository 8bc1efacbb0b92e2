"""How far a run has come, and the learning rate there.

Both are functions of the step (or, for a budget in minutes, of the seconds spent), never of hidden state, so a resumed
run takes up the same rate.
"""

import math
from dataclasses import dataclass

from headway.training.recipe import BudgetSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a run whose steps read `tokens_per_step` tokens, `steps_per_epoch` steps to a pass."""

    settings: BudgetSettings
    tokens_per_step: int
    steps_per_epoch: float

    @property
    def steps(self) -> int | None:
        """How many steps the run takes in all; None where only the clock knows."""
        settings = self.settings
        if settings.steps is not None:
            return settings.steps
        if settings.tokens is not None:
            return math.ceil(settings.tokens / self.tokens_per_step)
        if settings.epochs is not None:
            return math.ceil(settings.epochs * self.steps_per_epoch)
        return None

    def progress(self, step: int, seconds: float) -> float:
        """The share of the budget spent after `step` steps and `seconds` of work, 1 and above: done."""
        if self.steps is not None:
            return step / self.steps
        assert self.settings.minutes is not None
        return seconds / (60 * self.settings.minutes)

    def progress_of_steps(self, step: int, seconds: float, prepared: float) -> float:
        """The same share without the first `prepared` seconds: preparing a large text must not use up the warm-up."""
        if self.steps is not None:
            return self.progress(step, seconds)
        first = self.progress(0, prepared)
        return (self.progress(step, seconds) - first) / (1.0 - first) if first < 1.0 else 1.0

    def steps_left(self, step: int) -> int | None:
        """The steps still to go; None where only the clock knows."""
        return None if self.steps is None else max(self.steps - step, 0)

    def clock_left(self, seconds: float) -> float:
        """The seconds still to go of a budget in minutes."""
        assert self.settings.minutes is not None
        return max(60 * self.settings.minutes - seconds, 0.0)


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """The rate where `progress` (0..1) of the budget is spent: a linear warm-up, then the recipe's schedule.

    cosine: half a cosine down to `final_share` (Radford et al. 2018, section 4.1). wsd: the highest rate until the last
    `cool_down` of the budget, then down by 1 - sqrt(x) (Haegele et al. 2024). inverse-sqrt: down with the square root
    of the progress (Vaswani et al. 2017, equation 3, whose 4,000 steps of warm-up are here a share of the budget).
    constant: the highest rate from the warm-up on.
    """
    assert settings.learning_rate is not None
    progress = min(max(progress, 0.0), 1.0)
    if progress < settings.warm_up:
        # The very first step moves too: a rate of zero would waste it.
        return settings.learning_rate * max(progress / settings.warm_up, 0.01)
    if settings.schedule == "inverse-sqrt":
        return settings.learning_rate * math.sqrt(max(settings.warm_up, 1e-12) / progress) if progress else 0.0
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "wsd":
        past = max(progress - (1.0 - settings.cool_down), 0.0) / max(settings.cool_down, 1e-12)
        falling = 1.0 - math.sqrt(min(past, 1.0))
    else:
        after = (progress - settings.warm_up) / max(1.0 - settings.warm_up, 1e-12)
        falling = 0.5 * (1.0 + math.cos(math.pi * after))
    return settings.learning_rate * (settings.final_share + (1.0 - settings.final_share) * falling)
