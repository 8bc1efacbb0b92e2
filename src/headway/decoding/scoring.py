"""What the model thinks of a given text: the log-probability of each token after those before it."""

from collections.abc import Sequence
from typing import Any

from headway.decoding.feed import feed_for_choice
from headway.decoding.logits import alternatives, fetched, logprobs_of, require_finite, without_gradients
from headway.errors import ConfigError, ContextError
from headway.models.protocol import AnyDecoder


def score(model: AnyDecoder, ids: Sequence[int], *, chunk: int = 128) -> list[float | None]:
    """The log-probability (natural logarithm) of each id given those before it; None for the first.

    The model's own distribution over its full vocabulary. `chunk` positions of logits are held at once. Raises
    ContextError where the ids are more than the model's context: a cut text would get another score.
    """
    scoring = Scoring(model, ids)
    while not scoring.finished:
        scoring.step(chunk)
    return scoring.logprobs


def require_scorable(model: AnyDecoder, ids: Sequence[int]) -> None:
    """Raises ContextError where the ids are more than the model's context."""
    if model.context is not None and len(ids) > model.context:
        raise ContextError(
            f"scoring takes at most {model.context} tokens (the model's context), but got {len(ids)}\n"
            "Score a shorter text, or evaluate, which goes through a long text in windows."
        )


class Scoring:
    """A text on its way through the model, a chunk at a time, so that others can be served in between.

    logprobs, tops: of each id so far, its log-probability (None for the first) and the `n_top` most probable ids in
    its place with theirs.
    """

    def __init__(self, model: AnyDecoder, ids: Sequence[int], *, n_top: int = 0) -> None:
        """Raises ContextError where the ids are more than the model's context."""
        require_scorable(model, ids)
        self._model = model
        self._ids = ids
        self._n_top = n_top
        self._state: Any = None
        self.logprobs: list[float | None] = [None] * min(len(ids), 1)
        self.tops: list[tuple[tuple[int, float], ...]] = [()] * min(len(ids), 1)

    @property
    def finished(self) -> bool:
        return len(self.logprobs) == len(self._ids)

    def step(self, chunk: int) -> None:
        """Score the next ids, `chunk` at most."""
        if chunk < 1:
            raise ConfigError(f"chunk must be at least 1, but got {chunk}")
        first = len(self.logprobs) - 1
        fed = self._ids[first : min(first + chunk, len(self._ids) - 1)]
        with without_gradients():
            state = self._model.start(rows=1) if self._state is None else self._state
            logits, self._state = feed_for_choice(self._model, state, [fed], every=True)  # (1, T, V)
            require_finite(logits)
            following = self._ids[first + 1 : first + 1 + len(fed)]
            for at, id in enumerate(following):
                row = fetched(logits[0, at])  # in float64: a score is a sum of many
                self.logprobs += logprobs_of(row[None], [id])
                self.tops.append(alternatives(row, self._n_top) if self._n_top else ())
