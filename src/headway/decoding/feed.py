"""Handing ids to a model: lists of them become one padded tensor on the model's own device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.decoding.logits import Logits, on_host
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

    padded, counts = (torch.from_numpy(array).to(device_of(model)) for array in _padded(new))
    return model.step(padded, counts, state, every=every, trace=trace)


def feed_for_choice(
    model: AnyDecoder, state: Any, new: Sequence[Sequence[int]], *, every: bool = False
) -> tuple[Logits, Any]:
    """As `feed`, with logits as choices take them: an array where the model computes on a CPU."""
    if takes_arrays(model):
        padded, counts = _padded(new)
        return model.step(padded, counts, state, every=every)  # type: ignore[arg-type]  # that is what it takes
    logits, state = feed(model, state, new, every=every)
    return on_host(logits), state


def begin(model: AnyDecoder, sources: Sequence[Sequence[int] | None], rows: Sequence[int]) -> Any:
    """An empty state of the model: row b reads `sources[rows[b]]`; all of them, or none, are None."""
    given = [source for source in sources if source is not None]
    if not given:
        return model.start(rows=len(rows))
    import torch

    padded, lengths = map(torch.from_numpy, _padded(given))
    return model.start(padded.to(device_of(model)), lengths, rows=list(rows))


def require_source(model: AnyDecoder, source: Sequence[int] | None) -> None:
    """Raises UsageError for an empty source, ContextError for one past the model's context."""
    if source is not None and not source:
        raise UsageError("a source must have at least one id; put the end id behind it")
    if source is not None and model.context is not None and len(source) > model.context:
        raise ContextError(f"a source may hold {model.context} tokens (the model's context), but got {len(source)}")


def takes_arrays(model: AnyDecoder) -> bool:
    """Whether the model's step takes ids as numpy arrays and gives its logits so: the compiled engine's."""
    return getattr(model, "takes_arrays", False)


def device_of(model: AnyDecoder) -> "torch.device":
    """Where the model's parameters are; a decoder that is no torch module takes its ids on the CPU."""
    import torch

    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")


def _padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lists of ids -> ids (B, T), padded on the right by 0, and counts (B,)."""
    counts = np.array([len(ids) for ids in rows], dtype=np.int64)
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded, counts
