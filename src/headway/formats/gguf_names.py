"""GPT-2 as llama.cpp's GGUF names it (architecture "gpt2"): keys, tensors and kinds of values beside our own.

Linear layers lie as (out, in), as ours do. The graph is fixed: scores over the root of a head's width, GELU in its tanh
form; there is no key that would say otherwise.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy

from headway.errors import FormatError
from headway.formats import gpt2
from headway.formats.contents import counts, described
from headway.formats.layout import StoredTensor, TensorName
from headway.models.gpt2 import GPT2Config

ARCHITECTURE = "gpt2"
KEYS = {
    "gpt2.context_length": "context",
    "gpt2.embedding_length": "width",
    "gpt2.block_count": "n_layers",
    "gpt2.attention.head_count": "n_heads",
    "gpt2.feed_forward_length": "feed_forward",
}
EPSILON = "gpt2.attention.layer_norm_epsilon"
VOCABULARY = "gpt2.vocab_size"
TOKENS, POSITIONS, OUTPUT = "token_embd.weight", "position_embd.weight", "output.weight"

_SPLIT = "split.count"
_PLACES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


class ValueKind(NamedTuple):
    """A kind of stored values: its number in the file, and how many values lie in a block of how many bytes."""

    number: int
    block: int
    n_bytes: int


VALUE_KINDS = {
    "f32": ValueKind(0, 1, 4),
    "f16": ValueKind(1, 1, 2),
    "bf16": ValueKind(30, 1, 2),
    "q4_0": ValueKind(2, 32, 18),
    "q4_1": ValueKind(3, 32, 20),
    "q5_0": ValueKind(6, 32, 22),
    "q5_1": ValueKind(7, 32, 24),
    "q8_0": ValueKind(8, 32, 34),
    "q2_k": ValueKind(10, 256, 84),
    "q3_k": ValueKind(11, 256, 110),
    "q4_k": ValueKind(12, 256, 144),
    "q5_k": ValueKind(13, 256, 176),
    "q6_k": ValueKind(14, 256, 210),
    "iq4_nl": ValueKind(20, 32, 18),
}
"""What is read; quantised kinds become float32."""

WRITTEN = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}
"""What is written, and the number that `general.file_type` has for a file mostly of that kind."""


def read_config(file: str, metadata: Mapping[str, Any], vocabulary: int) -> GPT2Config:
    """The settings in a file's metadata. Raises FormatError for another architecture, or a graph that is not ours."""
    found = metadata.get("general.architecture")
    if found != ARCHITECTURE:
        raise FormatError(
            f"{file} is of the architecture {ascii(found)[:60]}, and only {ARCHITECTURE!r} can be read\n"
            "Give a GGUF file of a GPT-2."
        )
    kind, parts = metadata.get("general.type", "model"), metadata.get(_SPLIT, 1)
    if kind != "model" or parts not in (0, 1):
        raise FormatError(
            f"{file} is {ascii(kind)[:60]} in {ascii(parts)[:60]} parts, and only a whole model in one file can be"
            " read\nMerge the parts with llama-gguf-split --merge, or give another file."
        )
    fields = counts(file, metadata, KEYS)
    epsilon = metadata.get(EPSILON)
    if type(epsilon) is not float:
        raise FormatError(f"{file} has {EPSILON}={ascii(epsilon)[:60]}, where a number belongs\nGet the file again.")
    # The shortest number that is the stored float32: 1e-5 goes in and comes out, not 9.99999974738e-06.
    fields |= {"vocabulary": vocabulary, "epsilon": float(str(numpy.float32(epsilon)))}
    config = described(file, fields)
    _check_graph(file, metadata, config)
    return config


def write_config(config: GPT2Config) -> dict[str, int]:
    """The whole numbers of the settings by their keys. Raises FormatError where llama.cpp's graph is another."""
    fixed = {"head": "write", "activation": "gelu_tanh", "scale_by_head_width": True, "scale_by_layer": False}
    for name, value in fixed.items():
        if getattr(config, name) != value:
            raise FormatError(
                f"llama.cpp's GPT-2 knows only {name}={value!r}, and this model has {name}={getattr(config, name)!r}\n"
                "Export it --to huggingface, which can say so."
            )
    return {key: config.hidden if ours == "feed_forward" else getattr(config, ours) for key, ours in KEYS.items()}


def tensors(config: GPT2Config) -> list[TensorName]:
    """Every parameter by its name in the file, in the order of the graph."""
    return [
        dataclasses.replace(
            name,
            foreign=_named(name.foreign),
            shape=name.shape[::-1] if name.transposed else name.shape,
            transposed=False,
        )
        for name in gpt2.tensors(config)
    ]


def stored_kind(name: str, shape: tuple[int, ...], asked: str) -> str:
    """The kind that a tensor is written in: norms, biases and positions stay f32; rows that no block divides, f16."""
    if len(shape) == 1 or name == POSITIONS:
        return "f32"
    return asked if shape[-1] % VALUE_KINDS[asked].block == 0 else "f16"


def _check_graph(file: str, metadata: Mapping[str, Any], config: GPT2Config) -> None:
    """Raises FormatError for a key of the architecture that is not known here, or says what the graph is not."""
    head_width = config.width // config.n_heads
    allowed = {
        **{key: metadata[key] for key in (*KEYS, EPSILON)},
        VOCABULARY: config.vocabulary,
        "gpt2.attention.head_count_kv": config.n_heads,
        "gpt2.attention.key_length": head_width,
        "gpt2.attention.value_length": head_width,
        "gpt2.attention.causal": True,
    }
    for key, value in metadata.items():
        if key.startswith(f"{ARCHITECTURE}.") and (key not in allowed or value != allowed[key]):
            wanted = f", where {allowed[key]!r} belongs" if key in allowed else ", which is not known here"
            raise FormatError(
                f"{file} has {ascii(key)[1:-1][:80]}={ascii(value)[:60]}{wanted}\n"
                "It may change what the model computes, so the file is not read."
            )


def _named(name: str) -> str:
    """`transformer.h.0.attn.c_attn.weight` as `blk.0.attn_qkv.weight`, and so on."""
    if name == "lm_head.weight":
        return OUTPUT
    layer, place, kind = re.fullmatch(r"transformer\.(?:h\.(\d+)\.)?(.+)\.(weight|bias)", name).groups()  # type: ignore[union-attr]
    return f"{'' if layer is None else f'blk.{layer}.'}{_PLACES[place]}.{kind}"


def _settle(
    config: GPT2Config, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[GPT2Config, frozenset[str]]:
    """An output matrix in the file is the model's own, unless it is the embedding once more."""
    if OUTPUT not in stored:
        return config, frozenset()
    if stored[OUTPUT] == stored.get(TOKENS) and same(OUTPUT, TOKENS):
        return config, frozenset({OUTPUT})
    return dataclasses.replace(config, tied=False), frozenset()


LAYOUT = dataclasses.replace(
    gpt2.LAYOUT,
    model_type="gguf",
    tensors=tensors,
    rename=str,
    settle=_settle,
)
