"""GGUF files that are cut off, contradict themselves or lie: refused in a few lines, with no memory asked for."""

import math
import os
import random
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import gguf as package
import numpy
import pytest
import torch
from gguf_by_hand import ARRAY, BOOL, F32, I32, SETTINGS, STRING, U32, U64, Stored, build, gpt2_tensors, key, text

from headway.errors import FormatError
from headway.formats import gguf
from headway.formats.contents import Contents
from headway.formats.convert import import_model
from headway.formats.gguf_file import GGUFFile
from headway.formats.gguf_names import VALUE_KINDS
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_alphabet import to_text
from headway.text.byte_level import ByteLevelTokenizer

MEGABYTE = 1 << 20


def changed(**changes: bytes | None) -> list[bytes]:
    """The settings by hand with some replaced, added or, where None, left out; `__` stands for a dot."""
    table: dict[str, bytes | None] = {**SETTINGS, **{name.replace("__", "."): given for name, given in changes.items()}}
    return [given for given in table.values() if given is not None]


def refused(path: Path, data: bytes, match: str) -> None:
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(FormatError, match=match) as caught:
        gguf.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.name in str(caught.value) and 2 <= len(str(caught.value).splitlines()) <= 6
    assert peak < 16 * MEGABYTE


def lists(tokens: Sequence[str], kinds: Sequence[int] | None, merges: Sequence[str], **more: bytes) -> list[bytes]:
    entries = {
        "tokenizer.ggml.model": key("tokenizer.ggml.model", STRING, "gpt2"),
        "tokenizer.ggml.pre": key("tokenizer.ggml.pre", STRING, "gpt-2"),
        "tokenizer.ggml.tokens": key("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        "tokenizer.ggml.merges": key("tokenizer.ggml.merges", ARRAY, (STRING, merges)),
        **{name.replace("__", "."): given for name, given in more.items()},
    }
    if kinds is not None:
        entries["tokenizer.ggml.token_type"] = key("tokenizer.ggml.token_type", ARRAY, (I32, kinds))
    return [*SETTINGS.values(), *entries.values()]


BYTES = [to_text(bytes((byte,))) for byte in range(256)]


def test_the_file_by_hand_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "hand.gguf").write_bytes(build(list(SETTINGS.values()), gpt2_tensors()))
    config = gguf.read(tmp_path / "hand.gguf").model.config
    assert isinstance(config, GPT2Config)
    sizes = (config.vocabulary, config.context, config.width, config.n_layers, config.n_heads, config.hidden)
    assert sizes == (5, 7, 6, 1, 2, 11) and config.epsilon == 1e-5 and config.tied


def test_older_files_say_less_and_are_read(tmp_path: Path) -> None:
    keys = lists([*BYTES, "th", "<|endoftext|>"], None, ["t h"])
    keys = [given for given in keys if b"tokenizer.ggml.pre" not in given]
    (tmp_path / "old.gguf").write_bytes(build(keys, gpt2_tensors(vocabulary=258), version=2))
    with pytest.warns(UserWarning, match="does not say how it cuts up text .*; GPT-2's way is taken"):
        tokenizer = gguf.read(tmp_path / "old.gguf").tokenizer
    assert tokenizer is not None and tokenizer.encode("this") == [256, 105, 115] and tokenizer.end_of_text == 257


