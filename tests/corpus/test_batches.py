"""Windows: every token once an epoch, in an order that only seed and step decide; fixed windows to measure on."""

from collections import Counter
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.corpus.batches import IGNORED, TokenBatches, check_fits, evaluation_windows
from headway.corpus.documents import Document
from headway.corpus.shards import ShardSettings, write_shards
from headway.corpus.stream import TokenStream
from headway.errors import ConfigError, DataError
from headway.text.tokenizer import Tokenizer

END = 0


def numbered(tokens: int, documents: int = 1) -> TokenStream:
    """Distinct ids 1, 2, ... but for the end-of-text after each document, in two parts."""
    ids = numpy.arange(1, tokens + 1)
    for document in range(1, documents + 1):
        ids[document * tokens // documents - 1] = END
    split = tokens // 3
    return TokenStream([ids[:split], ids[split:]], bytes=tokens, documents=documents, end_of_text=END)


def pairs_of(stream: TokenStream) -> Counter[tuple[int, int]]:
    """Each token of the stream with the one before it; before the first stands end-of-text."""
    ids = stream.read(0, stream.tokens).tolist()
    return Counter(zip([END] + ids[:-1], ids, strict=True))


def counted(inputs: numpy.ndarray, targets: numpy.ndarray) -> Counter[tuple[int, int]]:
    kept = targets != IGNORED
    return Counter(zip(inputs[kept].tolist(), targets[kept].tolist(), strict=True))


def batches_of(stream: TokenStream, context: int, batch_size: int, seed: int = 1) -> TokenBatches:
    return TokenBatches(stream, context=context, batch_size=batch_size, seed=seed, end_of_text=END)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 120), st.integers(1, 5), st.integers(1, 17), st.integers(0, 3))
def test_every_token_is_a_target_once_an_epoch_after_the_token_before_it(
    tokens: int, documents: int, context: int, seed: int
) -> None:
    stream = numbered(tokens, min(documents, tokens // 2))
    batches = batches_of(stream, min(context, tokens), 1, seed)
    assert batches.steps_per_epoch == batches.windows
    for epoch in range(3):
        seen: Counter[tuple[int, int]] = Counter()
        for step in range(epoch * batches.windows, (epoch + 1) * batches.windows):
            assert batches.epoch_of(step) == epoch
            seen += counted(*batches.batch(step))
        assert seen == pairs_of(stream)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(1, 13), st.integers(1, 23))
def test_batches_run_on_over_the_border_of_epochs(tokens: int, context: int, batch_size: int) -> None:
    stream = numbered(tokens)
    rows = batches_of(stream, min(context, tokens), 1)
    batches = batches_of(stream, min(context, tokens), batch_size)
    for step in range(3):
        inputs, targets = batches.batch(step)
        assert inputs.shape == targets.shape == (batch_size, min(context, tokens))
        assert inputs.dtype == targets.dtype == numpy.int64
        for row in range(batch_size):
            expected = rows.batch(step * batch_size + row)
            assert (inputs[row] == expected[0][0]).all() and (targets[row] == expected[1][0]).all()


def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path, tokenizer: Tokenizer) -> None:
    documents = [Document(f"text {number} " * 7, str(number)) for number in range(11)]
    stream = write_shards(tmp_path / "a", documents, tokenizer, ShardSettings(shard_tokens=101)).split("train")
    again = write_shards(tmp_path / "b", documents, tokenizer, ShardSettings(shard_tokens=10_007)).split("train")
    first = [batches_of(stream, 13, 5).batch(step) for step in (0, 1, 2, 3, 31, 1_000_003)]
    second = batches_of(again, 13, 5)
    for step, (inputs, targets) in reversed(list(zip((0, 1, 2, 3, 31, 1_000_003), first, strict=True))):
        found = second.batch(step)
        assert (found[0] == inputs).all() and (found[1] == targets).all()
    assert (batches_of(stream, 13, 5, seed=2).batch(0)[0] != first[0][0]).any()


def test_batches_are_the_same_on_every_machine() -> None:
    inputs, targets = batches_of(numbered(23, 2), 5, 2, seed=7).batch(3)
    assert inputs.tolist() == [[10, 0, 12, 0, 0], [5, 6, 7, 8, 9]]
    assert targets.tolist() == [[0, 12, 13, IGNORED, IGNORED], [6, 7, 8, 9, 10]]


