"""One file of packed weights: a header that says of what, and the parts, each at a multiple of 64 bytes.

8 bytes   the magic
8 bytes   the header's length, little-endian
32 bytes  its SHA-256
header    JSON; zeros up to a multiple of 4,096
parts     as long as the header says; their checksum is verified whenever they are read, at the speed of memory
"""

import hashlib
import json
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from headway.engine.extension import native, threads_here
from headway.errors import FormatError, ResourceError
from headway.settings import from_dict, to_dict

MAGIC = b"headway\x01"
PACKING = 1
"""The number of the way weights are packed; a test holds the packed bytes to it."""

_PREAMBLE = struct.Struct("<8sQ32s")
_PAGE, _LINE = 4096, 64
_LARGEST_HEADER = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file that the packed weights came from: what it held, by SHA-256, and how to see that it still does."""

    name: str
    size: int
    modified: int  # of its content, in nanoseconds
    changed: int  # of anything about it
    inode: int
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the parts are. as_stored: their bits are those of the stored numbers. sizes: as the extension takes them."""

    packing: int = PACKING
    family: str
    bits: int
    as_stored: bool
    sizes: Mapping[str, Any]
    sources: tuple[Source, ...]
    parts: tuple[tuple[str, int, int], ...] = ()
    bytes: int = 0
    checksum: str = "0" * 16


class CacheFile:
    """An open file whose header was found whole; a context that closes it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be opened or is a link or no plain file, FormatError where it is damaged."""
        self._file = open(path, "rb", buffering=0, opener=_without_waiting)
        try:
            self.header, self._start = _read_header(self._file)
        except BaseException:
            self._file.close()
            raise

    def parts(self) -> Any:
        """The parts, read into memory of their own. Raises FormatError where they are not those that were written."""
        header = self.header
        place = (self._file.fileno(), self._start, header.bytes)
        try:
            parts, checksum = native().read_parts(*place, list(header.parts), threads_here())
        except MemoryError:
            raise ResourceError("there is not enough memory for the weights\nUse fewer bits.") from None
        except (ValueError, RuntimeError) as error:
            raise FormatError(str(error)) from None
        if f"{checksum:016x}" != header.checksum:
            raise FormatError("its parts are not those that were written")
        return parts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()


def write_parts(path: Path, header: Header, parts: Mapping[str, Any]) -> None:
    """Fill an empty file; where the parts stand and their checksum are put into the header here."""
    places, end = [], 0
    for name, part in parts.items():
        places.append((name, end, len(part)))
        end += len(part) + -len(part) % _LINE
    header = replace(header, parts=tuple(places), bytes=end)
    with open(path, "r+b") as file:
        start = _start(len(_encoded(header)))
        file.seek(start)
        for part in parts.values():
            file.write(memoryview(part))
            file.write(bytes(-len(part) % _LINE))
        file.truncate(start + end)  # flushes, too
        checksum = native().checksum_of(file.fileno(), start, end, threads_here())
        _write_header(file, replace(header, checksum=f"{checksum:016x}"))


def _write_header(file: BinaryIO, header: Header) -> None:
    text = _encoded(header)
    file.seek(0)
    file.write(_PREAMBLE.pack(MAGIC, len(text), hashlib.sha256(text).digest()) + text)


def _read_header(file: BinaryIO) -> tuple[Header, int]:
    """The header, and where the parts begin."""
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("it is no plain file")
    size = facts.st_size
    preamble = file.read(_PREAMBLE.size)
    if len(preamble) < _PREAMBLE.size:
        raise FormatError("it ends within its first bytes")
    magic, length, digest = _PREAMBLE.unpack(preamble)
    if magic != MAGIC:
        raise FormatError("it begins with other bytes than such a file does")
    if length > min(_LARGEST_HEADER, size):
        raise FormatError(f"its header would have {length} bytes")
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise FormatError("its header is not the one that was written")
    try:
        header = from_dict(Header, json.loads(text))
    except (ValueError, RecursionError) as error:  # a ConfigError is one
        raise FormatError(str(error)) from None
    start = _start(length)
    if not _in_order(header):
        raise FormatError("its header does not have the parts one behind the other")
    if size != start + header.bytes:
        raise FormatError(f"it has {size} bytes in place of {start + header.bytes}")
    return header, start


def _in_order(header: Header) -> bool:
    """Whether the parts stand as `write_parts` puts them."""
    end = 0
    for name, begin, size in header.parts:
        if begin != end or size < 0 or not name.isascii():
            return False
        end += size + -size % _LINE
    return end == header.bytes and len({name for name, _, _ in header.parts}) == len(header.parts)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe without a writer at once, and no link: it may come with a folder of somebody else's."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _encoded(header: Header) -> bytes:
    return json.dumps(to_dict(header)).encode()


def _start(length: int) -> int:
    """Where the parts begin behind a header of that length."""
    return -(-(_PREAMBLE.size + length) // _PAGE) * _PAGE
