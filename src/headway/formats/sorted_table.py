"""The sorted table of LevelDB, in TensorFlow's version: keys to values in one file, in blocks with checksums.

A block is entries, then where keys begin anew, then one byte of compression and a masked CRC-32C. A key gives only what
differs from the one before. The index block leads to the data blocks and the footer to the index.
https://github.com/google/leveldb/blob/main/doc/table_format.md describes it; TensorFlow has another block size.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headway.formats.crc32c import masked_crc32c
from headway.formats.protocol_buffers import read_varint, varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # compression, checksum
_PLAIN, _SNAPPY = 0, 1
_RESTART_INTERVAL = 16
_BLOCK_SIZE = 256 << 10
_LONGEST_KEY = 512  # a key can repeat all of the one before at the cost of a byte, so length is memory


@dataclass(frozen=True, kw_only=True)
class _Handle:
    """Where a block lies: its length is without the trailer."""

    offset: int
    length: int


def read_table(data: bytes) -> dict[bytes, bytes]:
    """The values by key, in order. Raises ValueError where anything is damaged or contradicts itself."""
    if len(data) < _FOOTER:
        raise ValueError(f"it has {len(data)} bytes, too few for a table of tensors: it was cut off")
    footer = data[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("its last eight bytes are not those of a table of tensors: it was cut off, or is another file")
    meta, position = _read_handle(footer, 0)
    index, position = _read_handle(footer, position)
    if any(footer[position:-8]):
        raise ValueError("its footer holds more than the places of two blocks")
    list(_entries(_block(data, meta)))
    table: dict[bytes, bytes] = {}
    last: bytes | None = None
    end = 0
    for bound, place in _entries(_block(data, index)):
        handle, used = _read_handle(place, 0)
        if used != len(place) or handle.offset != end:
            raise ValueError(f"its index puts a block at byte {handle.offset}, where {end} is next")
        end = handle.offset + handle.length + _TRAILER
        for key, value in _entries(_block(data, handle)):
            if last is not None and key <= last:
                raise ValueError(f"the key {_name(key)} stands after {_name(last)}: twice, or out of order")
            if key > bound:
                raise ValueError(f"the key {_name(key)} stands in a block that ends at {_name(bound)}")
            table[key] = value
            last = key
    return table


def write_table(entries: Mapping[bytes, bytes], block_size: int = _BLOCK_SIZE) -> bytes:
    """The bytes of a table of these values."""
    file, index, block = bytearray(), {}, dict[bytes, bytes]()
    filled = 0
    for key in sorted(entries):
        block[key] = entries[key]
        filled += len(key) + len(entries[key])
        if filled >= block_size:
            index[key] = _append(file, block, _RESTART_INTERVAL)
            block, filled = {}, 0
    if block:
        index[_short_after(max(block))] = _append(file, block, _RESTART_INTERVAL)
    handles = _append(file, {}, 1) + _append(file, index, 1)
    return bytes(file) + handles.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _short_after(key: bytes) -> bytes:
    """A short key after this one, as TensorFlow ends the index, so that small files are the same byte for byte."""
    return next((key[:place] + bytes([byte + 1]) for place, byte in enumerate(key) if byte < 255), key)


def _append(file: bytearray, entries: Mapping[bytes, bytes], interval: int) -> bytes:
    """Put a block at the end of the file; its handle is returned."""
    block, restarts, before = bytearray(), [], b""
    for number, (key, value) in enumerate(entries.items()):
        shared = 0
        if number % interval == 0:
            restarts.append(len(block))
        else:
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
        block += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    block += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    handle = varint(len(file)) + varint(len(block))
    block.append(_PLAIN)
    file += block + struct.pack("<I", masked_crc32c([block]))
    return handle


def _read_handle(data: bytes, position: int) -> tuple[_Handle, int]:
    offset, position = read_varint(data, position)
    length, position = read_varint(data, position)
    return _Handle(offset=offset, length=length), position


def _block(data: bytes, handle: _Handle) -> bytes:
    """A block's bytes, once its checksum is found right."""
    end = handle.offset + handle.length
    if end + _TRAILER > len(data) - _FOOTER:
        raise ValueError(f"a block of {handle.length} bytes at byte {handle.offset} would lie past its end")
    compression, checksum = struct.unpack("<BI", data[end : end + _TRAILER])
    if masked_crc32c([data[handle.offset : end + 1]]) != checksum:
        raise ValueError(f"the checksum of the block at byte {handle.offset} is wrong")
    if compression != _PLAIN:
        method = "Snappy" if compression == _SNAPPY else f"method {compression}"
        raise ValueError(f"its blocks are compressed with {method}, which is not supported; write it uncompressed")
    return data[handle.offset : end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. Raises ValueError where its parts do not fit together."""
    if len(block) < 4:
        raise ValueError("a block is too short")
    (count,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (count + 1)
    if count < 1 or end < 0:
        raise ValueError(f"a block of {len(block)} bytes claims {count} places where keys begin anew")
    restarts = set(struct.unpack(f"<{count}I", block[end:-4]))
    position, key = 0, b""
    while position < end:
        start = position
        shared, position = read_varint(block, position)
        added, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if added + length > end - position or shared > len(key) or (shared and start in restarts):
            raise ValueError(f"the entry at byte {start} of a block does not fit there")
        if shared + added > _LONGEST_KEY:
            raise ValueError(f"a key in it has {shared + added} bytes; at most {_LONGEST_KEY} are read")
        restarts.discard(start)
        key = key[:shared] + block[position : position + added]
        yield key, block[position + added : position + added + length]
        position += added + length
    if restarts - ({0} if not end else set()):
        raise ValueError("a block says that keys begin anew where none begins")


def _name(key: bytes) -> str:
    return ascii(key)[1:][:80]
