"""Batches of pairs: pure in (seed, step), each pair once an epoch, within the budget, with little padding."""

from collections import Counter
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings, strategies

from headway.corpus.batches import IGNORED
from headway.corpus.pair_batches import PairBatch, PairBatches, evaluation_batches
from headway.corpus.pair_shards import PairSplit, encode_pairs
from headway.corpus.pairs import read_pairs
from headway.errors import ConfigError, DataError
from headway.text.tokenizer import Tokenizer

SAMPLES = Path(__file__).parent.parent / "data" / "pairs"
START, END = 301, 303
SIDES = strategies.tuples(strategies.integers(0, 13), strategies.integers(0, 11))


def split_of(lengths: list[tuple[int, int]]) -> PairSplit:
    """Pairs of those lengths; the ids say which pair and side they are of."""
    sides = []
    for side in (0, 1):
        ids = [2 * number + side for number, both in enumerate(lengths) for _ in range(both[side])]
        offsets = numpy.cumsum([0] + [both[side] for both in lengths])
        sides.append((numpy.array(ids, dtype=numpy.int32), offsets))
    return PairSplit(sides[0], sides[1], source_bytes=0, target_bytes=0)


def batches_of(split: PairSplit, tokens: int, seed: int = 5) -> PairBatches:
    return PairBatches(split, tokens=tokens, seed=seed, start_id=START, end_id=END)


