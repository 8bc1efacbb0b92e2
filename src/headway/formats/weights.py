"""The weights of a folder, in whichever files they lie, read piece by piece into a model.

At no time is there more than one copy of the weights and a few pieces of 4 MB.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headway.errors import FormatError
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.formats.reading import inside, present, read_json
from headway.formats.safetensors_file import SafetensorsFile, Writing, check_finite
from headway.formats.torch_file import TorchFile

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PIECE = 4 << 20
_MOST_SHARDS = 4096
_PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class WeightFile(Protocol):
    """An open file of tensors."""

    @property
    def tensors(self) -> Mapping[str, StoredTensor]: ...

    def rows(self, name: str, start: int, stop: int) -> Tensor: ...

    def close(self) -> None: ...


class Weights:
    """The tensors of a folder under the names of a layout."""

    def __init__(self, files: Mapping[Path, WeightFile], layout: Layout) -> None:
        """Raises FormatError where two tensors stand for the same parameter."""
        self.size = sum(path.stat().st_size for path in files)
        self.tensors: dict[str, StoredTensor] = {}
        self._places: dict[str, tuple[WeightFile, str]] = {}
        self._file_names: dict[str, str] = {}
        for path, file in files.items():
            for found, stored in file.tensors.items():
                name = layout.rename(found)
                if name is None:
                    continue
                if name in self._places:
                    raise FormatError(f"{name} is there twice, in {path.name} too\nGet the folder again.")
                self.tensors[name] = stored
                self._places[name] = (file, found)
                self._file_names[name] = path.name

    def pieces(self, name: str) -> Iterator[tuple[int, int, Tensor]]:
        """A tensor's rows a piece at a time, checked for finite values; raises FormatError where there are others."""
        file, found = self._places[name]
        stored = self.tensors[name]
        row = math.prod(stored.shape[1:]) * stored.dtype.itemsize
        step = max(1, _PIECE // max(1, row))
        for start in range(0, stored.shape[0], step):
            stop = min(start + step, stored.shape[0])
            part = file.rows(found, start, stop)
            check_finite(name, part, self._file_names[name])
            yield start, stop, part

    def same(self, first: str, second: str) -> bool:
        """Whether two tensors of one shape hold the same values."""
        others = self.pieces(second)
        return all(torch.equal(part, next(others)[2]) for _, _, part in self.pieces(first))


@contextmanager
def open_weights(folder: Path, layout: Layout) -> Iterator[Weights]:
    """The weights of a folder: one safetensors file, several with an index, or the older pytorch_model.bin, likewise.

    Raises FormatError where there are none, or a file is damaged or missing.
    """
    files: dict[Path, WeightFile] = {}
    try:
        if present(folder, SINGLE):
            files[folder / SINGLE] = SafetensorsFile(inside(folder, SINGLE))
        elif present(folder, INDEX):
            _open_shards(folder, INDEX, SafetensorsFile, files)
        elif present(folder, "pytorch_model.bin"):
            files[folder / "pytorch_model.bin"] = TorchFile(inside(folder, "pytorch_model.bin"))
        elif present(folder, "pytorch_model.bin.index.json"):
            _open_shards(folder, "pytorch_model.bin.index.json", TorchFile, files)
        else:
            raise FormatError(
                f"{folder} holds no weights: {SINGLE}, pytorch_model.bin, or either in parts with its index\n"
                "Get the folder again, complete."
            )
        yield Weights(files, layout)
    finally:
        for file in files.values():
            file.close()


def stored_precision(weights: Weights, names: list[TensorName]) -> torch.dtype:
    """The one precision that holds every parameter as stored. Raises FormatError for values of another kind."""
    precision: torch.dtype | None = None
    for name in names:
        dtype = weights.tensors[name.foreign].dtype
        if dtype not in _PRECISIONS:
            raise FormatError(
                f"{name.foreign} is stored as {dtype}, which is no precision for weights here\n"
                "Supported are float64, float32, float16 and bfloat16; quantised weights are not."
            )
        precision = dtype if precision is None else torch.promote_types(precision, dtype)
    assert precision is not None
    return precision


def check_names(weights: Weights, names: list[TensorName], skipped: frozenset[str]) -> None:
    """Raises FormatError, naming tensors, where some are missing, left over, or of another shape than expected."""
    wanted = {name.foreign: name.shape for name in names}
    missing = [name for name in wanted if name not in weights.tensors]
    unexpected = [name for name in weights.tensors if name not in wanted and name not in skipped]
    reshaped = [
        f"{name} is {_shape(weights.tensors[name].shape)}, expected {_shape(shape)}"
        for name, shape in wanted.items()
        if name in weights.tensors and weights.tensors[name].shape != shape
    ]
    lines = [
        f"{label}: {_some(found)}"
        for label, found in (("missing", missing), ("unexpected", unexpected), ("other shape", reshaped))
        if found
    ]
    if lines:
        raise FormatError(
            "\n".join(["the weights do not fit config.json", *lines, "Get both files from the same model."])
        )


def fill(model: nn.Module, weights: Weights, names: list[TensorName]) -> None:
    """Read every parameter into its place in the model."""
    parameters = dict(model.named_parameters())
    unfilled = {name: parameter.numel() for name, parameter in parameters.items()}
    with torch.no_grad():
        for name in names:
            target = _place(parameters[name.ours], name)
            unfilled[name.ours] -= target.numel()
            for start, stop, part in weights.pieces(name.foreign):
                target[start:stop].copy_(part)
    missed = [name for name, count in unfilled.items() if count]
    assert not missed, f"the tensors that are known do not make up {', '.join(missed)}"


class WithoutDrawing(TorchFunctionMode):
    """Skips the drawing of fresh weights while a model is built on the meta device.

    There is nothing to draw there, and the attempt would import a library of symbolic algebra: 70 MB and seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def materialise(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Give a model that was built on the meta device memory for its parameters; shared ones stay shared."""
    assert not list(model.buffers()), "fixed tables would have to be computed anew"
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) not in made:
                empty = torch.empty(parameter.shape, dtype=dtype, device=device)
                made[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            setattr(module, name, made[id(parameter)])


def writings(model: nn.Module, names: list[TensorName]) -> dict[str, Writing]:
    """The model's parameters as they are to be written, each made only when its turn comes."""
    parameters = dict(model.named_parameters())
    result = {}
    for name in names:
        value = _place(parameters[name.ours].detach(), name)
        result[name.foreign] = Writing(value.dtype, tuple(value.shape), partial(_itself, value))
    return result


def _place(parameter: Tensor, name: TensorName) -> Tensor:
    """The part of our parameter that a tensor of the file is, in the file's shape; a view."""
    place = parameter.t() if name.transposed else parameter
    if name.first is not None:
        place = place[name.first : name.first + name.shape[0]]
    return place if place.dim() == len(name.shape) else place.view(name.shape)


def _itself(value: Tensor) -> Tensor:
    return value


def _open_shards(folder: Path, index: str, kind: Callable[[Path], WeightFile], files: dict[Path, WeightFile]) -> None:
    places = read_json(folder, index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise FormatError(f"{folder / index} has no weight_map of names to files\nGet the folder again.")
    shards = sorted(set(places.values()))
    if not 1 <= len(shards) <= _MOST_SHARDS:
        raise FormatError(f"{folder / index} names {len(shards)} files, where 1 to {_MOST_SHARDS} are possible")
    for shard in shards:
        files[folder / shard] = kind(inside(folder, shard))
    for name, shard in places.items():
        if name not in files[folder / shard].tensors:
            raise FormatError(
                f"{folder / shard} lacks {ascii(name)}, which {index} places there\nGet the folder again."
            )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _some(found: list[str]) -> str:
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(ascii(name)[1:-1][:120] for name in found[:3]) + more
