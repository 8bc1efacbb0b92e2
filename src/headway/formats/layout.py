"""How the ecosystem writes a family down: its configuration keys and tensor names beside our fields and parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as a weight file holds it."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class TensorName:
    """One tensor: its name and shape in the ecosystem's files, and our parameter that it is, or is part of.

    transposed: the file holds (in, out) where our parameter is (out, in). first: the tensor is a part of our parameter,
    its rows from this one on. Sizes of 1 in front, which our parameter may lack, do not count.
    """

    foreign: str
    ours: str
    shape: tuple[int, ...]
    transposed: bool = False
    first: int | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One family's table, both ways.

    read_config: the table of config.json -> the family's settings; raises FormatError.
    write_config: and back. tensors: every parameter of a model of those settings.
    rename: a tensor name as found -> the name in `tensors`, or None for a tensor that is no weight.
    settle: the settings once it is known what the file holds, where `same(a, b)` compares two of its tensors; and the
    tensors that need not be read.
    """

    family: str
    model_type: str
    read_config: Callable[[Mapping[str, Any]], Any]
    write_config: Callable[[Any], dict[str, Any]]
    tensors: Callable[[Any], list[TensorName]]
    rename: Callable[[str], str | None]
    settle: Callable[[Any, Mapping[str, StoredTensor], Callable[[str, str], bool]], tuple[Any, frozenset[str]]]
