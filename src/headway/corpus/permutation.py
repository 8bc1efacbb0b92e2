"""A random order of any number of things without a table of it: a keyed bijection, computed place by place.

A Feistel network over numbers instead of bits (Black and Rogaway 2002, section 4) permutes 0..a*b-1 with a*b just
above the size; a place that lands outside is sent through again until it lands inside (section 3, "cycle walking"),
which keeps it a bijection.
"""

import hashlib
import math

import numpy
from numpy.typing import NDArray

_ROUNDS = 6
# The shifts and odd multipliers of SplitMix64's mixing step (Steele, Lea and Flood 2014, figure 16).
_SHIFTS = numpy.array([30, 27, 31], dtype=numpy.uint64)
_FACTORS = numpy.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=numpy.uint64)


def permute(places: NDArray[numpy.int64], size: int, key: str) -> NDArray[numpy.int64]:
    """Where each place in 0..size-1 goes in the order that `key` names; all places together go to 0..size-1."""
    keys = numpy.frombuffer(hashlib.blake2b(key.encode(), digest_size=8 * _ROUNDS).digest(), dtype="<u8")
    found = _network(places.astype(numpy.uint64), size, keys)
    while (outside := found >= size).any():
        found[outside] = _network(found[outside], size, keys)
    return found.astype(numpy.int64)


def draw(size: int, key: str) -> int:
    """A number in 0..size-1 that depends on `key` alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little") % size


def _network(values: NDArray[numpy.uint64], size: int, keys: NDArray[numpy.uint64]) -> NDArray[numpy.uint64]:
    # values = left + columns * right, with left in 0..columns-1 and right in 0..rows-1.
    columns = numpy.uint64(math.isqrt(size - 1) + 1)
    rows = numpy.uint64(-(-size // int(columns)))
    left, right = values % columns, values // columns
    for number, key in enumerate(keys):
        left, right = right, (left + _mixed(right, key)) % (rows if number % 2 else columns)
    return left + columns * right  # after an even number of rounds the two are back in their ranges


def _mixed(values: NDArray[numpy.uint64], key: numpy.uint64) -> NDArray[numpy.uint64]:
    values = values + key  # sums and products wrap around, as they should
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    mixed: NDArray[numpy.uint64] = (values ^ (values >> _SHIFTS[2])) >> _SHIFTS[1]
    return mixed  # below 2^37, so that a number added to it cannot wrap around
