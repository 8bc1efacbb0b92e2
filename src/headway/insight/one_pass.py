"""One pass of a model over one text, the same for every family: what it was fed, its trace, and its logits.

A pass over a target reads its source first; what a position says is then of the token that follows, as a writer's is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headway.errors import ContextError, DataError, UsageError
from headway.insight.anatomy import Anatomy
from headway.insight.attention_maps import MapTrace
from headway.nn.trace import Ablation, Trace

MOST_TOKENS = 2048
"""Tokens that are looked at together, even where a model has no limit of its own."""
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Fed:
    """The ids of one row: a text's, or a target's with its start in front; and those of the source it reads."""

    ids: Sequence[int]
    source: Sequence[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What came out: normed states (T, D) where a matrix makes words of them, or the logits (T, V) themselves."""

    anatomy: Anatomy
    states: Tensor
    are_logits: bool

    def logits(self, places: slice | Sequence[int]) -> Tensor:
        """The logits (N, V) of some places, float32 at least."""
        found = self.states[places]
        if not self.are_logits:
            found = self.anatomy.logits(found)
        return found if found.dtype == torch.float64 else found.float()

    def in_parts(self, n_places: int) -> Iterator[tuple[int, Tensor]]:
        """The logits of the first places, some dozens at a time, with the first place of each part."""
        for begin in range(0, n_places, _AT_ONCE):
            yield begin, self.logits(slice(begin, min(begin + _AT_ONCE, n_places)))


def run_pass(anatomy: Anatomy, fed: Fed, trace: Trace | None = None, ablate: Ablation | None = None) -> Pass:
    """Run the model once; call it without gradients. ablate: self-attention heads, the decoder's where there is one.

    Raises DataError without a token, ContextError past the context or 2,048 tokens, UsageError for ids that the model
    does not have and for heads that are not there.
    """
    _check(anatomy, fed)
    model, device = anatomy.model, next(anatomy.model.parameters()).device
    ids = torch.tensor([list(fed.ids)], dtype=torch.int64, device=device)
    if not anatomy.reads_source:
        states = model.encode(ids, None, trace=trace, ablate=ablate or None)[0]
        return Pass(anatomy=anatomy, states=states, are_logits=False)
    assert fed.source is not None  # checked
    source = torch.tensor([list(fed.source)], dtype=torch.int64, device=device)
    lengths = torch.tensor([len(fed.source)])
    if isinstance(trace, MapTrace) and anatomy.encoder_attends:
        _see_encoder(model, source, lengths, trace)
    state = model.start(source, lengths, rows=1)
    counts = torch.tensor([len(fed.ids)])
    logits, _ = model.step(ids, counts, state, every=True, trace=trace, ablate=ablate or None)
    return Pass(anatomy=anatomy, states=logits[0], are_logits=True)


def _see_encoder(model: Any, source: Tensor, lengths: Tensor, trace: MapTrace) -> None:
    seen = Trace()
    model.encode(source, lengths, trace=seen)
    for name, maps in seen.found.items():
        trace.take("encoder.", int(name.split(".")[2]), maps)


def _check(anatomy: Anatomy, fed: Fed) -> None:
    if anatomy.reads_source and not fed.source:
        raise UsageError("this model reads a source: give its ids, the end included")
    if not anatomy.reads_source and fed.source is not None:
        raise UsageError("this model reads no source: leave it out")
    config = anatomy.model.config
    sizes = {"source": getattr(config, "source_vocabulary", None) or config.vocabulary, "text": config.vocabulary}
    for what, ids in (("text", fed.ids), ("source", fed.source)):
        if ids is None:
            continue
        if not ids:
            raise DataError("there is no text to look at\nGive at least one token.")
        most = min(MOST_TOKENS, anatomy.model.context or MOST_TOKENS)
        if len(ids) > most:
            raise ContextError(f"at most {most} tokens can be looked at with this model, but the {what} has {len(ids)}")
        if min(ids) < 0 or max(ids) >= sizes[what]:
            raise UsageError(f"ids of the {what} are in 0..{sizes[what] - 1}, but got {min(ids)}..{max(ids)}")
