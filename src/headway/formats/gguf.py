"""GPT-2 as one GGUF file, which llama.cpp runs: written by the gguf package, read back for what it says.

Norms, biases and positions stay float32; the other matrices are written in the type that is asked for. Block-wise
types keep 32 values a block with one scale: q8_0 with 8 bits a value, q4_0 with 4.
"""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.errors import ConfigError, FormatError, StorageError, UsageError
from headway.formats import gguf_tokenizer
from headway.formats.contents import Contents, read_model
from headway.formats.gguf_file import MAGIC, GGUFFile, gguf_package
from headway.formats.gguf_names import (
    ARCHITECTURE,
    EPSILON,
    LAYOUT,
    TOKENS,
    VALUE_KINDS,
    VOCABULARY,
    WRITTEN,
    read_config,
    stored_kind,
    tensors,
    write_config,
)
from headway.formats.safetensors_file import check_finite
from headway.formats.weights import writings
from headway.models.gpt2 import GPT2Config
from headway.storage import replace_file, require_space, sweep

SUFFIX = ".gguf"

_HOLDER, _WRITING = "A GGUF file written here", "writing a GGUF file"
_QUANTIZATION = 2  # the version of the blocks' layout, GGML_QNT_VERSION of ggml.h


def recognise(path: Path) -> bool:
    """Whether the path is such a file, by its name or its first bytes."""
    if not path.is_file():
        return False
    if path.suffix == SUFFIX:
        return True
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: Path) -> Contents:
    """The model and tokenizer of such a file; quantised weights become float32.

    Raises FormatError where it is damaged, of another architecture, or describes another graph; DependencyError where
    it holds quantised weights and the gguf package is not installed.
    """
    file = GGUFFile(path)
    try:
        embedding = file.tensors.get(TOKENS)
        vocabulary = embedding.shape[0] if embedding is not None and len(embedding.shape) == 2 else 1
        config = read_config(path.name, file.metadata, vocabulary)
        model = read_model({path: file}, LAYOUT, config, f"its own metadata ({path.name})")
        tokenizer = gguf_tokenizer.read_tokenizer(path.name, file.metadata, vocabulary)
    finally:
        file.close()
    return Contents(model=model, tokenizer=tokenizer, name=path.stem, card=None, generation={})


