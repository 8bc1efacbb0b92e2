"""What the model thinks of a given text: the log-probability of each token after those before it."""

from collections.abc import Sequence

from headway.decoding.choice import require_finite
from headway.decoding.feed import feed
from headway.errors import ConfigError, ContextError
from headway.models.protocol import AnyDecoder


def score(model: AnyDecoder, ids: Sequence[int], *, chunk: int = 128) -> list[float | None]:
    """The log-probability (natural logarithm) of each id given those before it; None for the first.

    The model's own distribution over its full vocabulary. `chunk` positions of logits are held at once. Raises
    ContextError where the ids are more than the model's context: a cut text would get another score.
    """
    import torch

    if chunk < 1:
        raise ConfigError(f"chunk must be at least 1, but got {chunk}")
    if model.context is not None and len(ids) > model.context:
        raise ContextError(
            f"scoring takes at most {model.context} tokens (the model's context), but got {len(ids)}\n"
            "Score a shorter text, or evaluate, which goes through a long text in windows."
        )
    logprobs: list[float | None] = [None] * min(len(ids), 1)
    with torch.inference_mode():
        state = model.start(rows=1)
        for first in range(0, len(ids) - 1, chunk):
            fed = ids[first : min(first + chunk, len(ids) - 1)]
            logits, state = feed(model, state, [fed], every=True)  # (1, T, V)
            require_finite(logits)
            after = torch.tensor(ids[first + 1 : first + 1 + len(fed)], device=logits.device)
            every = logits[0].double().log_softmax(dim=-1)
            logprobs += every.gather(1, after[:, None])[:, 0].tolist()
    return logprobs
