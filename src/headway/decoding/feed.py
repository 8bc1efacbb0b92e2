"""Handing new tokens to a model: lists of ids become one padded tensor on the model's own device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def feed(model: AnyDecoder, state: Any, new: Sequence[Sequence[int]], *, every: bool = False) -> "tuple[Tensor, Any]":
    """One step of the model in which row b gets the ids `new[b]`, padded on the right.

    Returns logits (B, V), or (B, T, V) with `every`, and the next state; the given one is consumed.
    """
    import torch

    longest = max(len(ids) for ids in new)
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in new], dtype=torch.int64)
    counts = torch.tensor([len(ids) for ids in new], dtype=torch.int64)
    device = device_of(model)
    return model.step(padded.to(device), counts.to(device), state, every=every)


def device_of(model: AnyDecoder) -> "torch.device":
    """Where the model's parameters are; a decoder that is no torch module takes its ids on the CPU."""
    import torch

    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")
