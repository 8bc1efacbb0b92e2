"""TensorFlow's checkpoint written byte by byte, for the reader's tests; it shares no line with the code it tests.

Everything that a checkpoint can lie about is an argument of the parts here.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy

Pairs = list[tuple[bytes, bytes]]

NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
MAGIC = bytes.fromhex("57fb808b247547db")


@cache
def slow_crc(data: bytes) -> int:
    """Bit by bit, as RFC 3720 defines it."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def checksum(data: bytes) -> bytes:
    crc = slow_crc(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def number(value: int) -> bytes:
    """A varint; a negative number as two's complement of 64 bits."""
    value %= 2**64
    digits = [value >> shift & 127 for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


def numbered(place: int, value: int) -> bytes:
    return number(place * 8) + number(value)


def nested(place: int, data: bytes) -> bytes:
    return number(place * 8 + 2) + number(len(data)) + data


def header(shards: int, endianness: bytes = b"", version: bytes = b"\x08\x01") -> bytes:
    return numbered(1, shards) + endianness + nested(3, version)


def shape(sizes: Sequence[int]) -> bytes:
    return nested(2, b"".join(nested(2, numbered(1, size)) for size in sizes))


@dataclass
class Entry:
    """What is said of one tensor; a test changes it before it is written."""

    sizes: Sequence[int]
    kind: int
    shard: int
    offset: int
    size: int
    crc: bytes
    more: bytes = b""

    def encode(self) -> bytes:
        places = numbered(3, self.shard) + numbered(4, self.offset) + numbered(5, self.size)
        return numbered(1, self.kind) + shape(self.sizes) + places + b"\x35" + self.crc + self.more


def block(pairs: Pairs, interval: int = 16) -> bytes:
    """Entries that give what differs from the key before, then the places where a key is given whole."""
    data, whole, before = b"", [], b""
    for count, (key, value) in enumerate(pairs):
        same = 0
        if count % interval:
            while key[: same + 1] == before[: same + 1] and same < len(before):
                same += 1
        else:
            whole.append(len(data))
        data += number(same) + number(len(key) - same) + number(len(value)) + key[same:] + value
        before = key
    whole = whole or [0]
    return data + struct.pack(f"<{len(whole)}I", *whole) + struct.pack("<I", len(whole))


def sealed(data: bytes, compression: int = 0) -> bytes:
    body = data + bytes([compression])
    return body + checksum(body)


def table(pairs: Pairs, per_block: int = 5, interval: int = 16, compression: int = 0) -> bytes:
    """A sorted table; the pairs are written in the order given, so that a test can give a wrong one."""
    file, index = b"", []
    for start in range(0, len(pairs), per_block):
        part = pairs[start : start + per_block]
        data = block(part, interval)
        # Any key from the last of the block to the first of the next: here the last and a byte more.
        index.append((part[-1][0] + b"\0", number(len(file)) + number(len(data))))
        file += sealed(data, compression)
    places = b""
    for data in (block([]), block(index, 1)):
        places += number(len(file)) + number(len(data))
        file += sealed(data)
    return file + places + bytes(40 - len(places)) + MAGIC


@dataclass
class Checkpoint:
    """Tensors over several files of data, with what is said of them."""

    arrays: dict[str, numpy.ndarray]
    shards: int = 1
    per_block: int = 5
    entries: dict[str, Entry] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = [b"" for _ in range(self.shards)]
        for count, (name, array) in enumerate(self.arrays.items()):
            shard, content = count % self.shards, array.tobytes()
            self.entries[name] = Entry(
                array.shape,
                NUMBERS[array.dtype.name],
                shard,
                len(self.data[shard]),
                len(content),
                checksum(content),
            )
            self.data[shard] += content

    def pairs(self) -> Pairs:
        found = [(name.encode(), entry.encode()) for name, entry in self.entries.items()]
        return [(b"", header(self.shards)), *sorted(found)]

    def write(
        self, folder: Path, name: str = "model.ckpt", change: Callable[[Pairs], Pairs] = lambda pairs: pairs
    ) -> Path:
        """The files in the folder; `change` has the last word on the pairs of the index."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.index").write_bytes(table(change(self.pairs()), self.per_block))
        for shard, content in enumerate(self.data):
            (folder / f"{name}.data-{shard:05d}-of-{self.shards:05d}").write_bytes(content)
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n')
        return folder
