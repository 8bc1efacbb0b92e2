"""The GGUF file: its metadata and the table of its tensors, then their values, each checked before it is believed.

Our own reader of the header, for that of the gguf package believes every count: a hostile file makes it grow without
end. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from headway.errors import DependencyError, FormatError
from headway.formats.gguf_names import VALUE_KINDS
from headway.formats.layout import StoredTensor

MAGIC = b"GGUF"

_VERSIONS = (2, 3)
_LARGEST_HEADER = 64 << 20
_MOST_ENTRIES = 1 << 16  # keys, and tensors
_MOST_VALUES = 1 << 22  # in all arrays together
_LONGEST_KEY = 1 << 16
_MOST_DIMENSIONS = 4
_SCALARS = {  # a value's kind: how the struct module writes it
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_BOOL, _STRING, _ARRAY = 7, 8, 9
_KIND_NAMES = {kind.number: name for name, kind in VALUE_KINDS.items()}
_PLAIN = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class _Place(NamedTuple):
    """Where a tensor lies: its kind of values, its first byte in the file, and the bytes of one row."""

    kind: str
    start: int
    row: int


class GGUFFile:
    """One open file; quantised tensors are given as float32."""

    metadata: dict[str, Any]
    tensors: Mapping[str, StoredTensor]

    def __init__(self, path: Path) -> None:
        """Raises FormatError where the header is not sound or does not fit the file."""
        self.path = path
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise FormatError(f"{path} cannot be opened: {error.strerror}\nGive another file.") from error
        try:
            header = _Header(self._file)
            self.metadata = header.metadata
            self._places = header.places
            self.tensors = header.tensors
        except (ValueError, OSError) as error:
            self._file.close()
            raise FormatError(
                f"{path} is no sound GGUF file: {ascii(str(error))[1:-1][:300]}\nGet the file again."
            ) from error
        except BaseException:
            self._file.close()
            raise

    def kind(self, name: str) -> str:
        """The kind of values a tensor is stored in, one of VALUE_KINDS."""
        return self._places[name].kind

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A tensor's rows (its elements, where it has one dimension) from `start` to `stop`.

        Raises DependencyError where they are quantised and the gguf package is not installed.
        """
        stored, place = self.tensors[name], self._places[name]
        self._file.seek(place.start + start * place.row)
        data = bytearray((stop - start) * place.row)
        if self._file.readinto(data) != len(data):
            raise FormatError(f"{self.path} ends within {name}: it became shorter while it was read")
        shape = (stop - start, *stored.shape[1:])
        if not data:
            return torch.empty(shape, dtype=stored.dtype)
        if place.kind in _PLAIN:
            return torch.frombuffer(data, dtype=stored.dtype).view(shape)
        package = gguf_package("opening quantised weights")
        blocks = numpy.frombuffer(data, dtype=numpy.uint8).reshape(stop - start, place.row)
        with numpy.errstate(all="ignore"):  # values that are not finite are found by whoever asked for them
            values = package.quants.dequantize(blocks, package.GGMLQuantizationType(VALUE_KINDS[place.kind].number))
        return torch.from_numpy(numpy.ascontiguousarray(values, dtype=numpy.float32)).view(shape)

    def close(self) -> None:
        self._file.close()


def gguf_package(what: str) -> Any:
    """The package `gguf`. Raises DependencyError, saying what needs it, where it is not installed."""
    try:
        import gguf
    except ImportError as error:
        raise DependencyError(f"{what} needs the package gguf: pip install 'headway[gguf]'") from error
    return gguf


