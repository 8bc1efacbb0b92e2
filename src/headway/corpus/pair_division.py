"""Which pairs are kept aside to measure on: by their source sentence, so that no source is seen on both sides."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from headway.corpus.pair_readers import Pair
from headway.corpus.validation import SplitName
from headway.errors import DataError

_EXAMPLES = 5
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a test set stands in the training pairs, by distinct source and by pair.

    sources, pairs: of the test set; shared_sources: of them, those that are a source in training as well, compared as
    the split does; shared_pairs: test pairs that stand there whole, both sides so compared. examples: shared sources.
    """

    sources: int
    shared_sources: int
    pairs: int
    shared_pairs: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part of the test set's sources that training has too."""
        return self.shared_sources / self.sources if self.sources else 0.0

    def __str__(self) -> str:
        said = (
            f"{self.shared_sources:,} of {self.sources:,} test sources ({100 * self.share:.1f} %) "
            f"and {self.shared_pairs:,} of {self.pairs:,} test pairs stand in the training pairs"
        )
        return said + (": " + "; ".join(f"{text:.60}" for text in self.examples) if self.examples else "")


def sentence_key(text: str) -> str:
    """What makes two sentences the same here: lower case, letters and digits alone; the text where it has neither."""
    lowered = text.lower()
    return _MARKS.sub(" ", lowered).strip() or " ".join(lowered.split())


def sentence_digest(text: str) -> int:
    """64 bits of a hash of `sentence_key`: a pure function of the text."""
    return int.from_bytes(hashlib.blake2b(sentence_key(text).encode(), digest_size=8).digest(), "little")


def plan_pairs(pairs: Iterable[Pair], *, share: float, most: int) -> int:
    """The threshold below which the digest of a source puts its pairs aside: about `share`, at most `most` pairs.

    At least one source is kept aside, with however many pairs it has; 0 where `share` is 0. Raises DataError where all
    pairs have one source. Reads the pairs once and holds 8 bytes of each.
    """
    if share == 0:
        return 0
    found = numpy.fromiter((sentence_digest(pair.source) for pair in pairs), dtype=numpy.uint64)
    return _threshold(found, min(round(share * len(found)), most))


def divide_pairs(pairs: Iterable[Pair], threshold: int) -> Iterator[tuple[SplitName, Pair]]:
    """Each pair with the split it belongs to."""
    for pair in pairs:
        yield ("validation" if threshold and sentence_digest(pair.source) < threshold else "train"), pair


def overlap(train: Iterable[Pair], test: Iterable[Pair]) -> Overlap:
    """How much of `test` stands in `train`; each is read once, and only digests of `test` are held."""
    texts: dict[int, str] = {}
    whole: dict[tuple[int, int], int] = {}
    for pair in test:
        source, target = sentence_digest(pair.source), sentence_digest(pair.target)
        texts.setdefault(source, pair.source)
        whole[source, target] = whole.get((source, target), 0) + 1
    shared: dict[int, None] = {}  # in the order found
    shared_pairs = 0
    n_pairs = sum(whole.values())
    for pair in train:
        source = sentence_digest(pair.source)
        if source in texts:
            shared[source] = None
            shared_pairs += whole.pop((source, sentence_digest(pair.target)), 0)
    return Overlap(
        sources=len(texts),
        shared_sources=len(shared),
        pairs=n_pairs,
        shared_pairs=shared_pairs,
        examples=tuple(texts[digest] for digest in list(shared)[:_EXAMPLES]),
    )


def _threshold(digests: NDArray[numpy.uint64], wanted: int) -> int:
    ordered = numpy.sort(digests)
    if len(ordered) == 0 or ordered[0] == ordered[-1]:
        raise DataError(
            f"all {len(ordered)} pairs have one source, so none can be kept aside to measure on\n"
            "Give more pairs, or others to measure on: --set data.validation=FILE"
        )
    return max(int(ordered[min(wanted, len(ordered) - 1)]), int(ordered[0]) + 1)
