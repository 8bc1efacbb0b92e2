"""What of a token can be read back, by a linear probe, out of the stream and out of what a mixer gave for its place.

Ridge regression in closed form, fitted on four fifths of a text's windows and judged on the last fifth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headway.nn.packing import Packing

FREQUENT = 200
RIDGES = (1e-6, 1e-4, 1e-2, 1.0)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a probe found at one place of the model.

    where: "embedding", "stream" after a layer, "mixer" (its output alone) or "mixer, turned back" (by the transform
    itself, for a transform: its output stands in frequencies, not in places). identity: the share of held-out
    tokens, of those among the most frequent, that are named right; input: the share of the variance of the stream
    before the first layer that is read back (R^2).
    """

    where: str
    layer: int | None
    identity: float
    input: float


def read_back(
    windows: Tensor, streams: Mapping[str, Tensor], mixed: Sequence[Tensor], undoing: Mapping[int, nn.Module]
) -> tuple[tuple[Reading, ...], float]:
    """The readings of streams and mixers (B, T, D), and the share that the most frequent token alone would reach.

    undoing: the mixers, by layer, that are transforms.
    """
    judged = max(1, len(windows) // 5)
    ids = windows.flatten()
    fitted = torch.arange(len(windows)).repeat_interleave(windows.shape[1]) < len(windows) - judged
    if not bool(fitted.any()):  # one window: its last fifth is judged
        fitted = torch.arange(len(ids)) < len(ids) * 4 // 5
    known, counts = torch.unique(ids[fitted], return_counts=True)
    frequent = known[counts.argsort(descending=True, stable=True)[:FREQUENT]]
    wanted = (ids[:, None] == frequent).double()  # (N, frequent)
    inputs = streams["embedding"].flatten(0, 1).double()
    places: list[tuple[str, int | None, Tensor]] = [("embedding", None, streams["embedding"])]
    for layer, x in enumerate(mixed):
        places.append(("mixer", layer, x))
        if layer in undoing:
            places.append(("mixer, turned back", layer, _turned_back(x, undoing[layer])))
        places.append(("stream", layer, streams[f"layers.{layer}.residual"]))
    readings = []
    for where, at, x in places:
        found = _predict(x.flatten(0, 1).double(), torch.cat([wanted, inputs], dim=1), fitted)
        named = found[:, : len(frequent)].argmax(1)
        asked = wanted[~fitted].any(1)
        right = (wanted[~fitted].argmax(1) == named)[asked]
        readings.append(
            Reading(
                where=where,
                layer=at,
                identity=float(right.double().mean()) if len(right) else 0.0,
                input=_explained(inputs[~fitted], found[:, len(frequent) :]),
            )
        )
    judged_ids = wanted[~fitted]
    floor = float(judged_ids[judged_ids.any(1)][:, 0].mean()) if bool(judged_ids.any()) else 0.0
    return tuple(readings), floor


def _turned_back(x: Tensor, mixer: nn.Module) -> Tensor:
    """The transform once more on what it gave (B, T, D): the input again, or the part of it that it keeps, scaled."""
    rows, length = x.shape[:2]
    result: Tensor = mixer(x.flatten(0, 1), Packing([length] * rows))
    return result.view_as(x)


def _predict(features: Tensor, wanted: Tensor, fitted: Tensor) -> Tensor:
    """Ridge regression from features (N, D) to wanted (N, W) on the rows that are fitted; its words for the others.

    The penalty is the one with the least error on every tenth fitted row, which the fit leaves out.
    """
    mean, deviation = features[fitted].mean(0), features[fitted].std(0)
    standard = (features - mean) / deviation.clamp(min=1e-9 * float(deviation.max()) + 1e-30)
    rows = fitted.nonzero()[:, 0]
    aside, inner = rows[::10], rows[torch.arange(len(rows)) % 10 != 0]
    bias = wanted[inner].mean(0)
    gram = standard[inner].T @ standard[inner]
    values, axes = torch.linalg.eigh(gram)
    cross = axes.T @ (standard[inner].T @ (wanted[inner] - bias))
    scale = float(gram.diagonal().mean()) or 1.0
    turned = standard @ axes
    weights = [cross / (values.clamp(min=0.0) + ridge * scale)[:, None] for ridge in RIDGES]
    errors = [float((turned[aside] @ one + bias - wanted[aside]).square().mean()) for one in weights]
    best = weights[errors.index(min(errors))]
    result: Tensor = turned[~fitted] @ best + bias
    return result


def _explained(wanted: Tensor, found: Tensor) -> float:
    """1 - error / variance, over all columns together; a constant has nothing to explain."""
    spread = float((wanted - wanted.mean(0)).square().sum())
    return 1.0 - float((wanted - found).square().sum()) / spread if spread else 0.0
