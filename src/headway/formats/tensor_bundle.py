"""TensorFlow's checkpoint of version 2, the "tensor bundle", read and written without TensorFlow.

NAME.index is a sorted table: the empty key has the header, each tensor's name its kind, shape, place and checksum. The
values lie in NAME.data-00000-of-00001 and so on. Everything the index says is checked against the files before memory
is asked for. The messages: tensorflow/core/protobuf/tensor_bundle.proto.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from headway.errors import FormatError
from headway.formats.crc32c import crc32c, masked
from headway.formats.layout import StoredTensor
from headway.formats.protocol_buffers import Message, fixed32, message
from headway.formats.reading import inside
from headway.formats.safetensors_file import Writing, check_finite
from headway.formats.sorted_table import read_table, write_table

INDEX_SUFFIX = ".index"

_LARGEST_INDEX = 4 << 20  # the largest GPT-2's, with an optimiser's state, has a tenth of one
_MOST_SHARDS = 4096
_MOST_DIMENSIONS = 254  # TensorFlow's own limit
_VERSION = 1
_PIECE = 4 << 20
# The numbers of tensorflow/core/framework/types.proto.
_DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What the index says of one tensor; `checksum` is masked."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class TensorBundle:
    """The open files of one checkpoint; a tensor's checksum is verified before its first values are given out."""

    def __init__(self, folder: Path, name: str, wanted: Callable[[str], bool]) -> None:
        """Opens NAME.index and every file of data in the folder; tensors that are not `wanted` are left unread.

        Raises FormatError, naming the file, where one is missing, damaged, or contradicts another.
        """
        index = folder / f"{name}{INDEX_SUFFIX}"
        n_shards, self._entries = _read_index(folder, index.name)
        self._shards: list[BinaryIO] = []
        self._verified: set[str] = set()
        try:
            for number in range(n_shards):
                path = inside(folder, f"{name}.data-{number:05}-of-{n_shards:05}")
                self._shards.append(open(path, "rb"))
            _check_places(index, self._entries, [Path(shard.name) for shard in self._shards])
            self.tensors = {
                tensor: StoredTensor(shape=entry.shape, dtype=_dtype(index, tensor, entry))
                for tensor, entry in self._entries.items()
                if wanted(tensor)
            }
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors of the index, wanted or not."""
        return tuple(self._entries)

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Let a tensor be seen in another shape of as many values."""
        stored = self.tensors[name]
        assert math.prod(shape) == math.prod(stored.shape)
        self.tensors[name] = StoredTensor(shape=shape, dtype=stored.dtype)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A tensor's rows (its elements, where it has one dimension) from `start` to `stop`, in memory of their own.

        Raises FormatError where the tensor's checksum is wrong, or its file became shorter.
        """
        stored, entry = self.tensors[name], self._entries[name]
        if name not in self._verified:
            self._verify(name, entry)
        row = math.prod(stored.shape[1:]) * stored.dtype.itemsize
        part = torch.empty((stop - start, *stored.shape[1:]), dtype=stored.dtype)
        buffer = part.view(-1).view(torch.uint8).numpy().data
        shard = self._shards[entry.shard]
        shard.seek(entry.offset + start * row)
        if shard.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise FormatError(f"{shard.name} ends within {name}: it became shorter while it was read")
        return part

    def close(self) -> None:
        for shard in self._shards:
            shard.close()

    def _verify(self, name: str, entry: _Entry) -> None:
        shard, crc = self._shards[entry.shard], 0
        shard.seek(entry.offset)
        for start in range(0, entry.size, _PIECE):
            crc = crc32c(shard.read(min(_PIECE, entry.size - start)), crc)
        if masked(crc) != entry.checksum:
            raise FormatError(f"{shard.name} is damaged: the checksum of {name} is wrong\nGet the file again.")
        self._verified.add(name)


def write_bundle(folder: Path, name: str, tensors: Mapping[str, Writing]) -> None:
    """Write the tensors as NAME.index and one file of data, one at a time.

    Raises FormatError, naming the tensor, where a value is not finite.
    """
    header = message({1: 1, 3: message({1: _VERSION})})  # one shard; the byte order, little-endian, is 0
    table = {b"": header}
    data = folder / f"{name}.data-00000-of-00001"
    with open(data, "wb") as file:
        for tensor in sorted(tensors, key=str.encode):
            dtype, shape, values = tensors[tensor]
            value = values().detach().to("cpu", dtype).contiguous()
            assert value.shape == shape, tensor
            check_finite(tensor, value, data.name)
            buffer = value.view(-1).view(torch.uint8).numpy().data
            sizes: list[bytes] = [message({1: size}) for size in shape]
            fields = {1: _NUMBERS[dtype], 4: file.tell(), 5: len(buffer)}
            table[tensor.encode()] = message({**fields, 2: message({2: sizes})}) + fixed32(6, masked(crc32c(buffer)))
            file.write(buffer)
    (folder / f"{name}{INDEX_SUFFIX}").write_bytes(write_table(table))


def _read_index(folder: Path, name: str) -> tuple[int, dict[str, _Entry]]:
    path = inside(folder, name)
    if path.stat().st_size > _LARGEST_INDEX:
        raise FormatError(f"{folder / name} has {path.stat().st_size} bytes; at most {_LARGEST_INDEX} are read")
    try:
        table = read_table(path.read_bytes())
        if b"" not in table:
            raise ValueError("it has no header")
        n_shards = _read_header(Message(table.pop(b"")))
        return n_shards, {key.decode("utf-8"): _read_entry(key, Message(value)) for key, value in table.items()}
    except (ValueError, OSError) as error:
        reason = ascii(str(error))[1:-1][:300]
        raise FormatError(f"{folder / name} cannot be read: {reason}\nGet the checkpoint again, complete.") from error


def _read_header(header: Message) -> int:
    n_shards = header.number(1)
    if not 1 <= n_shards <= _MOST_SHARDS:
        raise ValueError(f"it claims {n_shards} files of data, where 1 to {_MOST_SHARDS} are possible")
    if header.number(2) != 0:
        raise ValueError("its values were written by a big-endian machine, which is not supported")
    for version in header.messages(3):
        if version.number(2) > _VERSION:
            raise ValueError(f"it asks for version {version.number(2)} of the format; {_VERSION} is the one known")
    return n_shards


def _read_entry(key: bytes, entry: Message) -> _Entry:
    if entry.messages(7):
        raise ValueError(f"the tensor {ascii(key)[1:][:80]} is kept in slices, which is not supported")
    shapes = entry.messages(2)
    sizes = [dimension.number(1) for shape in shapes[-1:] for dimension in shape.messages(2)]
    if len(shapes) > 1 or len(sizes) > _MOST_DIMENSIONS or any(shape.number(3) for shape in shapes):
        raise ValueError(f"the tensor {ascii(key)[1:][:80]} has no one shape of at most {_MOST_DIMENSIONS} dimensions")
    found = _Entry(
        kind=entry.number(1),
        shape=tuple(sizes),
        shard=entry.number(3),
        offset=entry.number(4),
        size=entry.number(5),
        checksum=entry.fixed32(6),
    )
    if min(*sizes, 0, found.shard, found.offset, found.size) < 0:
        raise ValueError(f"the tensor {ascii(key)[1:][:80]} has a size or a place below 0")
    return found


def _check_places(index: Path, entries: Mapping[str, _Entry], shards: list[Path]) -> None:
    """Raises FormatError where a tensor does not lie in its file, does not fill its place, or lies across another."""
    ends, sizes = [0] * len(shards), [shard.stat().st_size for shard in shards]
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size)):
        problem = next(_problems(entry, ends, sizes), None)
        if problem is not None:
            raise FormatError(
                f"{index}: the tensor {ascii(name)[:80]} {problem}\nGet the checkpoint again: its files do not fit."
            )
        ends[entry.shard] = entry.offset + entry.size


def _problems(entry: _Entry, ends: list[int], sizes: list[int]) -> Iterator[str]:
    if entry.shard >= len(sizes):
        yield f"is said to lie in file {entry.shard} of data, of {len(sizes)}"
        return
    if entry.offset + entry.size > sizes[entry.shard]:
        yield (
            f"is said to take {entry.size} bytes from byte {entry.offset} of file {entry.shard} of data, "
            f"which has {sizes[entry.shard]}"
        )
    if entry.size and entry.offset < ends[entry.shard]:
        yield "is said to lie where another does"
    dtype = _DTYPES.get(entry.kind)
    if dtype is not None and math.prod(entry.shape) * dtype.itemsize != entry.size:
        yield f"of shape {entry.shape} and {dtype} is said to take {entry.size} bytes"


def _dtype(index: Path, name: str, entry: _Entry) -> torch.dtype:
    if entry.kind not in _DTYPES:
        raise FormatError(
            f"{index}: the tensor {ascii(name)[:80]} holds values of TensorFlow's kind {entry.kind}, "
            "which are not supported\nSupported are whole and floating-point numbers."
        )
    return _DTYPES[entry.kind]