def equal(one: PairBatch, other: PairBatch) -> bool:
    names = ("source", "source_lengths", "inputs", "targets", "target_lengths")
    return all(numpy.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def sides_of(batch: PairBatch) -> list[tuple[list[int], list[int], list[int]]]:
    """Source, inputs and targets of each row without padding, the padding checked."""
    found = []
    for row in range(len(batch.source)):
        s, t = int(batch.source_lengths[row]), int(batch.target_lengths[row])
        assert (batch.source[row, s:] == END).all() and (batch.targets[row, t:] == IGNORED).all()
        assert (batch.inputs[row, t:] == END).all()
        found.append((batch.source[row, :s].tolist(), batch.inputs[row, :t].tolist(), batch.targets[row, :t].tolist()))
    return found


def test_source_inputs_and_targets_are_as_worked_by_hand() -> None:
    split = PairSplit(
        (numpy.array([7, 7, 7, 11], dtype=numpy.uint16), numpy.array([0, 3, 4])),
        (numpy.array([13, 17, 19], dtype=numpy.uint16), numpy.array([0, 1, 3])),
        source_bytes=0,
        target_bytes=0,
    )
    (batch,) = evaluation_batches(split, tokens=23, start_id=START, end_id=END)
    assert batch.source.tolist() == [[11, END, END, END], [7, 7, 7, END]]
    assert batch.source_lengths.tolist() == [2, 4]
    assert batch.inputs.tolist() == [[START, 17, 19], [START, 13, END]]
    assert batch.targets.tolist() == [[17, 19, END], [13, END, IGNORED]]
    assert batch.target_lengths.tolist() == [3, 2]
    assert {array.dtype for array in vars(batch).values()} == {numpy.dtype(numpy.int64)}


@settings(deadline=None, max_examples=50)
@given(strategies.lists(SIDES, min_size=1, max_size=90), strategies.integers(14, 90), strategies.integers(0, 3))
def test_every_epoch_has_every_pair_once_within_the_budget(
    lengths: list[tuple[int, int]], tokens: int, seed: int
) -> None:
    batches = batches_of(split_of(lengths), tokens, seed)
    for epoch in range(3):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        rows = [row for step in steps for row in batches.rows(step).tolist()]
        assert sorted(rows) == list(range(len(lengths)))
        for step in steps:
            batch = batches.batch(step)
            assert batches.epoch_of(step) == epoch
            assert 0 < len(batch.source) * max(batch.source.shape[1], batch.targets.shape[1]) <= tokens
            for row, (source, inputs, targets) in zip(batches.rows(step).tolist(), sides_of(batch), strict=True):
                s, t = lengths[row]
                assert source == [2 * row] * s + [END]
                assert inputs == [START] + [2 * row + 1] * t and targets == [2 * row + 1] * t + [END]


def test_a_batch_depends_on_seed_and_step_alone(tokenizer: Tokenizer) -> None:
    split = encode_pairs(read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv"), tokenizer)
    first = batches_of(split, 1009)
    steps = range(3 * first.steps_per_epoch)
    expected = [first.batch(step) for step in steps]
    other = batches_of(split, 1009)
    for step in (*reversed(steps), 7, 0, steps[-1], 1):
        assert equal(other.batch(step), expected[step])
    another = batches_of(split, 1009, seed=6)
    assert another.steps_per_epoch == first.steps_per_epoch
    assert not all(equal(another.batch(step), expected[step]) for step in range(first.steps_per_epoch))


def test_epochs_have_other_batches_in_another_order() -> None:
    lengths = [(5 + number % 3, 5 + number % 2) for number in range(211)]
    batches = batches_of(split_of(lengths), 101)
    n = batches.steps_per_epoch
    epochs = [[frozenset(batches.rows(epoch * n + step).tolist()) for step in range(n)] for epoch in range(3)]
    assert len(set(epochs[0]) & set(epochs[1])) == 0 == len(set(epochs[1]) & set(epochs[2]))
    widths = [[batches.batch(epoch * n + step).source.shape[1] for step in range(n)] for epoch in range(3)]
    assert widths[0] != widths[1] != widths[2] and sorted(widths[0]) != widths[0]


def test_batches_begin_at_other_places_in_each_epoch() -> None:
    batches = batches_of(split_of([(6, 6)] * 240), 84)  # 12 a batch
    n = batches.steps_per_epoch
    assert n == 21
    sizes = [sorted(len(batches.rows(epoch * n + step)) for step in range(n)) for epoch in range(5)]
    assert all(size[2:] == [12] * 19 and sum(size[:2]) == 12 for size in sizes)
    assert len({size[0] for size in sizes}) > 1


def test_the_shorter_sides_are_alike_where_the_longer_side_grows() -> None:
    split = split_of([(9, 1), (9, 1), (1, 9), (1, 10), (10, 1)])
    batches = list(evaluation_batches(split, tokens=22, start_id=START, end_id=END))
    assert [batch.source.shape for batch in batches] == [(2, 10), (2, 2), (1, 11)]


def test_pairs_that_shared_a_batch_are_parted_in_the_next_epoch() -> None:
    batches = batches_of(split_of([(6, 6)] * 240), 84)  # 12 a batch, 20 batches
    n = batches.steps_per_epoch
    place = {row: step for step in range(n) for row in batches.rows(step).tolist()}
    together = Counter(len({place[row] for row in batches.rows(n + step).tolist()}) for step in range(n))
    assert sum(count for size, count in together.items() if size >= 6) >= n - 2


def test_like_lengths_share_a_batch(tokenizer: Tokenizer) -> None:
    split = encode_pairs(read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv"), tokenizer)
    batches = batches_of(split, 512)
    whole = used = 0
    for step in range(batches.steps_per_epoch):
        batch = batches.batch(step)
        whole += batch.source.size + batch.targets.size
        used += int(batch.source_lengths.sum() + batch.target_lengths.sum())
    assert batches.padding_share == pytest.approx(1 - used / whole, abs=1e-12)
    assert batches.padding_share < 0.15  # in the order of the file it is 0.4


def test_the_padding_share_is_as_worked_by_hand() -> None:
    assert batches_of(split_of([(2, 4), (2, 4)]), 5).padding_share == 0.0
    batches = batches_of(split_of([(0, 1), (2, 1), (2, 3)]), 12)  # one batch of all, or one of one and one of two
    assert batches.steps_per_epoch == 2
    rows = [sorted(batches.rows(step).tolist()) for step in range(2)]
    whole = {(0,): 1 + 2 + 2 * (3 + 4), (2,): 3 + 4 + 2 * (3 + 2)}
    single = min(rows, key=len)
    assert batches.padding_share == pytest.approx(1 - 15 / whole[tuple(single)])


def test_a_pair_alone_in_its_batch_is_no_trouble() -> None:
    batches = batches_of(split_of([(3, 2), (3, 3), (1, 3)]), 4)
    assert batches.steps_per_epoch == 3
    assert sorted(int(batches.rows(step)[0]) for step in range(3, 6)) == [0, 1, 2]
    one = batches_of(split_of([(0, 0)]), 1)
    assert one.steps_per_epoch == 1
    assert sides_of(one.batch(99)) == [([END], [START], [END])]


def test_a_budget_too_small_and_no_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"5 tokens, but has 4(.|\n)*batch_tokens=5"):
        batches_of(split_of([(4, 2)]), 4)
    with pytest.raises(DataError, match="no pairs to train on"):
        batches_of(split_of([]), 100)
    for tokens, limit in ((0, None), (5, 0)):
        with pytest.raises(ConfigError, match="at least 1"):
            list(evaluation_batches(split_of([(1, 1)]), tokens=tokens, limit=limit, start_id=START, end_id=END))


@settings(deadline=None, max_examples=50)
@given(strategies.lists(SIDES, max_size=60), strategies.integers(1, 60))
def test_evaluation_has_every_pair_once_in_an_order_that_stays(lengths: list[tuple[int, int]], tokens: int) -> None:
    split = split_of(lengths)
    batches = list(evaluation_batches(split, tokens=tokens, start_id=START, end_id=END))
    found = []
    for batch in batches:
        width = max(batch.source.shape[1], batch.targets.shape[1])
        assert len(batch.source) == 1 or len(batch.source) * width <= tokens
        found += [(len(source) - 1, len(targets) - 1) for source, _, targets in sides_of(batch)]
    assert sorted(found) == sorted(lengths)
    assert [max(both) for both in found] == sorted(max(both) for both in lengths)
    again = evaluation_batches(split, tokens=tokens, start_id=START, end_id=END)
    assert all(equal(one, other) for one, other in zip(batches, again, strict=True))


def test_a_limit_takes_pairs_spread_over_the_split() -> None:
    split = split_of([(3, 4)] * 100)  # 5 target tokens each, with the end
    for limit, kept in ((50, range(0, 100, 10)), (5, [0]), (1, [0]), (10_000, range(100))):
        found = evaluation_batches(split, tokens=30, limit=limit, start_id=START, end_id=END)
        numbers = sorted(int(number) // 2 for batch in found for number in batch.source[:, 0])
        assert numbers == list(kept)
    assert list(evaluation_batches(split_of([]), tokens=5, start_id=START, end_id=END)) == []
