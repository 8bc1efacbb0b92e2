"""The pairs of a split as ids, in memory or mapped from files: what batches are filled from."""

from typing import Any

import numpy
from numpy.typing import NDArray

Ids = NDArray[Any]


class PairSplit:
    """Pairs as ids, in memory or mapped from files; no end or start is in them, whoever makes batches adds those.

    pairs: how many; left_out: how many were too long; source_tokens, target_tokens, source_bytes, target_bytes: sums
    over the pairs, the bytes those of the text in UTF-8; source_lengths, target_lengths: (pairs,) int32.
    """

    def __init__(
        self,
        source: tuple[Ids, NDArray[Any]],
        target: tuple[Ids, NDArray[Any]],
        *,
        source_bytes: int,
        target_bytes: int,
        left_out: int = 0,
    ) -> None:
        """source, target: ids one pair after another, and the (pairs + 1,) places where each begins."""
        self.source_lengths = numpy.diff(source[1]).astype(numpy.int32)
        self.target_lengths = numpy.diff(target[1]).astype(numpy.int32)
        self.pairs = len(self.source_lengths)
        self.source_tokens, self.target_tokens = len(source[0]), len(target[0])
        self.source_bytes, self.target_bytes = source_bytes, target_bytes
        self.left_out = left_out
        self._source, self._target = source, target

    @property
    def longest(self) -> int:
        """The most tokens a side has; 0 where there are no pairs."""
        return max(int(self.source_lengths.max(initial=0)), int(self.target_lengths.max(initial=0)))

    def source(self, number: int) -> NDArray[numpy.int64]:
        """(S,) the ids of a pair's source. Raises IndexError outside 0..pairs-1."""
        return self._row(self._source, number)

    def target(self, number: int) -> NDArray[numpy.int64]:
        """(T,) the ids of a pair's target. Raises IndexError outside 0..pairs-1."""
        return self._row(self._target, number)

    def fill_sources(self, rows: NDArray[numpy.int64], into: NDArray[numpy.int64]) -> None:
        """Write the sources of these pairs to the beginnings of the rows of `into` (B, at least the longest)."""
        _fill(self._source, self.source_lengths, rows, into)

    def fill_targets(self, rows: NDArray[numpy.int64], into: NDArray[numpy.int64]) -> None:
        """Write the targets of these pairs to the beginnings of the rows of `into` (B, at least the longest)."""
        _fill(self._target, self.target_lengths, rows, into)

    def _row(self, side: tuple[Ids, NDArray[Any]], number: int) -> NDArray[numpy.int64]:
        if not 0 <= number < self.pairs:
            raise IndexError(f"pair {number} of {self.pairs}")
        ids, offsets = side
        return numpy.asarray(ids[int(offsets[number]) : int(offsets[number + 1])], dtype=numpy.int64)


def _fill(side: tuple[Ids, NDArray[Any]], lengths: NDArray[Any], rows: NDArray[Any], into: NDArray[Any]) -> None:
    ids, offsets = side
    counts = lengths[rows].astype(numpy.int64)
    if len(ids) == 0 or not len(rows):
        return
    places = numpy.arange(into.shape[1])[None, :]
    inside = places < counts[:, None]  # (B, T)
    found = (offsets[rows].astype(numpy.int64)[:, None] + places)[inside]
    into[inside] = ids[found]