class _Header:
    """Reads everything before the tensors' bytes. Raises ValueError, or OSError, where it is not sound."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._position = 0
        self._values_left = _MOST_VALUES
        if self._bytes(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            other = " (big-endian?)" if version > 0xFFFF else ""
            raise ValueError(f"its version is {version}{other}; read are {_VERSIONS[0]} and {_VERSIONS[1]}")
        n_tensors, n_keys = self._count("tensors", 24), self._count("keys", 13)
        self.metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._string(_LONGEST_KEY)
            if key in self.metadata:
                raise ValueError(f"the key {key[:80]} stands in it twice")
            self.metadata[key] = self._value(self._number("<I"))
        self.tensors: dict[str, StoredTensor] = {}
        self.places: dict[str, _Place] = {}
        for _ in range(n_tensors):
            self._tensor()
        self._check_places()

    def _tensor(self) -> None:
        name = self._string(_LONGEST_KEY)
        if name in self.tensors:
            raise ValueError(f"the tensor {name[:80]} stands in it twice")
        n_dimensions = self._number("<I")
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise ValueError(f"{name[:80]} has {n_dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(n_dimensions))[::-1]  # the file has the innermost first
        number, offset = self._number("<I"), self._number("<Q")
        if number not in _KIND_NAMES:
            raise ValueError(f"{name[:80]} has values of kind {number}, which is not read ({', '.join(VALUE_KINDS)})")
        kind = _KIND_NAMES[number]
        _, block, n_bytes = VALUE_KINDS[kind]
        if shape[-1] % block or (block > 1 and n_dimensions == 1) or 0 in shape:
            raise ValueError(f"{name[:80]} has the shape {shape}, which {kind} cannot have")
        row = math.prod(shape[1:]) // block * n_bytes if n_dimensions > 1 else n_bytes
        self.tensors[name] = StoredTensor(shape=shape, dtype=_PLAIN.get(kind, torch.float32))
        self.places[name] = _Place(kind, offset, row)

    def _check_places(self) -> None:
        """Turn offsets into places in the file. No two tensors may share bytes: few would stand for endless many."""
        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 1 << 16 or alignment % 8:
            raise ValueError(f"general.alignment is {alignment!a:.40}")
        begin = -(-self._position // alignment) * alignment
        end = 0
        for name, place in sorted(self.places.items(), key=lambda item: item[1].start):
            if place.start % alignment or place.start < end:
                raise ValueError(f"{name[:80]} begins at byte {place.start}, where {end} or later is next")
            end = place.start + self.tensors[name].shape[0] * place.row
            if begin + end > self._size:
                raise ValueError(
                    f"{name[:80]} ends at byte {begin + end}, but the file has {self._size}: it is cut off"
                )
            self.places[name] = place._replace(start=begin + place.start)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string(_LARGEST_HEADER)
        if kind != _ARRAY:
            return self._numbers(kind, 1)[0]
        inner = self._number("<I")
        smallest = 8 if inner == _STRING else 1
        count = self._number("<Q")
        if count > self._values_left or count * smallest > self._size - self._position:
            raise ValueError(f"a list of {count} values is in it, more than the file or {_MOST_VALUES}")
        self._values_left -= count
        if inner == _STRING:
            return [self._string(_LARGEST_HEADER) for _ in range(count)]
        return self._numbers(inner, count)

    def _numbers(self, kind: int, count: int) -> list[Any]:
        if kind not in _SCALARS:
            raise ValueError(f"a value of kind {kind} is in it, which is not read")
        code = _SCALARS[kind]
        values = struct.unpack(f"<{count}{code[1]}", self._bytes(count * struct.calcsize(code)))
        return [bool(value) for value in values] if kind == _BOOL else list(values)

    def _count(self, what: str, smallest: int) -> int:
        count = self._number("<Q")
        if count > min(_MOST_ENTRIES, (self._size - self._position) // smallest):
            raise ValueError(f"it claims {count} {what}, more than fit, or than the {_MOST_ENTRIES} that are read")
        return count

    def _string(self, longest: int) -> str:
        length = self._number("<Q")
        if length > longest:
            raise ValueError(f"a text of {length} bytes is in it, where at most {longest} are read")
        return self._bytes(length).decode("utf-8")

    def _number(self, code: str) -> int:
        value: int = struct.unpack(code, self._bytes(struct.calcsize(code)))[0]
        return value

    def _bytes(self, count: int) -> bytes:
        self._position += count
        if self._position > min(self._size, _LARGEST_HEADER):
            raise ValueError(f"its header ends beyond byte {min(self._size, _LARGEST_HEADER)}: it is cut off")
        data: bytes = self._file.read(count)
        if len(data) != count:
            raise ValueError("it became shorter while it was read")
        return data