def test_what_is_harmless_is_read_past(tmp_path: Path) -> None:
    keys = [
        *SETTINGS.values(),
        key("gpt2.attention.head_count_kv", U32, 2),
        key("gpt2.attention.causal", BOOL, True),
        key("gpt2.vocab_size", U64, 5),
        key("general.license", STRING, "mit"),
        key("general.tags", ARRAY, (STRING, ["a", "b"])),
        key("general.alignment", U32, 64),
    ]
    tensors = gpt2_tensors()
    place = 0
    for stored in tensors:
        stored.offset, stored.data = place, bytes(-(-int(numpy.prod(stored.shape)) * 4 // 64) * 64)
        place += len(stored.data)
    data = build(keys, tensors)
    header = len(data) - place
    (tmp_path / "more.gguf").write_bytes(data[:header] + bytes(-header % 64) + data[header:])
    assert gguf.read(tmp_path / "more.gguf").model.config.vocabulary == 5


@pytest.mark.parametrize(
    ("output", "tied"), [(numpy.zeros((5, 6)), True), (numpy.eye(5, 6), False)], ids=["same", "another"]
)
def test_an_output_matrix_that_is_the_embedding_again_is_not_another(
    tmp_path: Path, output: numpy.ndarray, tied: bool
) -> None:
    more = Stored("output.weight", (5, 6), data=output.astype(numpy.float32).tobytes())
    (tmp_path / "two.gguf").write_bytes(build(list(SETTINGS.values()), [*gpt2_tensors(), more]))
    assert gguf.read(tmp_path / "two.gguf").model.config.tied == tied


@pytest.mark.parametrize("kind", sorted(VALUE_KINDS))
def test_every_kind_of_values_is_read_as_the_package_reads_it(tmp_path: Path, kind: str) -> None:
    number, block, n_bytes = VALUE_KINDS[kind]
    generator = numpy.random.default_rng(7)
    rows = generator.integers(0, 256, (5, 2 * n_bytes), dtype=numpy.uint8)
    (tmp_path / "a.gguf").write_bytes(build([], [Stored("values", (5, 2 * block), number, data=rows.tobytes())]))
    file = GGUFFile(tmp_path / "a.gguf")
    with numpy.errstate(all="ignore"):
        asked = package.GGMLQuantizationType(number)
        expected = numpy.asarray(package.quants.dequantize(rows, asked), dtype=numpy.float32)
    assert file.tensors["values"].shape == expected.shape
    found = file.rows("values", 1, 4).float().numpy()
    file.close()
    assert numpy.array_equal(found, expected[1:4], equal_nan=True)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (changed(general__architecture=key("general.architecture", STRING, "llama")), "architecture 'llama'"),
        (changed(general__architecture=None), "architecture None"),
        (changed(general__architecture=key("general.architecture", U32, 3)), "architecture 3"),
        (changed(general__type=key("general.type", STRING, "adapter")), "only a whole model in one file"),
        (changed(split__count=key("split.count", U32, 3)), "in 3 parts, and(.|\\n)*llama-gguf-split --merge"),
        (changed(gpt2__block_count=None), "gpt2.block_count=None, where a whole number"),
        (changed(gpt2__block_count=key("gpt2.block_count", U32, 2**31)), "gpt2.block_count=2147483648"),
        (changed(gpt2__block_count=key("gpt2.block_count", U32, 10**6)), "n_layers must be in"),
        (changed(gpt2__block_count=key("gpt2.block_count", U32, 1000)), "missing: blk.1.attn_norm.weight"),
        (changed(gpt2__block_count=key("gpt2.block_count", F32, 1.0)), "gpt2.block_count=1.0"),
        (changed(gpt2__context_length=key("gpt2.context_length", U32, 8)), "position_embd.weight is 7x6, expected 8x6"),
        (changed(gpt2__context_length=key("gpt2.context_length", U32, 0)), "gpt2.context_length=0"),
        (changed(gpt2__embedding_length=key("gpt2.embedding_length", U32, 8)), "other shape: token_embd.weight"),
        (changed(gpt2__embedding_length=key("gpt2.embedding_length", ARRAY, (U32, [6]))), r"embedding_length=\[6\]"),
        (
            changed(**{"gpt2__attention__head_count": key("gpt2.attention.head_count", U32, 4)}),
            "width must be a multiple of n_heads",
        ),
        (
            changed(**{"gpt2__attention__layer_norm_epsilon": key("gpt2.attention.layer_norm_epsilon", F32, math.nan)}),
            "epsilon must be above 0",
        ),
        (
            changed(**{"gpt2__attention__layer_norm_epsilon": key("gpt2.attention.layer_norm_epsilon", STRING, "x")}),
            "layer_norm_epsilon='x'",
        ),
        (
            changed(**{"gpt2__attention__head_count_kv": key("gpt2.attention.head_count_kv", U32, 1)}),
            "head_count_kv=1, where 2 belongs",
        ),
        (changed(**{"gpt2__attention__causal": key("gpt2.attention.causal", BOOL, False)}), "causal=False, where True"),
        (changed(**{"gpt2__logit_scale": key("gpt2.logit_scale", F32, 2.0)}), "logit_scale=2.0, which is not known"),
        (changed(gpt2__vocab_size=key("gpt2.vocab_size", U32, 6)), "vocab_size=6, where 5 belongs"),
        ([*SETTINGS.values(), SETTINGS["gpt2.block_count"]], "the key gpt2.block_count stands in it twice"),
        (changed(general__alignment=key("general.alignment", U32, 0)), "general.alignment is 0"),
        (changed(general__alignment=key("general.alignment", U32, 2**31)), "general.alignment is 2147483648"),
        (changed(general__alignment=key("general.alignment", STRING, "x")), "general.alignment is 'x'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, keys: list[bytes], match: str) -> None:
    refused(tmp_path / "bad.gguf", build(keys, gpt2_tensors()), match)


def endless(name: str, kind: int, count: int) -> bytes:
    """A list that claims so many entries, and has one."""
    return text(name) + struct.pack("<IIQ", ARRAY, kind, count) + bytes(8)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "ends beyond byte 0"),
        (b"GGUF", "cut off"),
        (build([], [], magic=b"GGML"), "does not begin with GGUF"),
        (build([], [], version=1), "its version is 1; read are 2 and 3"),
        (build([], [], version=3 << 24), "big-endian"),
        (build([], [], n_keys=2**60), "claims 1152921504606846976 keys"),
        (build([], [], n_tensors=2**63), "claims 9223372036854775808 tensors"),
        (build([], gpt2_tensors(), n_keys=100), "no sound GGUF file"),
        (build([], [Stored("x", (1,), data=bytes(2**22))], n_tensors=2**16 + 1), "claims 65537 tensors"),
        (build([struct.pack("<Q", 2**62)], gpt2_tensors()), "a text of 4611686018427387904 bytes"),
        (build([struct.pack("<Q", 2**16)], gpt2_tensors()), "cut off"),
        (build([text("x") + struct.pack("<I", 13)], gpt2_tensors()), "kind 13 is in it"),
        (build([text("x") + struct.pack("<IQ", STRING, 2**40)], gpt2_tensors()), "a text of 1099511627776 bytes"),
        (build([endless("x", U32, 2**60)], gpt2_tensors()), "a list of 1152921504606846976 values"),
        (build([endless("x", 0, 10**6)], gpt2_tensors()), "a list of 1000000 values"),
        (build([endless("x", STRING, 1000)], gpt2_tensors()), "a list of 1000 values"),
        (build([endless("x", ARRAY, 2)], gpt2_tensors()), "kind 9 is in it"),
        (build([endless("x", BOOL, 2**22 + 1)], [Stored("x", (2**21,))]), "a list of 4194305 values"),
        (build([text("\0" * 70000) + struct.pack("<IB", 0, 1)], gpt2_tensors()), "a text of 70000 bytes"),
        (build([struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<IB", 0, 1)], gpt2_tensors()), "utf-8"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_headers_that_lie_are_refused(tmp_path: Path, data: bytes, match: str) -> None:
    refused(tmp_path / "bad.gguf", data, match)


def with_first(**changes: object) -> list[Stored]:
    first, *others = gpt2_tensors()
    for name, given in changes.items():
        setattr(first, name, given)
    return [first, *others]


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        (with_first(shape=(2**62, 2**62)), "ends at byte"),
        (with_first(shape=(2**20, 2**16), data=b"", offset=2**20), "ends at byte"),
        (with_first(shape=(5, 0)), "which f32 cannot have"),
        (with_first(shape=()), "has 0 dimensions"),
        (with_first(shape=(1, 1, 1, 1, 5)), "has 5 dimensions"),
        (with_first(shape=(5, 6, 1)), "other shape: token_embd.weight is 5x6x1"),
        (with_first(shape=(30,)), "token_embd.weight is 30, expected 1x6"),
        (with_first(number=99), "values of kind 99"),
        (with_first(number=2), r"the shape \(5, 6\), which q4_0 cannot have"),
        (with_first(number=8, shape=(32,)), r"the shape \(32,\), which q8_0 cannot have"),
        (with_first(offset=7), "begins at byte 7"),
        (with_first(offset=128), "position_embd.weight begins at byte 128, where 248 or later is next"),
        (with_first(offset=2**63), "ends at byte"),
        (with_first(data=struct.pack("<30f", *[math.inf] * 30)), "token_embd.weight holds values that are not finite"),
        (gpt2_tensors()[:-1], "missing: output_norm.bias"),
        ([*gpt2_tensors(), Stored("rope_freqs.weight", (3,))], "unexpected: rope_freqs.weight"),
        ([*gpt2_tensors(), Stored("token_embd.weight", (5, 6))], "token_embd.weight stands in it twice"),
        ([*gpt2_tensors(), Stored("output.weight", (5, 7))], "output.weight is 5x7, expected 5x6"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, tensors: list[Stored], match: str) -> None:
    refused(tmp_path / "bad.gguf", build(list(SETTINGS.values()), tensors), match)


def test_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """A thousand layers out of the bytes of one would ask for a thousand times the file."""
    layers = [
        Stored(f"blk.{layer}.ffn_up.weight", (2**10, 2**10), offset=0, data=None if layer == 0 else b"")
        for layer in range(1000)
    ]
    refused(tmp_path / "bad.gguf", build(list(SETTINGS.values()), layers), "begins at byte 0, where 4194304 or later")


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (lists(BYTES, None, ["t h"]), "258 rows of weights, 256 tokens and 256 kinds"),
        (lists([*BYTES, "th", "x1"], [1] * 257, ["t h"]), "258 rows of weights, 258 tokens and 257 kinds"),
        (lists([*BYTES, "th", "th"], [1] * 258, ["t h"]), "the token 'th' stands in it twice"),
        (lists([*BYTES, "th", "\U0001f600"], [1] * 258, ["t h"]), "not written in the byte alphabet"),
        (
            lists([*BYTES[:-1], "aa", "th", "x1"], [1] * 258, ["t h"]),
            "a token for each of the 256 bytes, but 1 are missing",
        ),
        (lists([*BYTES, "th", "x1"], [1] * 258, ["t e"]), "the merge of b't' and b'e'"),
        (lists([*BYTES, "th", "x1"], [1] * 258, ["th"]), "a merge names ''"),
        (lists([*BYTES, "th", "x1"], [1] * 258, ["t h h"]), "a merge names 'h h'"),
        (
            lists([*BYTES, "th", "x1"], None, ["t h"], tokenizer__ggml__merges=key("tokenizer.ggml.merges", U32, 3)),
            "no list of texts tokenizer.ggml.merges",
        ),
        (
            lists(BYTES, None, [], tokenizer__ggml__tokens=key("tokenizer.ggml.tokens", ARRAY, (U32, [1, 2]))),
            "no list of texts tokenizer.ggml.tokens",
        ),
        (
            lists(
                [*BYTES, "th", "x1"],
                None,
                ["t h"],
                tokenizer__ggml__eos_token_id=key("tokenizer.ggml.eos_token_id", U32, 258),
            ),
            "eos_token_id=258, and 258 tokens",
        ),
    ],
)
def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path, keys: list[bytes], match: str) -> None:
    refused(tmp_path / "bad.gguf", build(keys, gpt2_tensors(vocabulary=258)), match)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("tokenizer__ggml__model", key("tokenizer.ggml.model", STRING, "llama")),
        ("tokenizer__ggml__pre", key("tokenizer.ggml.pre", STRING, "llama-bpe")),
        ("tokenizer__ggml__add_bos_token", key("tokenizer.ggml.add_bos_token", BOOL, True)),
        ("tokenizer__ggml__add_space_prefix", key("tokenizer.ggml.add_space_prefix", BOOL, True)),
    ],
)
def test_a_tokenizer_of_another_kind_is_left_out_and_said(tmp_path: Path, name: str, given: bytes) -> None:
    keys = lists([*BYTES, "th", "x1"], None, ["t h"], **{name: given})
    (tmp_path / "other.gguf").write_bytes(build(keys, gpt2_tensors(vocabulary=258)))
    with pytest.warns(UserWarning, match=f"opened without a tokenizer: .*{name.replace('__', '.')}="):
        assert gguf.read(tmp_path / "other.gguf").tokenizer is None


