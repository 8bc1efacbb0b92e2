"""Batches of labelled rows within a budget of tokens; which rows a step has is a pure function of (seed, step).

The order is that of pairs (corpus/pair_batches.py): rows of like length share a batch, drawn anew for each epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy
import torch
from torch import Tensor

from headway.corpus.batches import IGNORED
from headway.corpus.pair_batches import PairBatches
from headway.corpus.pair_split import PairSplit
from headway.training.reading_store import Ids, Rows


@dataclass(frozen=True, kw_only=True)
class ReadingPart:
    """Some rows of a step, all int64 and padded on the right.

    ids (B, T), lengths (B,), segments (B, T) or None where there is one text; targets (B, K), padded with IGNORED.
    Where the two texts are rows of their own (embeddings): other_ids (B, S), other_lengths (B,). count: the targets
    that count for the loss.
    """

    ids: Tensor
    lengths: Tensor
    segments: Tensor | None
    targets: Tensor
    other_ids: Tensor | None = None
    other_lengths: Tensor | None = None
    count: int

    def to(self, device: torch.device) -> "ReadingPart":
        """The same rows on a device; the lengths stay on the processor, which asks for them."""
        return replace(
            self,
            ids=self.ids.to(device),
            segments=None if self.segments is None else self.segments.to(device),
            targets=self.targets.to(device),
            other_ids=None if self.other_ids is None else self.other_ids.to(device),
        )


class ReadingBatches:
    """Batches of rows; `apart`: a row is two, one for each text; `words`: each target counts, not each row."""

    # Six parameters and a seventh for what counts.
    def __init__(self, rows: Rows, *, tokens: int, seed: int, padding: int, apart: bool, words: bool) -> None:
        """tokens: the most a step has, padding included. padding: the id that fills up short rows."""
        self.rows, self.tokens, self.apart = rows, tokens, apart
        self._words, self._padding = words, padding
        self._order = PairBatches(_as_pairs(rows, apart), tokens=tokens, seed=seed, start_id=0, end_id=0)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every row comes once."""
        return self._order.steps_per_epoch

    def parts(self, step: int, n_parts: int) -> list[ReadingPart]:
        """The rows of a step in parts of nearly equal numbers of rows."""
        numbers = self._order.rows(step)
        return [self.part(self.rows, some) for some in numpy.array_split(numbers, n_parts) if len(some)]

    def every(self, rows: Rows, tokens: int) -> Iterator[tuple[Ids, ReadingPart]]:
        """All rows of a split once, shorter ones first, with their numbers; the same at every call."""
        lengths = _costs(rows, self.apart)
        order = numpy.argsort(lengths, kind="stable")
        begin = 0
        while begin < len(order):
            end = begin + 1
            while end < len(order) and (end + 1 - begin) * int(lengths[order[end]]) <= tokens:
                end += 1
            numbers = order[begin:end]
            yield numbers, self.part(rows, numbers)
            begin = end

    def part(self, rows: Rows, numbers: Ids) -> ReadingPart:
        """These rows as tensors, no wider than they need."""
        ids = [rows.row(number) for number in numbers]
        firsts = rows.firsts[numbers]
        wanted = _filled([rows.targets(number) for number in numbers], IGNORED)
        whole = rows.lengths[numbers]
        if self.apart:
            first = [row[:cut] for row, cut in zip(ids, firsts, strict=True)]
            second = [row[cut:] for row, cut in zip(ids, firsts, strict=True)]
            return ReadingPart(
                ids=_filled(first, self._padding),
                lengths=torch.from_numpy(firsts),
                segments=None,
                targets=wanted,
                other_ids=_filled(second, self._padding),
                other_lengths=torch.from_numpy(whole - firsts),
                count=len(numbers),
            )
        filled = _filled(ids, self._padding)
        places = torch.arange(filled.shape[1])
        segments = (places >= torch.from_numpy(firsts)[:, None]) & (places < torch.from_numpy(whole)[:, None])
        return ReadingPart(
            ids=filled,
            lengths=torch.from_numpy(whole),
            segments=segments.long() if (firsts < whole).any() else None,
            targets=wanted,
            count=int((wanted != IGNORED).sum()) if self._words else len(numbers),
        )


def longest_of(rows: Rows, apart: bool) -> int:
    """The most tokens a row has, or where texts are rows of their own, the longer text."""
    return int(_costs(rows, apart).max(initial=0))


def _costs(rows: Rows, apart: bool) -> Ids:
    return numpy.maximum(rows.firsts, rows.lengths - rows.firsts) if apart else rows.lengths


def _as_pairs(rows: Rows, apart: bool) -> PairSplit:
    """Rows as pairs of lengths, which is all that an order of batches asks for; targets are empty but for two texts."""
    firsts = rows.firsts if apart else rows.lengths
    seconds = rows.lengths - firsts
    # A pair has an end on each side, which is in these rows already.
    places = [numpy.cumsum([0, *numpy.maximum(lengths - 1, 0)]) for lengths in (firsts, seconds)]
    nothing = numpy.empty(0, dtype=numpy.int32)
    return PairSplit((nothing, places[0]), (nothing, places[1]), source_bytes=0, target_bytes=0)


def _filled(rows: list[Ids], filling: int) -> Tensor:
    width = max(map(len, rows), default=0)
    filled = numpy.full((len(rows), width), filling, dtype=numpy.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return torch.from_numpy(filled)
