"""Logits on their way from a model to a choice: arrays on a CPU, whoever computed them; tensors on other devices.

Choosing is numpy's work, so that the compiled engine writes without PyTorch; an array shares a tensor's memory. What
can be told of logits on another device without fetching them (the highest, a token's own log-probability) is told
there.
"""

import math
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headway.decoding.ranking import highest
from headway.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = NDArray[np.floating[Any]]
Logits: TypeAlias = "Array | Tensor"


def on_host(logits: "Logits") -> "Logits":
    """An array where the logits are on a CPU, in float32 or float64; a tensor of another device as it is."""
    if isinstance(logits, np.ndarray):
        return logits
    if logits.device.type != "cpu":
        return logits
    exact = logits.detach()
    array: Array = (exact if exact.element_size() >= 4 else exact.float()).numpy()
    return array


def fetched(logits: "Logits") -> Array:
    """The logits as a float64 array of their own, from any device."""
    if isinstance(logits, np.ndarray):
        return logits.astype(np.float64)
    array: Array = logits.detach().double().cpu().numpy()
    return array.copy() if logits.dtype.itemsize == 8 else array


def require_finite(logits: "Logits") -> None:
    """Raises FormatError naming the first logit that is NaN or infinite; logits (..., V)."""
    values = on_host(logits)
    with np.errstate(all="ignore"):
        if math.isfinite(float(values.sum())):  # one pass; only what fails it is looked at number by number
            return
    values = fetched(values)
    wrong = np.argwhere(~np.isfinite(values))
    if not len(wrong):
        return
    raise FormatError(
        f"the model's logits must be finite, but got {values[tuple(wrong[0])]} for id {wrong[0][-1]}\n"
        "The weights are damaged or too large for this precision: load with dtype=float32, or get the model again."
    )


def first_highest(logits: "Logits") -> list[int]:
    """The place of each row's highest value, the lowest on ties; logits (B, N), none of them NaN."""
    values = on_host(logits)
    places = values.argmax(axis=-1) if isinstance(values, np.ndarray) else values.argmax(dim=-1)
    return places.tolist()


def logprobs_of(logits: "Logits", ids: Sequence[int]) -> list[float]:
    """The log-probability of `ids[n]` under row n of logits (N, V)."""
    values = on_host(logits)
    if isinstance(values, np.ndarray):
        return [float(row[id]) - log_partition(row) for row, id in zip(values, ids, strict=True)]
    import torch

    wanted = torch.tensor(ids, device=values.device)[:, None]
    own: list[float] = values.float().log_softmax(dim=-1).gather(1, wanted)[:, 0].tolist()
    return own


def alternatives(logits: "Logits", count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most probable ids under logits (V,) with their log-probabilities, the most probable first."""
    values = on_host(logits)
    row: Array = values if isinstance(values, np.ndarray) else values.float().cpu().numpy()
    places = highest(row, count)
    logprobs = row[places].astype(np.float64) - log_partition(row)
    return tuple(zip(places.tolist(), logprobs.tolist(), strict=True))


def log_partition(row: Array) -> float:
    """The logarithm of the sum of exponentials of logits (V,), which makes them log-probabilities.

    The exponentials are taken in the logits' own precision: at float32 their error is a ten-millionth.
    """
    highest = row.max()
    return float(highest) + math.log(float(np.exp(row - highest).sum(dtype=np.float64)))


def without_gradients() -> AbstractContextManager[Any]:
    """PyTorch's inference mode where PyTorch is loaded; elsewhere no model of its can be at work."""
    mode: Any = getattr(sys.modules.get("torch"), "inference_mode", None)
    return nullcontext() if mode is None else mode()
