"""CRC-32C: the published values, and the fold over large data against the definition."""

import random

import pytest

from headway.formats import crc32c as room
from headway.formats.crc32c import crc32c, masked, masked_crc32c

ISCSI_READ = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (ISCSI_READ, 0xD9963A56),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_published_values_come_out(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def test_the_sparse_multiple_is_a_multiple() -> None:
    """x^5685 + x^1362 + x^426 + 1 leaves nothing when divided by the polynomial, and so do the powers that are used."""
    for stride in (1, 8, 64):
        remainder = 1
        for exponent in (5685 * stride - 1362 * stride, 1362 * stride - 426 * stride, 426 * stride):
            for _ in range(exponent):
                remainder = (remainder << 1) ^ (0x11EDC6F41 if remainder >> 31 else 0)
            remainder ^= 1
        assert remainder == 0


def by_definition(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register = room._table()[(register ^ byte) & 255] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [1, 5684, 5685, 5686, 5689, 10_007, 45_480, 45_481, 363_840, 363_841, 500_009])
def test_long_data_is_folded_without_a_difference(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == by_definition(data)
    cut = length // 3
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_pieces_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(3).randbytes(100_003)
    expected = crc32c(data)
    monkeypatch.setattr(room, "_PIECE", 20_011)
    assert crc32c(data) == crc32c(memoryview(data)) == crc32c(bytearray(data)) == expected


def test_every_single_bit_counts() -> None:
    data = random.Random(5).randbytes(20_000)
    seen = {crc32c(data)}
    for place in range(0, 20_000, 997):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        seen.add(crc32c(changed))
    assert len(seen) == 1 + len(range(0, 20_000, 997))


def test_the_mask_is_that_of_the_format() -> None:
    """Worked by hand for 0xE3069283: turned by 15 bits it is 0x2507C60D."""
    assert masked(0) == 0xA282EAD8
    assert masked(0xE3069283) == (0x2507C60D + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c([b"1234", b"", b"56789"]) == masked(0xE3069283)
