"""Batches of pairs of like lengths within a budget of tokens, in an order that is a function of (seed, step).

Sentences of like length share a batch, so that little of it is padding (Bahdanau et al. 2014, appendix B.3; Vaswani et
al. 2017, section 5.1). A batch costs rows times its longest side, and that stays within the budget.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from headway.corpus.batches import IGNORED
from headway.corpus.pair_split import PairSplit
from headway.corpus.permutation import draw, permute
from headway.errors import ConfigError, DataError

Ids = NDArray[numpy.int64]

_JITTER = 2.0  # how far apart, in tokens, the differences of lengths may lie that an epoch's order mixes
_HELD = 2  # epochs whose order is held: a resumed or looked-ahead step crosses one border at most


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Pairs as a model takes them, all int64 and padded on the right with the end.

    source (B, S): ids and the end; inputs (B, T): the start and the target's ids; targets (B, T): the target's ids and
    the end, IGNORED where nothing is to be predicted; source_lengths, target_lengths (B,): what is not padding.
    """

    source: Ids
    source_lengths: Ids
    inputs: Ids
    targets: Ids
    target_lengths: Ids


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """order (pairs,): the pairs by length; cuts (batches + 1,): where in it a batch begins."""

    order: Ids
    cuts: Ids


class PairBatches:
    """The training batches of pairs: each a pure function of (seed, step), whatever was asked before.

    An epoch has every pair once, in the same number of batches each time: pairs lie in the order of their longer side,
    then of how much longer the target is, jittered anew each epoch, and are cut where the budget is full, from a place
    drawn for the epoch, so that a batch has other pairs each time. The batches come in an order drawn for the epoch.
    """

    # Six parameters and a seventh for sources with a vocabulary of their own.
    def __init__(
        self,
        split: PairSplit,
        *,
        tokens: int,
        seed: int,
        start_id: int,
        end_id: int,
        source_end_id: int | None = None,
    ) -> None:
        """tokens: the most a side of a batch has, padding and ends included. source_end_id None: `end_id` too.

        Raises ConfigError where the longest pair does not fit, and DataError where there are no pairs.
        """
        if split.pairs == 0:
            raise DataError("there are no pairs to train on\nGive some, or allow longer ones: --set data.longest=N")
        if tokens < split.longest + 1:
            raise ConfigError(
                f"a step must hold the longest side with its end, {split.longest + 1} tokens, but has {tokens}\n"
                f"Make it larger (--set train.batch_tokens={split.longest + 1}) or leave long pairs out "
                "(--set data.longest=N)"
            )
        self.tokens, self.start_id, self.end_id = tokens, start_id, end_id
        self.source_end_id = end_id if source_end_id is None else source_end_id
        self._split = split
        self._seed = seed
        self._longer = numpy.maximum(split.source_lengths, split.target_lengths).astype(numpy.int64) + 1
        self._sorted = numpy.sort(self._longer)
        self._first = int(_cuts(self._sorted, tokens, 0)[0])
        # An epoch that begins with a smaller batch takes as many batches as one that does not, or one more; so one more
        # is what each gets, but where every pair is alone in its batch.
        self.batches = min(len(_cuts(self._sorted, tokens, 0)) + 1, split.pairs)
        self._held: dict[int, _Epoch] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every pair comes once: the same in every epoch."""
        return self.batches

    @property
    def padding_share(self) -> float:
        """The part of the first epoch's numbers, both sides together, that is padding."""
        epoch = self._epoch(0)
        source, target = (self._lengths(side)[epoch.order] for side in ("source", "target"))
        rows = numpy.diff(epoch.cuts)
        padded = sum(int((rows * numpy.maximum.reduceat(side, epoch.cuts[:-1])).sum()) for side in (source, target))
        return 1 - int(source.sum() + target.sum()) / padded

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that the batch of that step belongs to."""
        return step // self.batches

    def rows(self, step: int) -> Ids:
        """(B,) the numbers of the pairs in the batch of that step, from 0."""
        number, place = divmod(step, self.batches)
        epoch = self._epoch(number)
        drawn = permute(numpy.array([place]), self.batches, f"pair batches {self._seed} {number}")
        batch = int(drawn[0])
        return epoch.order[epoch.cuts[batch] : epoch.cuts[batch + 1]]

    def batch(self, step: int) -> PairBatch:
        """The batch of that step, from 0."""
        return _filled(self._split, self.rows(step), self.start_id, (self.source_end_id, self.end_id))

    def _lengths(self, side: str) -> Ids:
        lengths: Ids = getattr(self._split, f"{side}_lengths").astype(numpy.int64) + 1
        return lengths

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._held:
            while len(self._held) >= _HELD:
                self._held.pop(next(iter(self._held)))
            self._held[number] = self._drawn(number)
        return self._held[number]

    def _drawn(self, number: int) -> _Epoch:
        n_pairs = self._split.pairs
        noise = permute(numpy.arange(n_pairs), n_pairs, f"pairs {self._seed} {number}") / n_pairs
        order = _by_length(self._split, self._longer, _JITTER * noise)
        first = 1 + draw(self._first, f"first {self._seed} {number}")
        cuts = [0, first, *_cuts(self._sorted, self.tokens, first)]
        if len(cuts) - 1 < self.batches:
            sizes = numpy.diff(cuts)
            widest = int(sizes.argmax())
            cuts.insert(widest + 1, cuts[widest] + int(sizes[widest]) // 2)
        assert len(cuts) - 1 == self.batches and cuts[-1] == n_pairs
        return _Epoch(order=order, cuts=numpy.array(cuts, dtype=numpy.int64))


def evaluation_batches(
    split: PairSplit,
    *,
    tokens: int,
    start_id: int,
    end_id: int,
    source_end_id: int | None = None,
    limit: int | None = None,
) -> Iterator[PairBatch]:
    """Every pair once, those of like lengths together, in an order that never changes.

    tokens: as in training, but a pair that does not fit has a batch to itself. limit: only so many pairs as have about
    that many target tokens, ends included, spread evenly over the split. Raises ConfigError for sizes below 1.
    """
    if tokens < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"tokens and limit must be at least 1, but got {tokens=}, {limit=}")
    if split.pairs == 0:
        return
    total = split.target_tokens + split.pairs
    kept = split.pairs if limit is None else min(split.pairs, max(1, round(split.pairs * limit / total)))
    spread = numpy.arange(kept, dtype=numpy.int64) * split.pairs // kept
    longer = numpy.maximum(split.source_lengths, split.target_lengths).astype(numpy.int64) + 1
    order = _by_length(split, longer, None)
    chosen = numpy.zeros(split.pairs, dtype=bool)
    chosen[spread] = True
    order = order[chosen[order]]
    begin = 0
    for end in _cuts(longer[order], tokens, 0):
        yield _filled(split, order[begin:end], start_id, (end_id if source_end_id is None else source_end_id, end_id))
        begin = end


def _by_length(split: PairSplit, longer: Ids, noise: NDArray[numpy.float64] | None) -> Ids:
    """The pairs by their longer side, then by how much longer the target is, up and down by turns.

    By turns, since a batch that goes over from one length of the longer side to the next then finds the shorter sides
    alike there too.
    """
    difference = split.target_lengths.astype(numpy.float64) - split.source_lengths
    if noise is not None:
        difference += noise
    reach = float(longer.max()) + _JITTER + 1
    turned = numpy.where(longer % 2 == 0, difference, -difference) + reach  # in 0..2 * reach
    return numpy.argsort(longer * (2 * reach) + turned, kind="stable")


def _cuts(longer: Ids, tokens: int, begin: int) -> list[int]:
    """The ends of batches over lengths in rising order, from `begin` on: each as large as the budget allows."""
    ends = []
    total = len(longer)
    while begin < total:
        # rows * the last length rises with the end, so the last end that fits is found by halving; as long as the
        # lengths do not change, both bounds are the same at once.
        high = min(total, begin + max(1, tokens // int(longer[begin])))
        low = min(high, begin + max(1, tokens // int(longer[high - 1])))
        while low < high:
            middle = (low + high + 1) // 2
            if (middle - begin) * int(longer[middle - 1]) <= tokens:
                low = middle
            else:
                high = middle - 1
        ends.append(low)
        begin = low
    return ends


def _filled(split: PairSplit, rows: Ids, start_id: int, ends: tuple[int, int]) -> PairBatch:
    source_end, end_id = ends
    n_rows, every = len(rows), numpy.arange(len(rows))
    source_lengths = split.source_lengths[rows].astype(numpy.int64) + 1
    target_lengths = split.target_lengths[rows].astype(numpy.int64) + 1
    source = numpy.full((n_rows, int(source_lengths.max())), source_end, dtype=numpy.int64)
    split.fill_sources(rows, source)
    targets = numpy.full((n_rows, int(target_lengths.max())), IGNORED, dtype=numpy.int64)
    split.fill_targets(rows, targets)
    inputs = numpy.full_like(targets, end_id)
    inputs[:, 0] = start_id
    numpy.copyto(inputs[:, 1:], targets[:, :-1], where=targets[:, :-1] != IGNORED)
    targets[every, target_lengths - 1] = end_id
    return PairBatch(
        source=source,
        source_lengths=source_lengths,
        inputs=inputs,
        targets=targets,
        target_lengths=target_lengths,
    )
