"""Drawing one id: which ids a choice keeps, how much each weighs, and the one where a uniform number falls.

`kept` and `_draw` are the definition. Where a choice looks at a whole vocabulary, exponentials in float32 settle nearly
every draw for a fraction of the time; what lies nearer to a border than their error is left to the definition.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headway.decoding.logits import Array
from headway.decoding.ranking import highest

if TYPE_CHECKING:
    from headway.decoding.choice import Choice

_GROUP = 128  # weights whose sum is looked at before they are
_LIKELIEST = (64, 1024)  # ids among which a nucleus is looked for before all are sorted
# Float32 rounds x = (logit - highest) / temperature, which is above -88 where a weight is above 0, and the exponential:
# a weight, and so a sum of weights, is off by less than (88 + 4) / 2**24 of itself. Two sums are compared.
_MARGIN = 2.0**-16


def drawn(values: Array, choice: "Choice", u: float) -> int:
    """The id that a uniform number u in 0..1 falls on; values (V,), float64 or as the model gave them."""
    if choice.top_k is None or choice.top_k >= len(values):
        values = values.astype(np.float64, copy=False)
        found = _among_all(values, choice.temperature, u) if choice.top_p in (None, 1) and not choice.min_p else None
        if found is not None:
            return found
    ids, weights = kept(values, choice)
    return int(ids[_draw(weights, u)])


@np.errstate(all="ignore")  # what overflows is minus infinity, and weighs nothing
def kept(values: Array, choice: "Choice") -> tuple[NDArray[np.int64], Array]:
    """The ids that may be drawn, ascending, and their weights exp((x - max x) / temperature), not normalised.

    values (V,) -> ids (N,), weights (N,) float64. The heaviest weight is exactly 1.
    """
    if choice.top_k is not None and choice.top_k < len(values):
        ids = np.sort(highest(values, choice.top_k))
        values = values[ids]
    else:
        ids = np.arange(len(values))
    values = values.astype(np.float64, copy=False)
    scaled = (values - values.max()) / choice.temperature
    if choice.top_p is not None and choice.top_p < 1:
        inside = _likeliest(scaled, choice.top_p)
        if inside is None:
            inside = _nucleus(np.exp(scaled), choice.top_p)
        ids, scaled = ids[inside], scaled[inside]
    if choice.min_p:
        near = scaled >= math.log(choice.min_p) - 1e-9  # all that are likely enough, and hardly another
        ids, scaled = ids[near], scaled[near]
    weights = np.exp(scaled)
    if choice.min_p is not None:
        likely = weights >= choice.min_p
        ids, weights = ids[likely], weights[likely]
    return ids, weights


@np.errstate(all="ignore")
def _among_all(values: Array, temperature: float, u: float) -> int | None:
    """What the definition draws where all ids are kept; None where float32 cannot tell."""
    rough = np.exp(((values - values.max()) / temperature).astype(np.float32))
    starts = np.arange(0, len(rough), _GROUP)
    sums = np.add.reduceat(rough, starts, dtype=np.float64).cumsum()
    target, margin = u * sums[-1], _MARGIN * sums[-1]
    group = int(np.searchsorted(sums, target, side="right"))
    if group == len(sums):
        return None
    before = float(sums[group - 1]) if group else 0.0
    inside = before + rough[group * _GROUP : (group + 1) * _GROUP].astype(np.float64).cumsum()
    place = int(np.searchsorted(inside, target, side="right"))
    if place == len(inside):
        return None
    lower = inside[place - 1] if place else before
    certain = target - lower > margin and inside[place] - target > margin
    return group * _GROUP + place if certain else None


def _likeliest(scaled: Array, p: float) -> NDArray[np.int64] | None:
    """The nucleus as `_nucleus` finds it where it is among the likeliest few; None where float32 cannot tell."""
    if len(scaled) < 8 * _GROUP:
        return None
    total = float(np.exp(scaled.astype(np.float32)).sum(dtype=np.float64))
    for count in _LIKELIEST:
        places = highest(scaled, count)
        sums = np.exp(scaled[places]).cumsum()
        fewest, most = (int((sums < p * total * (1 + side * _MARGIN)).sum()) for side in (-1, 1))
        if fewest < len(places):
            return np.sort(places[: most + 1]) if fewest == most < len(places) else None
    return None


def _nucleus(weights: Array, p: float) -> NDArray[np.int64]:
    """The places, ascending, of the heaviest weights, the fewest whose sum reaches p of the whole."""
    total = weights.cumsum()[-1]
    # What lies under half of (1 - p) / N of the whole cannot be inside: all of it together is less than 1 - p.
    possible = np.flatnonzero(weights >= (1 - p) / 2 * total / len(weights))
    heaviest = np.sort(weights[possible])[::-1]
    n_kept = int((heaviest.cumsum() < p * total).sum()) + 1
    least = heaviest[min(n_kept, len(heaviest)) - 1]
    inside = weights > least
    inside[np.flatnonzero(weights == least)[: n_kept - np.count_nonzero(inside)]] = True
    return np.flatnonzero(inside)


def _draw(weights: Array, u: float) -> int:
    """The first place whose running sum, added up in id order, is above u times the whole sum."""
    sums = weights.cumsum()
    place = int(np.searchsorted(sums, u * sums[-1], side="right"))
    # u * whole may round up to the whole itself; then the place where the sum first reached it is taken.
    return place if place < len(weights) else int(np.searchsorted(sums, sums[-1], side="left"))