@pytest.fixture
def whole(tmp_path: Path, make_model: Callable[..., GPT2]) -> bytes:
    """A file as we write it, quantised, with a tokenizer."""
    from test_gguf import blocky, small_tokenizer

    contents = Contents(
        model=make_model(config=blocky(n_layers=1, width=32)),
        tokenizer=small_tokenizer(),
        name="whole",
        card=None,
        generation={},
    )
    gguf.write(contents, tmp_path / "whole.gguf", "q8_0")
    data = (tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "whole.gguf").unlink()
    return data


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, whole: bytes) -> None:
    chance = random.Random(11)
    last = max(tensor.data_offset + tensor.n_bytes for tensor in _package_tensors(tmp_path, whole))
    for length in (*range(40), last - 1, *(chance.randrange(last) for _ in range(60))):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(FormatError, match="cut.gguf is no sound GGUF file"):
            gguf.read(tmp_path / "cut.gguf")


def _package_tensors(tmp_path: Path, data: bytes) -> list[package.ReaderTensor]:
    (tmp_path / "seen.gguf").write_bytes(data)
    tensors = package.GGUFReader(tmp_path / "seen.gguf").tensors
    (tmp_path / "seen.gguf").unlink()
    return tensors


@pytest.mark.filterwarnings("ignore:the model is opened without a tokenizer")
@pytest.mark.filterwarnings("ignore:.*GPT-2's way is taken")
def test_damage_anywhere_is_refused_or_read_as_something_sound(tmp_path: Path, whole: bytes) -> None:
    chance = random.Random(13)
    begin = min(tensor.data_offset for tensor in _package_tensors(tmp_path, whole))
    path, outcomes = tmp_path / "damaged.gguf", {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(begin)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            found = gguf.read(path)
            assert isinstance(found.model, GPT2) and found.model.config.n_parameters() < 10**6
            assert found.tokenizer is None or isinstance(found.tokenizer, ByteLevelTokenizer)
            outcomes["read"] += 1
        except FormatError as error:
            assert len(str(error).splitlines()) <= 6 and str(error).isascii()
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_a_refused_file_leaves_no_folder(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "cut.gguf").write_bytes(whole[:-2000])
    with pytest.raises(FormatError, match="cut off"):
        import_model(tmp_path / "cut.gguf", tmp_path / "again")
    assert os.listdir(tmp_path) == ["cut.gguf"]


def test_half_a_precision_is_kept_where_all_is_in_it(tmp_path: Path) -> None:
    tensors = gpt2_tensors()
    for stored in tensors:
        stored.number, stored.data = 1, numpy.full(stored.shape, 0.25, dtype=numpy.float16).tobytes()
    (tmp_path / "half.gguf").write_bytes(build(list(SETTINGS.values()), tensors))
    parameters = list(gguf.read(tmp_path / "half.gguf").model.parameters())
    assert {value.dtype for value in parameters} == {torch.float16}
    assert all(bool((value == 0.25).all()) for value in parameters)
