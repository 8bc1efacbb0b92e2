"""Handing ids to a model: lists of them become one padded tensor on the model's own device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headway.errors import ContextError, UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def feed(
    model: AnyDecoder, state: Any, new: Sequence[Sequence[int]], *, every: bool = False, trace: Any = None
) -> "tuple[Tensor, Any]":
    """One step of the model in which row b gets the ids `new[b]`, padded on the right.

    Returns logits (B, V), or (B, T, V) with `every`, and the next state; the given one is consumed.
    """
    import torch

    longest = max(len(ids) for ids in new)
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in new], dtype=torch.int64)
    counts = torch.tensor([len(ids) for ids in new], dtype=torch.int64)
    device = device_of(model)
    return model.step(padded.to(device), counts.to(device), state, every=every, trace=trace)


def begin(model: AnyDecoder, sources: Sequence[Sequence[int] | None], rows: Sequence[int]) -> Any:
    """An empty state of the model: row b reads `sources[rows[b]]`; all of them, or none, are None."""
    import torch

    given = [source for source in sources if source is not None]
    if not given:
        return model.start(rows=len(rows))
    longest = max(map(len, given))
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in given], dtype=torch.int64)
    device = device_of(model)
    return model.start(padded.to(device), torch.tensor([len(ids) for ids in given]), rows=list(rows))


def require_source(model: AnyDecoder, source: Sequence[int] | None) -> None:
    """Raises UsageError for an empty source, ContextError for one past the model's context."""
    if source is not None and not source:
        raise UsageError("a source must have at least one id; put the end id behind it")
    if source is not None and model.context is not None and len(source) > model.context:
        raise ContextError(f"a source may hold {model.context} tokens (the model's context), but got {len(source)}")


def device_of(model: AnyDecoder) -> "torch.device":
    """Where the model's parameters are; a decoder that is no torch module takes its ids on the CPU."""
    import torch

    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")
