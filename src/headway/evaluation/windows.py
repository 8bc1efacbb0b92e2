"""Long text under a short context: overlapping windows in which every token is scored once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from headway.errors import ConfigError

Ids = Sequence[int] | numpy.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of tokens to feed, `ids`; of the tokens that follow each, the last `n_scored` are scored here.

    targets: ids moved on by one, so targets[i] is predicted from ids[0..i].
    """

    ids: Ids
    targets: Ids
    n_scored: int


def windows(ids: Ids, context: int, stride: int) -> Iterator[Window]:
    """The windows over one document of ids, its first id being given and never scored.

    The first window scores all it predicts; each next one moves on by `stride` and scores only what is new, so every
    scored token but those of the first window sees at least `context - stride` tokens before it.
    Raises ConfigError unless 1 <= stride <= context.
    """
    if not 1 <= stride <= context:
        raise ConfigError(f"stride must be in 1..{context}, the context in tokens, but got {stride}")
    scored = 0
    start = 0
    while scored < len(ids) - 1:
        end = min(start + context, len(ids) - 1)
        yield Window(ids=ids[start:end], targets=ids[start + 1 : end + 1], n_scored=end - scored)
        scored = end
        start += stride