def write(contents: Contents, path: Path, tensor_type: str = "f32") -> None:
    """Write such a file, a tensor at a time.

    tensor_type: that of the matrices, one of WRITTEN; rows that its blocks do not divide are written as f16, with a
    warning. Raises FormatError where llama.cpp cannot compute the model or say its tokenizer, or a weight is not finite
    or too large; DependencyError where the gguf package is not installed.
    """
    model = contents.gpt2(_HOLDER)
    write_config(model.config)  # refuses, before anything is named, what has no name there
    package = gguf_package(_WRITING)
    names, kinds = tensors(model.config), _kinds(model.config, tensor_type)
    _warn_of_others(kinds, tensor_type)
    sizes = {name.foreign: _size(name.shape, kinds[name.foreign]) for name in names}
    require_space(path, sum(sizes.values()))
    writer = package.GGUFWriter(path, ARCHITECTURE)
    try:
        _describe(writer, contents, model.config, tensor_type)
        for name in names:
            kind = _number(package, kinds[name.foreign])
            writer.add_tensor_info(name.foreign, name.shape, numpy.dtype("float32"), sizes[name.foreign], kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for found, writing in writings(model, names).items():
            writer.write_tensor_data(_encoded(package, found, writing.values(), kinds[found]))
    finally:
        writer.close()


def prepare(contents: Contents, tensor_type: str) -> None:
    """Give the model, in place and as float32, the weights that it has after `write` and `read`.

    Raises what `write` raises, but for the disk's faults.
    """
    model = contents.gpt2(_HOLDER)
    write_config(model.config)
    kinds = _kinds(model.config, tensor_type)
    if contents.tokenizer is not None:
        gguf_tokenizer.list_tokens(contents.tokenizer, model.config.vocabulary)
    package = gguf_package(_WRITING)
    model.float()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in tensors(model.config):
            value = parameters[name.ours]
            encoded = _encoded(package, name.foreign, value.detach(), kinds[name.foreign])
            value.copy_(_decoded(package, encoded, kinds[name.foreign]).view(value.shape))


def check_target(path: Path, overwrite: bool) -> None:
    """Raises UsageError for a name that is no file's, StorageError where such a file may not be written to `path`."""
    if path.suffix != SUFFIX:
        raise UsageError(
            f"--to gguf writes one file, and {path} is not named as one\nGive a name that ends in {SUFFIX}."
        )
    sweep(path)
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise StorageError(f"{path} is no file, and a file is to be written there\nChoose another name.")
    if not overwrite:
        raise StorageError(
            f"{path} exists, and is not overwritten unasked\n"
            "Choose another name, or say so: --overwrite, in Python overwrite=True."
        )
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise StorageError(f"{path} is no GGUF file, so it is not overwritten\nChoose another name.")


def put(path: Path, overwrite: bool, fill: Callable[[Path], None]) -> None:
    """Make the file, whole or not at all. Raises StorageError where it cannot be, or was made by another meanwhile."""

    def fill_and_look_again(partial: Path) -> None:
        fill(partial)
        check_target(path, overwrite)

    replace_file(path, fill_and_look_again)


def _kinds(config: GPT2Config, tensor_type: str) -> dict[str, str]:
    """The kind that each tensor is written in. Raises ConfigError for an unknown type."""
    if tensor_type not in WRITTEN:
        raise ConfigError(f"the type of a GGUF file must be one of {', '.join(WRITTEN)}, but got {tensor_type!r}")
    return {name.foreign: stored_kind(name.foreign, name.shape, tensor_type) for name in tensors(config)}


def _warn_of_others(kinds: Mapping[str, str], tensor_type: str) -> None:
    others = [name for name, kind in kinds.items() if kind not in ("f32", tensor_type)]
    if others:
        warnings.warn(
            f"{tensor_type} takes rows of a multiple of {VALUE_KINDS[tensor_type].block} values: {len(others)} of"
            f" {len(kinds)} tensors are written as f16, {others[0]} first",
            stacklevel=3,
        )


def _describe(writer: Any, contents: Contents, config: GPT2Config, tensor_type: str) -> None:
    """Everything in the file but its tensors."""
    writer.add_type("model")
    writer.add_name(contents.name)
    for key, value in write_config(config).items():
        writer.add_uint32(key, value)
    writer.add_float32(EPSILON, config.epsilon)
    writer.add_file_type(WRITTEN[tensor_type])
    writer.add_quantization_version(_QUANTIZATION)
    if contents.tokenizer is None:
        writer.add_tokenizer_model(gguf_tokenizer.NO_TOKENIZER)
        writer.add_uint32(VOCABULARY, config.vocabulary)
        return
    lists = gguf_tokenizer.list_tokens(contents.tokenizer, config.vocabulary)
    writer.add_tokenizer_model(gguf_tokenizer.BYTE_LEVEL)
    writer.add_tokenizer_pre(gguf_tokenizer.GPT2_SPLIT)
    writer.add_token_list(lists.tokens)
    writer.add_token_types(lists.kinds)
    writer.add_token_merges(lists.merges)
    writer.add_bos_token_id(lists.end)
    writer.add_eos_token_id(lists.end)
    writer.add_add_bos_token(False)


def _encoded(package: Any, name: str, value: Tensor, kind: str) -> NDArray[Any]:
    """The values as the file holds them: numbers (out, in), or the bytes of a row's blocks (out, bytes)."""
    values = value.to("cpu", torch.float32).contiguous().numpy()
    check_finite(name, value, "the model")
    with numpy.errstate(all="ignore"):  # of scales too small for float16, whose values become zeros
        encoded: NDArray[Any] = package.quants.quantize(values, _number(package, kind))
    if not bool(_decoded(package, encoded, kind).isfinite().all()):
        raise FormatError(
            f"{name} holds values that are too large for {kind}: up to {float(value.abs().max()):.3g}\n"
            "Write the file with --type f32."
        )
    return encoded


def _decoded(package: Any, encoded: NDArray[Any], kind: str) -> Tensor:
    with numpy.errstate(all="ignore"):
        return torch.from_numpy(package.quants.dequantize(encoded, _number(package, kind)))


def _number(package: Any, kind: str) -> Any:
    return package.GGMLQuantizationType(VALUE_KINDS[kind].number)


def _size(shape: tuple[int, ...], kind: str) -> int:
    """The bytes of a tensor."""
    return math.prod(shape) // VALUE_KINDS[kind].block * VALUE_KINDS[kind].n_bytes
