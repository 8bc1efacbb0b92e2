"""Choosing the next token: the settings (`Choice`) and what they do to the logits (`choose`).

The order, all in float64 on the logits: bias, repetition penalty, frequency and presence penalty, a constraint's mask,
temperature, top-k, top-p, min-p. Each filter looks at what the one before it left. Temperature 0 takes the highest
logit after the mask, the lowest id on ties. Otherwise one uniform number picks from the kept ids: see `uniform` and
drawing.py.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.decoding.drawing import drawn
from headway.decoding.logits import Array, Logits, fetched, first_highest, on_host, require_finite
from headway.errors import ConfigError

Mask: TypeAlias = NDArray[np.bool_]
"""(V,) True for the ids that may be chosen."""

_WORD = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How the next token is chosen.

    temperature: divides the logits; 0 is greedy, and then top_k, top_p and min_p change nothing.
    top_k: only the k highest logits; ties go to the lowest ids, so exactly k are kept. None: off.
    top_p: only the most probable ids, the fewest whose sum reaches p (Holtzman et al. 2020). None: off.
    min_p: only ids at least min_p times as probable as the most probable one (Nguyen et al. 2024). None: off.
    repetition_penalty: the logit of every id that stands in the prompt or the continuation is divided by it where
    positive, multiplied where negative (CTRL, Keskar et al. 2019, section 4.1). 1: off.
    frequency_penalty, presence_penalty: taken from an id's logit for each time, and once, that it stands in the
    continuation; the prompt does not count (OpenAI's definition). 0: off.
    bias: added to the logits of these ids before all else; -inf forbids an id.
    seed: every draw is a pure function of (seed, sample number, position).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, "a number of at least 0 (0: greedy)", lambda x: x >= 0)
        if self.top_k is not None:
            _require("top_k", self.top_k, "a whole number of at least 1, or None", lambda x: x >= 1, whole=True)
        if self.top_p is not None:
            _require("top_p", self.top_p, "a number above 0 and at most 1, or None", lambda x: 0 < x <= 1)
        if self.min_p is not None:
            _require("min_p", self.min_p, "a number in 0..1, or None", lambda x: 0 <= x <= 1)
        _require("repetition_penalty", self.repetition_penalty, "a number above 0 (1: off)", lambda x: x > 0)
        _require("frequency_penalty", self.frequency_penalty, "a number (0: off)")
        _require("presence_penalty", self.presence_penalty, "a number (0: off)")
        _require("seed", self.seed, "a whole number in 0..2**64-1", lambda x: 0 <= x <= _WORD, whole=True)
        if not isinstance(self.bias, Mapping):
            raise ConfigError(f"bias must map ids to numbers, for instance {{198: -2.5}}, but got {self.bias!r}")
        for token, value in self.bias.items():
            _require("an id in bias", token, "a whole number of at least 0", lambda x: x >= 0, whole=True)
            if value != -math.inf:
                _require(f"bias of id {token}", value, "a number, or -inf to forbid the id")
        object.__setattr__(self, "bias", dict(self.bias))  # our own: the caller's later changes must not reach it

    @property
    def plain(self) -> bool:
        """True where nothing but the highest logit decides."""
        return self.temperature == 0 and not self.edits

    @property
    def edits(self) -> bool:
        """True where bias or a penalty changes the logits."""
        penalties = (self.repetition_penalty, self.frequency_penalty, self.presence_penalty)
        return bool(self.bias) or penalties != (1, 0, 0)


def choose(
    logits: Logits,
    choices: Sequence[Choice],
    histories: Sequence[Sequence[int]],
    samples: Sequence[int],
    positions: Sequence[int],
    masks: Sequence[Mask | None] | None = None,
) -> list[int]:
    """The next id of each row; logits (B, V).

    `histories`: prompt and continuation of each row so far; `positions`: how many tokens of it are continuation, which
    is also the position that is drawn; `masks`: which ids a row's constraint allows, None: all. Raises FormatError for
    logits that are not finite, ConfigError where a bias names an id outside the vocabulary, or bias, penalties and mask
    together forbid every id.
    """
    logits = on_host(logits)
    require_finite(logits)
    chosen: list[int] = [0] * len(choices)
    masks = masks or [None] * len(choices)
    if any(choice.plain for choice in choices):
        chosen = first_highest(logits)
    for row, (choice, mask) in enumerate(zip(choices, masks, strict=True)):
        if choice.plain and mask is None:
            continue
        if choice.edits or mask is not None or not isinstance(logits, np.ndarray):
            values = _edited(logits[row], choice, histories[row], positions[row])
        else:
            values = logits[row]  # what a filter leaves is made float64; most filters leave little
        if mask is not None:
            values = _masked(values, mask)
        if choice.temperature == 0:
            chosen[row] = int(values.argmax())
            continue
        chosen[row] = drawn(values, choice, uniform(choice.seed, samples[row], positions[row]))
    return chosen


def uniform(seed: int, sample: int, position: int) -> float:
    """A number in [0, 1) with 53 random bits: mix(mix(mix(seed) xor sample) xor position) >> 11, times 2**-53.

    mix is one step of splitmix64 (Steele et al. 2014): z += 0x9e3779b97f4a7c15, then two xor-shift-multiplies and a
    last xor-shift, all modulo 2**64.
    """
    mixed = _mix(_mix(_mix(seed) ^ sample) ^ position)
    return float(mixed >> 11) * 2.0**-53


@np.errstate(all="ignore")
def _edited(logits: Logits, choice: Choice, history: Sequence[int], n_generated: int) -> Array:
    values = fetched(logits)
    if choice.bias:
        if max(choice.bias) >= len(values):
            raise ConfigError(f"bias takes ids in 0..{len(values) - 1}, but got {max(choice.bias)}")
        values[list(choice.bias)] += np.array(list(choice.bias.values()))
    if choice.repetition_penalty != 1:
        seen = sorted(set(history))
        x, penalty = values[seen], choice.repetition_penalty
        values[seen] = np.where(x > 0, x / penalty, x * penalty)
    if n_generated and (choice.frequency_penalty or choice.presence_penalty):
        times = Counter(history[len(history) - n_generated :])
        values[list(times)] -= np.array(list(times.values())) * choice.frequency_penalty + choice.presence_penalty
    if choice.edits and not math.isfinite(values.max()):
        raise ConfigError(
            f"bias and penalties must leave a finite highest logit, but it is {float(values.max())}\n"
            "Forbid fewer ids, or choose values nearer to 0."
        )
    return values


def _masked(values: Array, mask: Mask) -> Array:
    """Minus infinity where the mask is False; its weight is 0 then, so that no filter and no draw keeps it."""
    values[~mask] = -math.inf
    if not math.isfinite(values.max()):
        raise ConfigError(
            "the constraint and the bias must both allow some id, but they leave none\n"
            "Forbid fewer ids, or ask for another constraint."
        )
    return values


def _require(
    name: str, value: object, rule: str, holds: Callable[[float], bool] = lambda x: True, *, whole: bool = False
) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and holds(value)):  # type: ignore[arg-type]
        raise ConfigError(f"{name} must be {rule}, but got {value!r}")


def _mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)
