"""The settings of a beam search and what it finds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headway.errors import UsageError

LengthPenalty = Literal["none", "mean", "gnmt"]

_LARGEST_EXPONENT = 20  # so that a length to its power stays a number


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a beam search runs, and how it ranks what it finds.

    beam: hypotheses that stay open at each step. max_new_tokens, max_ratio: a hypothesis has at most so many new
    tokens, and its target (a forced prefix counts) at most ceil(max_ratio * source tokens) + max_extra; one of the two
    is needed, and the smaller one holds. min_new_tokens, min_ratio: an end id is forbidden where the hypothesis would
    have fewer new tokens, the end among them, or its target fewer than min_ratio * source tokens. Source tokens are
    counted as given, the end id behind them too.

    length_penalty: the score is the sum of log-probabilities divided by 1 ("none"), by n ** alpha ("mean") or by
    ((5 + n) / 6) ** alpha ("gnmt", Wu et al. 2016, equation 14), n new tokens with the end id. coverage_penalty: that
    equation's beta; it needs a model that shows its attention to the source, and slows the search.
    forbidden_ids: never chosen. n_best: hypotheses returned, at most `beam`.
    """

    beam: int = 4
    max_new_tokens: int | None = None
    max_ratio: float | None = None
    max_extra: int = 0
    min_new_tokens: int = 0
    min_ratio: float = 0.0
    length_penalty: LengthPenalty = "mean"
    alpha: float = 1.0
    coverage_penalty: float = 0.0
    forbidden_ids: frozenset[int] = frozenset()
    n_best: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "forbidden_ids", frozenset(self.forbidden_ids))
        _whole("beam", self.beam, 1)
        _whole("n_best", self.n_best, 1)
        for name in ("max_extra", "min_new_tokens"):
            _whole(name, getattr(self, name), 0)
        if self.max_new_tokens is not None:
            _whole("max_new_tokens", self.max_new_tokens, 1)
        if self.n_best > self.beam:
            raise UsageError(
                f"n_best takes at most beam={self.beam} hypotheses, but got {self.n_best}\nSearch with a wider beam."
            )
        if self.max_new_tokens is None and self.max_ratio is None:
            raise UsageError("a search needs an end: give max_new_tokens or max_ratio")
        if self.max_ratio is not None and not 0 < self.max_ratio < math.inf:
            raise UsageError(f"max_ratio must be a number above 0, but got {self.max_ratio}")
        for name in ("min_ratio", "coverage_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be a number of at least 0, but got {getattr(self, name)}")
        if self.length_penalty not in ("none", "mean", "gnmt"):
            raise UsageError(f'length_penalty must be "none", "mean" or "gnmt", but got {self.length_penalty!r}')
        if not abs(self.alpha) <= _LARGEST_EXPONENT:
            raise UsageError(
                f"alpha, the length penalty's exponent, must be in -{_LARGEST_EXPONENT}..{_LARGEST_EXPONENT}, "
                f"but got {self.alpha}"
            )

    def penalty(self, length: int) -> float:
        """What a sum of `length` log-probabilities is divided by."""
        if self.length_penalty == "none":
            return 1.0
        base = length if self.length_penalty == "mean" else (5 + length) / 6
        return float(base**self.alpha)

    def bounds(self, prompt: Sequence[int], source: Sequence[int] | None) -> tuple[int, int]:
        """How many new tokens a hypothesis must have before it may end with the last of them, and may have at most."""
        least, most = self.min_new_tokens, self.max_new_tokens
        if source is not None:
            forced = len(prompt) - 1  # the start id is no part of the target
            least = max(least, math.ceil(self.min_ratio * len(source)) - forced)
            if self.max_ratio is not None:
                allowed = max(1, math.ceil(self.max_ratio * len(source)) + self.max_extra - forced)
                most = allowed if most is None else min(most, allowed)
        assert most is not None
        return least, most


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One continuation: its ids, the end id included where it is `finished`, and a log-probability for each.

    score: what it is ranked by, penalties applied. windowed: it outgrew the model's context (see window.py).
    """

    ids: tuple[int, ...]
    score: float
    logprobs: tuple[float, ...]
    finished: bool
    windowed: bool


def _whole(name: str, value: object, smallest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise UsageError(f"{name} must be a whole number of at least {smallest}, but got {value!r}")
