"""The pytorch_model.bin of older folders: a pickle, opened by PyTorch's restricted unpickler alone.

That unpickler builds tensors and plain containers and refuses everything else, so no code in the file runs.
"""

import math
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from headway.errors import FormatError
from headway.formats.layout import StoredTensor

_REOPEN_AFTER = 32 << 20


class TorchFile:
    """One such file. Pages of a mapped file count as our memory once touched, so it is mapped anew now and then."""

    def __init__(self, path: Path) -> None:
        """Raises FormatError where the file is damaged or holds anything but a table of plain tensors."""
        self.path = path
        self._mapped = zipfile.is_zipfile(path)  # the older kind, before PyTorch 1.6, cannot be mapped
        self._identity = _identity(path)
        self._values: dict[str, Tensor] = self._open()
        self._read = 0
        self.tensors = {
            name: StoredTensor(shape=tuple(value.shape), dtype=value.dtype) for name, value in self._values.items()
        }

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """A tensor's rows (or elements, with one dimension) from `start` to `stop`; valid until the next call."""
        entry = self.tensors[name]
        if self._mapped and self._read > _REOPEN_AFTER:
            self._values = {}
            self._values, self._read = self._open(), 0
            if _identity(self.path) != self._identity:
                raise FormatError(f"{self.path} changed while it was read\nOpen the folder once more.")
        self._read += (stop - start) * math.prod(entry.shape[1:]) * entry.dtype.itemsize
        return self._values[name][start:stop]

    def close(self) -> None:
        self._values = {}

    def _open(self) -> dict[str, Tensor]:
        try:
            table = torch.load(self.path, map_location="cpu", weights_only=True, mmap=self._mapped)
        except Exception as error:  # a damaged pickle fails in any way there is
            reason = ascii(str(error).split("\n", 1)[0])[1:-1][:200]
            raise FormatError(
                f"{self.path} cannot be opened as a table of tensors: {reason}\n"
                "Only tensors are read from it, code never. Get the file again, or as model.safetensors."
            ) from error
        if not isinstance(table, dict):
            raise FormatError(f"{self.path} must hold a table of tensors, but holds {type(table).__name__}")
        size = self.path.stat().st_size
        for name, value in table.items():
            if not (isinstance(name, str) and isinstance(value, Tensor) and _plain(value)):
                raise FormatError(
                    f"{self.path} must hold a table of plain tensors, but {ascii(name)[:80]} is another thing\n"
                    "Save the model's state_dict alone."
                )
            if value.numel() * value.itemsize > size:
                raise FormatError(f"{self.path} has {size} bytes, too few for {name} of shape {tuple(value.shape)}")
        return table


def _identity(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _plain(value: Tensor) -> bool:
    return value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