def test_epochs_are_cut_at_different_places_and_come_in_different_orders() -> None:
    stream = numbered(101)
    batches = batches_of(stream, 7, 1)
    starts = [
        [int(batches.batch(step)[0][0, 0]) for step in range(epoch * batches.windows, (epoch + 1) * batches.windows)]
        for epoch in range(5)
    ]
    assert len({tuple(sorted(epoch)) for epoch in starts}) == 5
    assert all(epoch != sorted(epoch) for epoch in starts)


def test_a_documents_first_token_is_predicted_from_end_of_text() -> None:
    stream = numbered(59, documents=7)
    ids = stream.read(0, 59).tolist()
    firsts = {1} | {after for before, after in zip(ids, ids[1:], strict=False) if before == END}
    batches = batches_of(stream, 5, 3)
    seen: set[int] = set()
    for step in range(8):
        inputs, targets = batches.batch(step)
        begins = numpy.isin(targets, list(firsts))
        assert (inputs[begins] == END).all()
        seen |= set(targets[begins].tolist())
    assert seen == firsts


def test_what_is_left_over_is_padded_with_end_of_text() -> None:
    batches = batches_of(numbered(11), 7, 2)
    inputs, targets = batches.batch(0)
    short = int((targets == IGNORED).sum(axis=1).argmax())
    assert (targets[short] == IGNORED).tolist() == [False] * 4 + [True] * 3
    assert (inputs[short, 4:] == END).all()
    assert (targets[1 - short] != IGNORED).all()


def test_text_shorter_than_the_context_is_refused() -> None:
    check_fits(numbered(7), 7)
    for check in (check_fits, lambda stream, context: batches_of(stream, context, 2)):
        with pytest.raises(
            DataError, match=r"corpus has 7 tokens.* context is 11(.|\n)*--set train.window=7.*--set model.context=7"
        ):
            check(numbered(7), 11)
    with pytest.raises(DataError, match="Give more text$"):
        check_fits(TokenStream([], bytes=0, documents=0, end_of_text=END), 11)


@pytest.mark.parametrize(("context", "batch_size"), [(0, 2), (2, 0), (-1, 2)])
def test_sizes_below_one_are_refused(context: int, batch_size: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        batches_of(numbered(7), context, batch_size)


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 60), st.integers(1, 13), st.integers(1, 5), st.data())
def test_evaluation_counts_every_token_once(tokens: int, context: int, batch_size: int, data: st.DataObject) -> None:
    stride = data.draw(st.one_of(st.none(), st.integers(1, context)))
    stream = numbered(tokens)
    windows = list(evaluation_windows(stream, context=context, batch_size=batch_size, stride=stride))
    seen: Counter[tuple[int, int]] = Counter()
    for inputs, targets in windows:
        assert inputs.shape == targets.shape and inputs.shape[1] == context
        seen += counted(inputs, targets)
    ids = stream.read(0, tokens).tolist()
    assert seen == Counter(zip([END] + ids[:-1], ids, strict=True))
    assert all(len(inputs) == batch_size for inputs, _ in windows[:-1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 13), st.integers(1, 70))
def test_limited_windows_are_some_of_all_windows(tokens: int, context: int, limit: int) -> None:
    every, some = (
        [
            (inputs.tobytes(), targets.tobytes())
            for inputs, targets in evaluation_windows(numbered(tokens), context=context, batch_size=1, limit=asked)
        ]
        for asked in (None, limit)
    )
    assert len(some) == min(len(every), -(-limit // context)) and len(set(some)) == len(some)
    assert set(some) <= set(every)


def test_limited_windows_are_spread_over_the_stream() -> None:
    (batch,) = evaluation_windows(numbered(110), context=11, batch_size=9, limit=33)
    firsts = [int(row[0]) for row in batch[1]]
    assert firsts == numbered(110).read(0, 110)[[0, 33, 66]].tolist()


def test_overlapping_windows_see_at_least_the_tokens_promised() -> None:
    rows = [
        row
        for batch in evaluation_windows(numbered(41), context=11, batch_size=3, stride=4)
        for row in zip(*batch, strict=True)
    ]
    for inputs, targets in rows[1:]:
        new = numpy.flatnonzero(targets != IGNORED)
        assert new[0] >= 11 - 4 and new[-1] == 10
        assert (numpy.diff(inputs) == 1).all()


def test_evaluation_refuses_sizes_out_of_range_and_gives_nothing_for_no_text() -> None:
    for sizes in ({"stride": 8}, {"stride": 0}, {"limit": 0}):
        with pytest.raises(ConfigError, match="stride in 1..context"):
            list(evaluation_windows(numbered(5), context=7, batch_size=2, **sizes))
    empty = TokenStream([], bytes=0, documents=0, end_of_text=END)
    assert list(evaluation_windows(empty, context=7, batch_size=2)) == []
