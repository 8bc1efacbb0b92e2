"""Beam search: the continuations of highest probability, through start, step and select alone.

score = (sum of log-probabilities) / length ** length_penalty, the first of the two forms in Wu et al. 2016 (section 7),
the one Marian and transformers use; the length counts the end id. At every step the open hypotheses' continuations are
ranked by their sum: those of the best `beam` that end are finished, the best `beam` that do not end stay open. The
search stops early once `beam` hypotheses are finished, so that beam 1 is greedy decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.decoding import window
from headway.decoding.choice import require_finite
from headway.decoding.feed import feed
from headway.decoding.ranking import highest
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    from torch import Tensor

_PREFILL = 512  # prompt tokens read in one step


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One continuation: its ids, the end id included where it is `finished`, and a log-probability for each."""

    ids: tuple[int, ...]
    score: float
    logprobs: tuple[float, ...]
    finished: bool
    windowed: bool


@dataclass(frozen=True, kw_only=True)
class _Open:
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0


# Seven parameters: each is a plain value of the search, and callers name them.
def beam_search(
    model: AnyDecoder,
    prompt_ids: Sequence[int],
    *,
    beam: int,
    max_new_tokens: int,
    end_ids: frozenset[int] = frozenset(),
    length_penalty: float = 1.0,
    vocabulary: int | None = None,
) -> list[Hypothesis]:
    """At most `beam` hypotheses, the best first.

    Those that reached max_new_tokens without an end id compete too, by the same score. vocabulary: only ids below it
    are tried (None: all); log-probabilities are over the full vocabulary all the same. Ties go to the hypothesis that
    ranked higher before, then to the lower id. Past the context see window.py. Raises UsageError for an empty
    prompt or a count below 1, FormatError for logits that are not finite.
    """
    import torch

    if not prompt_ids:
        raise UsageError("a prompt must have at least one id; start from the end-of-text id where there is none")
    for name, value in (("beam", beam), ("max_new_tokens", max_new_tokens)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, but got {value}")
    fits = window.fitting(prompt_ids, model.context)
    windowed, held = len(fits) < len(prompt_ids), len(fits)
    finished: list[Hypothesis] = []
    opened = [_Open()]
    with torch.inference_mode():
        logits, state = _read(model, fits)
        while True:
            every = _log_probabilities(logits)
            ended, parents, opened = _expand(opened, every[:, :vocabulary], beam, end_ids)
            finished += [_closed(one, length_penalty, finished=True, windowed=windowed) for one in ended]
            if len(finished) >= beam or not opened or len(opened[0].ids) == max_new_tokens:
                break
            if window.is_full(held, model.context):
                assert model.context is not None
                texts = [window.restart([*prompt_ids, *one.ids], model.context) for one in opened]
                logits, state = feed(model, model.start(rows=len(opened)), texts)
                windowed, held = True, len(texts[0])
            else:
                logits, state = feed(model, state.select(parents), [one.ids[-1:] for one in opened])
                held += 1
    if len(finished) < beam:
        finished += [_closed(one, length_penalty, finished=False, windowed=windowed) for one in opened]
    return sorted(finished, key=lambda one: -one.score)[:beam]


def _read(model: AnyDecoder, ids: Sequence[int]) -> "tuple[Tensor, Any]":
    state = model.start(rows=1)
    for first in range(0, len(ids), _PREFILL):
        logits, state = feed(model, state, [ids[first : first + _PREFILL]])
    return logits, state


def _log_probabilities(logits: "Tensor") -> "Tensor":
    """(B, V) -> (B, V) float64, in which logits that differ never become a tie."""
    require_finite(logits)
    return logits.double().log_softmax(dim=-1)


def _expand(
    opened: Sequence[_Open], logprobs: "Tensor", beam: int, end_ids: frozenset[int]
) -> tuple[list[_Open], list[int], list[_Open]]:
    """The continuations that end, and the rows of the model and the continuations that stay open; logprobs (B, V)."""
    totals = logprobs.new_tensor([one.total for one in opened])
    sums = (totals[:, None] + logprobs).flatten()  # (B, V) -> (B * V,)
    n_ids = logprobs.shape[1]
    # At most one ending a row and end id can stand before the last one that stays open.
    ranked = highest(sums, beam + len(opened) * len(end_ids)).tolist()
    ended: list[_Open] = []
    parents: list[int] = []
    stay: list[_Open] = []
    for rank, place in enumerate(ranked):
        parent, token = divmod(place, n_ids)
        before, logprob = opened[parent], float(logprobs[parent, token])
        after = _Open(ids=(*before.ids, token), logprobs=(*before.logprobs, logprob), total=before.total + logprob)
        if token in end_ids:
            if rank < beam:
                ended.append(after)
        elif len(stay) < beam:
            parents.append(parent)
            stay.append(after)
    return ended, parents, stay


def _closed(one: _Open, length_penalty: float, *, finished: bool, windowed: bool) -> Hypothesis:
    return Hypothesis(
        ids=one.ids,
        score=one.total / len(one.ids) ** length_penalty,
        logprobs=one.logprobs,
        finished=finished,
        windowed=windowed,
    )
