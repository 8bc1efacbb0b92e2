"""A GGUF file put together byte by byte, so that any part of it can lie."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind: int, given: object) -> bytes:
    if kind == STRING:
        return text(str(given))
    if kind == ARRAY:
        inner, items = given  # type: ignore[misc]
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, item) for item in items)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}[kind], given)


def key(name: str, kind: int, given: object) -> bytes:
    return text(name) + struct.pack("<I", kind) + value(kind, given)


@dataclass
class Stored:
    """A tensor's line in the table: its shape, innermost last, its kind's number, and where it lies."""

    name: str
    shape: Sequence[int]
    number: int = 0
    offset: int | None = None  # None: after the one before
    data: bytes | None = None  # None: zeros


def build(
    keys: Sequence[bytes],
    tensors: Sequence[Stored],
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_keys: int | None = None,
    n_tensors: int | None = None,
) -> bytes:
    """The file of these keys and tensors, of float32 unless they say else, as it should be but for what is asked."""
    table, data = b"", b""
    for stored in tensors:
        given = bytes(int(numpy.prod(stored.shape)) * 4) if stored.data is None else stored.data
        offset = len(data) if stored.offset is None else stored.offset
        table += text(stored.name) + struct.pack("<I", len(stored.shape))
        table += b"".join(struct.pack("<Q", size) for size in reversed(stored.shape))
        table += struct.pack("<IQ", stored.number, offset)
        data += given + bytes(-len(given) % 32)
    counts = struct.pack(
        "<QQ",
        len(tensors) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    header = magic + struct.pack("<I", version) + counts + b"".join(keys) + table
    return header + bytes(-len(header) % 32) + data


SETTINGS = {
    "general.architecture": key("general.architecture", STRING, "gpt2"),
    "gpt2.context_length": key("gpt2.context_length", U32, 7),
    "gpt2.embedding_length": key("gpt2.embedding_length", U32, 6),
    "gpt2.block_count": key("gpt2.block_count", U32, 1),
    "gpt2.attention.head_count": key("gpt2.attention.head_count", U32, 2),
    "gpt2.feed_forward_length": key("gpt2.feed_forward_length", U32, 11),
    "gpt2.attention.layer_norm_epsilon": key("gpt2.attention.layer_norm_epsilon", F32, 1e-5),
}


def gpt2_tensors(vocabulary: int = 5, width: int = 6, context: int = 7, hidden: int = 11) -> list[Stored]:
    """The tensors of a GPT-2 of one layer, by the names that llama.cpp gives them."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, width),
        "position_embd.weight": (context, width),
        "blk.0.attn_norm.weight": (width,),
        "blk.0.attn_norm.bias": (width,),
        "blk.0.attn_qkv.weight": (3 * width, width),
        "blk.0.attn_qkv.bias": (3 * width,),
        "blk.0.attn_output.weight": (width, width),
        "blk.0.attn_output.bias": (width,),
        "blk.0.ffn_norm.weight": (width,),
        "blk.0.ffn_norm.bias": (width,),
        "blk.0.ffn_up.weight": (hidden, width),
        "blk.0.ffn_up.bias": (hidden,),
        "blk.0.ffn_down.weight": (width, hidden),
        "blk.0.ffn_down.bias": (width,),
        "output_norm.weight": (width,),
        "output_norm.bias": (width,),
    }
    return [Stored(name, shape) for name, shape in shapes.items()]
