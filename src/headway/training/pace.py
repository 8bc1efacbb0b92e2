"""How fast a run goes, and so how long it still takes: steps, measurements of the validation text, checkpoints."""

import statistics
from collections import deque

_RECENT = 31  # steps whose median is the pace: the first, slow with compiling, soon counts no more


class Pace:
    """Seconds that the parts of a run take."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._evaluations: list[float] = []
        self._saves: list[float] = []

    @property
    def seconds_per_step(self) -> float:
        """The median of the latest steps; 0 before the first."""
        return statistics.median(self._steps) if self._steps else 0.0

    def add_step(self, seconds: float) -> None:
        """An optimiser step took so long."""
        self._steps.append(seconds)

    def add_evaluation(self, seconds: float) -> None:
        """Measuring the validation text and writing a sample took so long."""
        self._evaluations.append(seconds)

    def add_save(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self._saves.append(seconds)

    def seconds_left(self, *, steps: int, evaluations: int, save_steps: int | None, save_seconds: float) -> float:
        """The time `steps` steps and `evaluations` measurements take, with the checkpoints between them.

        A checkpoint comes every `save_steps` steps, or every `save_seconds` where that is None, and one at the end.
        """
        working = steps * self.seconds_per_step + evaluations * _mean(self._evaluations)
        each = _mean(self._saves)
        saves = steps / save_steps if save_steps else working / save_seconds
        return working + (saves + 1) * each


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else 0.0
