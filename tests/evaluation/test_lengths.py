"""Buckets by source length: every sentence once, none too thin, as many as can be."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.evaluation.lengths import length_buckets, round_width, source_lengths
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary


def test_lengths_are_counted_in_words_characters_or_tokens() -> None:
    tokens = tuple(bytes([byte]) for byte in range(256))
    vocabulary = ByteVocabulary(tokens=tokens, merges=(), special_tokens={}, end_of_text=None)
    sources = ["Été  là", "go"]
    assert source_lengths(sources).tolist() == [2, 1]
    assert source_lengths(sources, "characters").tolist() == [7, 2]
    assert source_lengths(sources, "tokens", ByteLevelTokenizer(vocabulary)).tolist() == [10, 2]


def test_tokens_need_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="length_unit=tokens needs a model"):
        source_lengths(["go"], "tokens")


def test_buckets_of_a_worked_example() -> None:
    lengths = numpy.repeat([1, 2, 3, 5, 6, 9, 12], [2, 3, 1, 4, 1, 3, 1])
    found = length_buckets(lengths, width=2, least=4)
    # 1-2: 5, 3-4: 1, 5-6: 5, 9-10: 3, 11-12: 1; from the end 11-12 takes in 9-10, 3-4 takes in 1-2.
    assert [(bucket.low, bucket.high, len(bucket.members)) for bucket in found] == [(1, 4, 6), (5, 6, 5), (9, 12, 4)]
    assert sorted(lengths[found[2].members]) == [9, 9, 9, 12]


def test_fewer_sentences_than_a_bucket_needs_are_one_bucket() -> None:
    (only,) = length_buckets(numpy.array([3, 41, 7]), least=100)
    assert (only.low, only.high, only.members.tolist()) == (3, 41, [0, 1, 2])


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=80),
    width=st.none() | st.integers(1, 9),
    least=st.integers(1, 30),
)
def test_buckets_hold_each_sentence_once_in_its_bounds(lengths: list[int], width: int | None, least: int) -> None:
    found = length_buckets(numpy.array(lengths), width=width, least=least)
    assert sorted(numpy.concatenate([bucket.members for bucket in found]).tolist()) == list(range(len(lengths)))
    for bucket in found:
        assert all(bucket.low <= lengths[member] <= bucket.high for member in bucket.members)
    assert all(left.high < right.low for left, right in zip(found, found[1:], strict=False))
    assert len(found) == 1 or min(len(bucket.members) for bucket in found) >= least


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60), least=st.integers(1, 12))
def test_no_other_merging_gives_more_buckets(lengths: list[int], least: int) -> None:
    counts = [lengths.count(length) for length in sorted(set(lengths))]
    best = {0: 0}  # the most buckets that the first so many lengths make, by trying every last cut
    for end in range(1, len(counts) + 1):
        cuts = [best[cut] + 1 for cut in range(end) if cut in best and sum(counts[cut:end]) >= least]
        if cuts:
            best[end] = max(cuts)
    assert len(length_buckets(numpy.array(lengths), width=1, least=least)) == best.get(len(counts), 1)


@pytest.mark.parametrize(("longest", "width"), [(12, 1), (13, 2), (24, 2), (60, 5), (61, 10), (130, 20)])
def test_the_width_is_the_smallest_round_one_that_twelve_buckets_need(longest: int, width: int) -> None:
    assert round_width(numpy.array([1, longest])) == width


def test_one_outlier_does_not_widen_the_buckets() -> None:
    assert round_width(numpy.array([5] * 200 + [4000])) == 1


def test_no_sentence_no_bucket() -> None:
    assert length_buckets(numpy.array([], dtype=numpy.int64)) == []


@pytest.mark.parametrize(("settings", "named"), [({"width": 0}, "bucket_width"), ({"least": 0}, "bucket_least")])
def test_sizes_below_one_are_refused(settings: dict[str, int], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named} must be at least 1"):
        length_buckets(numpy.array([1]), **settings)
