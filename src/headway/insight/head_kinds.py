"""Which heads do something that has a name: read the token before, the first token, or what followed last time.

Each score is a mean of attention probabilities, so 0..1. The last is how induction heads are found (Olsson et al. 2022,
"In-context Learning and Induction Heads": the prefix matching score, on random tokens said twice).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_REPEATS = 4
"""With fewer places than these in a text, a mean over them would say little: a random text is read instead."""
_SEED = 2022
_REPEATED = 24


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """The scores (H,) of a layer's heads.

    previous: mean attention of each token but the first to the one before it. first: of the same tokens to the first
    one. (The second token's only other choice is itself, so it counts for both.) repeat: mean attention of each token
    that occurred before to the token behind its latest former occurrence; None without such tokens.
    """

    previous: tuple[float, ...]
    first: tuple[float, ...]
    repeat: tuple[float, ...] | None


def kinds_of(maps: Tensor, places: Sequence[tuple[int, int]]) -> Kinds:
    """The kinds of heads by their maps (H, T, T); places: from `repeats`. A single token scores 0."""
    nothing = (0.0,) * maps.shape[0]
    previous, first = nothing, nothing
    if maps.shape[1] > 1:
        previous = _means(maps.diagonal(offset=-1, dim1=1, dim2=2))
        first = _means(maps[:, 1:, 0])
    repeat = None
    if places:
        reading, read = torch.tensor(places, device=maps.device).unbind(1)
        repeat = _means(maps[:, reading, read])
    return Kinds(previous=previous, first=first, repeat=repeat)


def repeats(ids: Sequence[int]) -> list[tuple[int, int]]:
    """For each token that occurred before, its place and the place behind its latest former occurrence.

    A token right behind its own kind is left out: what followed last time is itself.
    """
    latest: dict[int, int] = {}
    found = []
    for place, id in enumerate(ids):
        before = latest.get(id)
        if before is not None and before + 1 != place:
            found.append((place, before + 1))
        latest[id] = place
    return found


def random_repeated(n_ids: int, barred: Sequence[int], room: int | None) -> list[int]:
    """A sequence of different ids of 0..n_ids-1, drawn with a fixed seed, and the same once more.

    barred: ids that are not drawn. room: the most ids there may be. At most 24 twice; empty where not even two ids fit.
    """
    generator = torch.Generator().manual_seed(_SEED)
    order = torch.randperm(n_ids, generator=generator).tolist()
    kept = set(barred)
    length = _REPEATED if room is None else min(_REPEATED, room // 2)
    drawn = [id for id in order if id not in kept][:length]
    return [*drawn, *drawn] if len(drawn) > 1 else []


def _means(read: Tensor) -> tuple[float, ...]:
    """(H, N) -> (H,)."""
    return tuple(read.double().mean(dim=1).clamp(0.0, 1.0).tolist())
