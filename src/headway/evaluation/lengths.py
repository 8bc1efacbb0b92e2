"""Sentences grouped by the length of their source, thin groups merged until a band on each can mean something."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from headway.errors import ConfigError
from headway.text.tokenizer import Tokenizer

Array = numpy.ndarray[Any, Any]
Unit = Literal["words", "tokens", "characters"]

LEAST = 100
MOST_BUCKETS = 12


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The sentences with a length in low..high; members are their numbers."""

    low: int
    high: int
    members: Array


def source_lengths(sources: Sequence[str], unit: Unit = "words", tokenizer: Tokenizer | None = None) -> Array:
    """The length (N,) of each source: words between spaces, characters, or tokens of the model's tokenizer.

    Raises ConfigError for another unit, and for tokens without a tokenizer.
    """
    if unit == "words":
        return numpy.array([len(source.split()) for source in sources], dtype=numpy.int64)
    if unit == "characters":
        return numpy.array([len(source) for source in sources], dtype=numpy.int64)
    if unit != "tokens":
        raise ConfigError(f"length_unit must be one of words, tokens, characters, but got {unit!r}")
    if tokenizer is None:
        raise ConfigError("length_unit=tokens needs a model, whose tokens they are\nTake words or characters.")
    return numpy.array([len(ids) for ids in tokenizer.encode_corpus(sources)], dtype=numpy.int64)


def length_buckets(lengths: Array, *, width: int | None = None, least: int = LEAST) -> list[Bucket]:
    """The sentences in buckets by length (N,), shortest first, which together hold each sentence once.

    The buckets begin as 1..width, width+1..2*width and so on; None takes the smallest round width with which twelve
    reach the length that 99 of 100 sentences keep to. Then, from the longest, neighbours are joined until each bucket
    has `least` sentences, which gives as many buckets as can be and the finest steps where sentences are rare; a test
    set with fewer is one bucket. The outermost bounds are the lengths that occur, the others the buckets' own.
    Raises ConfigError for a width or least below 1.
    """
    if width is not None and width < 1:
        raise ConfigError(f"bucket_width must be at least 1, but got {width}")
    if least < 1:
        raise ConfigError(f"bucket_least must be at least 1, but got {least}")
    if len(lengths) == 0:
        return []
    width = width or round_width(lengths)
    numbers = numpy.maximum(lengths - 1, 0) // width  # a length of 0 stands in the first
    order = numpy.argsort(numbers, kind="stable")
    found, begins = numpy.unique(numbers[order], return_index=True)
    groups = [
        (int(number) * width + 1, (int(number) + 1) * width, members)
        for number, members in zip(found, numpy.split(order, begins[1:]), strict=True)
    ]
    groups = _merge_thin(groups, least)
    last = len(groups) - 1
    return [
        Bucket(
            low=int(lengths.min()) if place == 0 else low,
            high=int(lengths.max()) if place == last else high,
            members=numpy.sort(members),
        )
        for place, (low, high, members) in enumerate(groups)
    ]


def round_width(lengths: Array) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... with which twelve buckets reach the lengths' 99th percentile."""
    reach = max(1, int(numpy.quantile(lengths, 0.99, method="higher")))
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale * MOST_BUCKETS >= reach:
                return step * scale
        scale *= 10


def _merge_thin(groups: list[tuple[int, int, Array]], least: int) -> list[tuple[int, int, Array]]:
    merged: list[tuple[int, int, Array]] = []
    for low, high, members in reversed(groups):
        if merged and len(merged[-1][2]) < least:
            _, high, more = merged.pop()
            members = numpy.concatenate([members, more])
        merged.append((low, high, members))
    if len(merged) > 1 and len(merged[-1][2]) < least:
        low, _, members = merged.pop()
        _, high, more = merged.pop()
        merged.append((low, high, numpy.concatenate([members, more])))
    return merged[::-1]
