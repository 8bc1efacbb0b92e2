"""The safetensors file: eight bytes of header length, a JSON header, then the tensors' bytes without gaps.

The header is checked against the file before anything is allocated; bytes are then read straight into place, so that
loading holds one copy of the weights. https://github.com/huggingface/safetensors describes the format.
"""

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headway.errors import FormatError
from headway.formats.layout import StoredTensor

_LARGEST_HEADER = 16 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class SafetensorsFile:
    """One open file; reading goes on from the same content even where another takes its name meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises FormatError where the header does not fit the file."""
        self.path = path
        self._file = open(path, "rb", buffering=0)
        try:
            self._start, self._offsets, self.tensors = _read_header(path, self._file)
        except BaseException:
            self._file.close()
            raise

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A tensor's rows (its elements, where it has one dimension) from `start` to `stop`, in memory of their own."""
        entry = self.tensors[name]
        row = math.prod(entry.shape[1:]) * entry.dtype.itemsize
        part = torch.empty((stop - start, *entry.shape[1:]), dtype=entry.dtype)
        buffer = part.view(-1).view(torch.uint8).numpy().data
        self._file.seek(self._start + self._offsets[name] + start * row)
        filled = 0
        while filled < len(buffer):
            count = self._file.readinto(buffer[filled:])
            if not count:
                raise FormatError(f"{self.path} ends within {name}: it became shorter while it was read")
            filled += count
        return part

    def close(self) -> None:
        self._file.close()


class Writing(NamedTuple):
    """A tensor to write: its dtype and shape in the file, and where its values come from when its turn comes."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    values: Callable[[], Tensor]


def write_safetensors(path: Path, tensors: Mapping[str, Writing]) -> None:
    """Write the tensors into `path`, one at a time, as transformers reads them.

    Raises FormatError, naming the tensor, where a value is not finite.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        dtype, shape, _ = tensors[name]
        end = offset + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the values begin at a multiple of eight
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            dtype, shape, values = tensors[name]
            value = values().detach().to("cpu", dtype).contiguous()
            assert value.shape == shape, name
            check_finite(name, value, path.name)
            file.write(value.view(-1).view(torch.uint8).numpy().data)


def check_finite(name: str, values: Tensor, file: str) -> None:
    """Raises FormatError where a value is NaN or infinite."""
    if values.is_floating_point() and values.numel():
        lowest, highest = torch.aminmax(values)
        if not (math.isfinite(float(lowest)) and math.isfinite(float(highest))):
            raise FormatError(
                f"{name} holds values that are not finite (NaN or infinity), in {file}\n"
                "Such a model writes nothing sensible: take an earlier checkpoint, or get the file again."
            )


def _read_header(path: Path, file: Any) -> tuple[int, dict[str, int], dict[str, StoredTensor]]:
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise FormatError(f"{path} has {size} bytes, too few for a safetensors file\nGet it again: it was cut off.")
    (length,) = struct.unpack("<Q", _read_exactly(file, 8))
    if length > size - 8 or length > _LARGEST_HEADER:
        raise FormatError(
            f"{path} claims a header of {length} bytes, but has {size} bytes in all, and at most {_LARGEST_HEADER}"
            " bytes of header are read\nGet the file again: it was cut off, or is no safetensors file."
        )
    try:
        header = json.loads(_read_exactly(file, length).decode("utf-8"), object_pairs_hook=_unrepeated)
        entries = [(name, *_entry(value)) for name, value in header.items() if name != "__metadata__"]
        _check_gapless(entries, size - 8 - length)
        with safe_open(
            path, framework="pt"
        ) as library:  # a second opinion; it maps the file and reads the header alone
            if set(library.keys()) != {name for name, _, _ in entries}:
                raise ValueError("the safetensors library finds other tensors in it")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError, OSError) as error:
        raise FormatError(
            f"{path} has a damaged header: {ascii(str(error))[1:-1][:300]}\nGet the file again."
        ) from error
    return 8 + length, {name: start for name, _, start in entries}, {name: stored for name, stored, _ in entries}


def _read_exactly(file: Any, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = file.read(count - len(parts))
        if not part:
            raise FormatError(f"{file.name} ends before its header does\nGet the file again: it was cut off.")
        parts += part
    return parts


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands in it twice")
    return table


def _entry(value: Any) -> tuple[StoredTensor, int]:
    kind, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
    if kind not in _DTYPES:
        raise ValueError(f"values of kind {kind!r} are not supported (supported: {', '.join(_DTYPES)})")
    if not all(type(number) is int and 0 <= number < 2**63 for number in (*shape, start, end)):
        raise ValueError("a shape or an offset is not a whole number from 0")
    if math.prod(shape) * _DTYPES[kind].itemsize != end - start:
        raise ValueError(f"the shape {shape} of {kind} does not fill the bytes {start} to {end}")
    return StoredTensor(shape=tuple(shape), dtype=_DTYPES[kind]), start


def _check_gapless(entries: Iterable[tuple[str, StoredTensor, int]], size: int) -> None:
    end = 0
    for name, stored, start in sorted(entries, key=lambda entry: (entry[2], math.prod(entry[1].shape))):
        if start != end:
            raise ValueError(f"{name} begins at byte {start}, where {end} is next")
        end = start + math.prod(stored.shape) * stored.dtype.itemsize
    if end != size:
        raise ValueError(f"the tensors take {end} bytes, but the file holds {size} for them")
