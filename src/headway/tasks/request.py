"""What one call of a writer asks for, checked before any work is done."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from headway.decoding.choice import Choice
from headway.decoding.speculation import NewDrafter
from headway.errors import UsageError

_LARGEST_DRAWN_SEED = 2**32  # a drawn seed should be short enough to be typed again, and exact in JSON


@dataclass(frozen=True, kw_only=True)
class Search:
    """A beam search in place of sampling."""

    width: int
    length_penalty: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """How prompts are to be continued.

    drafter: makes what proposes tokens, for speculation. Raises UsageError for counts out of range and for a search
    with sampling or speculation.
    """

    choice: Choice
    max_new_tokens: int
    stop: str | Sequence[str] = ()
    logprobs: int | None = None
    samples: int = 1
    search: Search | None = None
    echo: bool = False
    drafter: NewDrafter | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        if not all(isinstance(stop, str) and stop for stop in self.stop):
            raise UsageError(f"stop takes strings of at least one character, but got {list(self.stop)!r}")
        _at_least("max_new_tokens", self.max_new_tokens, 0)
        _at_least("samples", self.samples, 1)
        if self.logprobs is not None:
            _at_least("logprobs", self.logprobs, 0)
        if self.search is not None:
            self._check_search(self.search)
            if not math.isfinite(self.search.length_penalty):
                raise UsageError(f"length_penalty must be a finite number, but got {self.search.length_penalty}")

    def _check_search(self, search: Search) -> None:
        _at_least("beam", search.width, 1)
        if self.drafter is not None:
            raise UsageError(
                "beam excludes speculate: proposals follow one text, and a search follows several\n"
                "Leave out one of the two."
            )
        choice = self.choice
        clashes = {
            "samples": self.samples != 1,
            "logprobs": self.logprobs is not None,
            "top_k": choice.top_k is not None,
            "top_p": choice.top_p is not None,
            "min_p": choice.min_p is not None,
            "bias or a penalty": choice.edits,
        }
        named = [name for name, clash in clashes.items() if clash]
        if named:
            raise UsageError(
                f"beam excludes {', '.join(named)}: a beam search draws nothing\nLeave out one or the other."
            )


def draw_seed() -> int:
    """A fresh seed from the system's randomness."""
    return secrets.randbelow(_LARGEST_DRAWN_SEED)


def _at_least(name: str, value: object, smallest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise UsageError(f"{name} must be a whole number of at least {smallest}, but got {value!r}")
