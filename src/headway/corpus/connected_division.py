"""Which labelled examples are kept aside to measure on, so that no text stands on both sides.

Examples that share a text (a context, a sentence of a pair) are connected and stay together; of what is connected so,
each stratum (a label) gives about its share.
"""

import hashlib
from collections.abc import Hashable, Sequence

import numpy
from numpy.typing import NDArray

from headway.corpus.pair_division import sentence_key
from headway.errors import DataError


def keep_aside(
    texts: Sequence[Sequence[str]], strata: Sequence[Hashable], *, share: float, most: int
) -> NDArray[numpy.bool_]:
    """(N,) True for the examples kept aside: about `share` of each stratum, at most about `most` in all.

    texts: those of each example, compared by letters and digits alone, in any case. strata: one each. Which are kept
    depends on the texts alone. Raises DataError where nothing can be kept aside.
    """
    groups = _groups(texts)
    share = min(share, most / max(len(texts), 1))
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    of_stratum: dict[Hashable, list[int]] = {}
    for group, places in members.items():
        of_stratum.setdefault(strata[places[0]], []).append(group)
    kept = numpy.zeros(len(texts), dtype=bool)
    for stratum_groups in of_stratum.values():
        left = round(share * sum(len(members[group]) for group in stratum_groups))
        if len(stratum_groups) < 2:
            continue  # a label with one text learns it
        ordered = sorted(stratum_groups, key=lambda group: _digest(texts[group]))
        wanted = max(left, min(len(members[group]) for group in ordered))
        for group in ordered[:]:
            if len(members[group]) <= wanted:
                kept[members[group]] = True
                wanted -= len(members[group])
    if not kept.any() or kept.all():
        raise DataError(
            f"of {len(texts)} examples none can be kept aside to measure on: they are too few, or share their texts\n"
            "Give more, or others to measure on: --set data.validation=FILE"
        )
    return kept


def shared_texts(train: Sequence[Sequence[str]], validation: Sequence[Sequence[str]]) -> int:
    """How many validation examples have a text that stands in training too, compared as `keep_aside` does."""
    known = {sentence_key(text) for texts in train for text in texts}
    return sum(any(sentence_key(text) in known for text in texts) for texts in validation)


def _groups(texts: Sequence[Sequence[str]]) -> list[int]:
    """For each example the first one it is connected with, over however many others."""
    parents = list(range(len(texts)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[str, int] = {}
    for place, some in enumerate(texts):
        for text in some:
            one, other = root(first.setdefault(sentence_key(text), place)), root(place)
            parents[max(one, other)] = min(one, other)
    return [root(place) for place in range(len(texts))]


def _digest(texts: Sequence[str]) -> bytes:
    joined = "\n".join(sentence_key(text) for text in texts)
    return hashlib.blake2b(joined.encode(), digest_size=16).digest()
