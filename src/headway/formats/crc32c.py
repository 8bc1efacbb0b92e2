"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, at the speed of memory in numpy (RFC 3720, appendix B.4).

A checksum is the remainder of the bytes, read as a polynomial over GF(2), by a fixed polynomial of degree 32. A sparse
multiple of that polynomial leaves the same remainder and divides by three shifted XORs; powers of two of its exponents
give further multiples, for `x -> x^2` keeps sums. So long data is folded onto its end, and a table does the last bytes.
"""

from collections.abc import Iterable
from functools import cache

import numpy
from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview

_REVERSED = 0x82F63B78  # the polynomial 0x1EDC6F41, its lowest power in the highest bit
# x^5685 + x^1362 + x^426 + 1 is a multiple of it, with 8 * stride times these exponents too.
_HIGHEST, _MIDDLE, _LOWEST = 5685, 1362, 426
_STRIDES = (64, 8, 1)
_PIECE = 4 << 20
_MASK = 0xA282EAD8  # of TensorFlow and LevelDB: a checksum of data that holds checksums would be weak


def crc32c(data: Buffer, crc: int = 0) -> int:
    """The checksum of the bytes, or, given that of what comes before them, of both together."""
    crc ^= 0xFFFFFFFF
    whole = memoryview(data).cast("B")
    for start in range(0, len(whole), _PIECE):
        crc = _advance(whole[start : start + _PIECE], crc)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """A checksum in the form that TensorFlow's files keep it in."""
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def masked_crc32c(parts: Iterable[Buffer]) -> int:
    """The masked checksum of several runs of bytes, one after another."""
    crc = 0
    for part in parts:
        crc = crc32c(part, crc)
    return masked(crc)


def _advance(piece: memoryview, register: int) -> int:
    if len(piece) > _HIGHEST:
        folded = numpy.array(piece, dtype=numpy.uint8)
        folded[:4] ^= numpy.frombuffer(register.to_bytes(4, "little"), dtype=numpy.uint8)
        piece, register = memoryview(_fold(folded).tobytes()), 0
    table = _table()
    for byte in piece:
        register = table[(register ^ byte) & 255] ^ (register >> 8)
    return register


def _fold(values: NDArray[numpy.uint8]) -> NDArray[numpy.uint8]:
    """The last bytes, into which all before them have been folded; `values` is used up.

    A term of the multiple lower by n powers of x lies n bits further on; whole strides keep bits in their places.
    """
    for stride in _STRIDES:
        near, far = (_HIGHEST - _MIDDLE) * stride, (_HIGHEST - _LOWEST) * stride
        farthest = _HIGHEST * stride
        start = 0
        while (left := len(values) - start - farthest) > 0:
            count = min(near, left)
            head = values[start : start + count]
            for distance in (near, far, farthest):
                values[start + distance : start + distance + count] ^= head
            start += count
        values = values[start:]
    return values


@cache
def _table() -> tuple[int, ...]:
    """What each byte leaves behind when it is shifted out of the register."""
    table = []
    for register in range(256):
        for _ in range(8):
            register = (register >> 1) ^ (_REVERSED if register & 1 else 0)
        table.append(register)
    return tuple(table)
