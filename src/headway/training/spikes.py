"""The guard against loss spikes: a step far outside the recent ones does not move the weights.

A value is far outside where it lies so many standard deviations above the mean of the latest 128.
"""

import statistics

RECENT = 128
_FEWEST = 32  # before so many steps nothing is known to be unusual


def stands_out(value: float, recent: tuple[float, ...], deviations: float) -> bool:
    """Whether a loss or gradient norm is a spike after the `recent` ones; never where `deviations` is 0."""
    if deviations == 0 or len(recent) < _FEWEST:
        return False
    mean = statistics.fmean(recent)
    spread = statistics.pstdev(recent, mean)
    # Values that hardly differ say little about what is unusual: a hundredth of the mean is always usual.
    return value > mean + deviations * max(spread, 0.01 * abs(mean))


def remember(value: float, recent: tuple[float, ...]) -> tuple[float, ...]:
    """The latest values with one more."""
    return (*recent, value)[-RECENT:]
