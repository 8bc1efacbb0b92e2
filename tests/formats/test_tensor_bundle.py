"""TensorFlow's checkpoints, written here byte by byte: what is right is read, and no damage or lie gets through."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import bundle_by_hand as by_hand
import numpy
import pytest
import torch
from bundle_by_hand import Checkpoint, Entry, Pairs

from headway.errors import FormatError
from headway.formats.protocol_buffers import Message, message, read_varint, varint
from headway.formats.safetensors_file import Writing
from headway.formats.sorted_table import read_table, write_table
from headway.formats.tensor_bundle import TensorBundle, write_bundle


def arrays() -> dict[str, numpy.ndarray]:
    """Names that share beginnings, more than one block's worth and one restart's worth of them, in no order."""
    chance = numpy.random.default_rng(1)
    sizes = [(2, 3), (7,), (1, 5, 11), (13,), (), (3, 2)]
    found = {f"model/h{count}/ln_{count % 3}/g": chance.normal(size=sizes[count % 6]) for count in range(23)}
    found |= {"other": chance.normal(size=5), "z" * 300: chance.normal(size=(2, 2))}
    arrays = {name: array.astype("float32") for name, array in found.items()}
    arrays["half"] = chance.normal(size=(3, 5)).astype("float16")
    arrays["steps"] = numpy.array([2**40, -1], dtype="int64")
    return arrays


def read(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, numpy.ndarray]:
    bundle = TensorBundle(folder, "model.ckpt", wanted)
    try:
        found = {}
        for name, stored in bundle.tensors.items():
            shape = stored.shape or (1,)
            bundle.reshape(name, shape)
            found[name] = bundle.rows(name, 0, shape[0]).reshape(stored.shape).numpy()
        return found
    finally:
        bundle.close()


def same(found: dict[str, numpy.ndarray], expected: dict[str, numpy.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        numpy.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in expected.items()
    )


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("per_block", [1, 3, 20, 1000])
def test_a_checkpoint_made_byte_by_byte_is_read(tmp_path: Path, shards: int, per_block: int) -> None:
    assert same(read(Checkpoint(arrays(), shards, per_block).write(tmp_path / "c")), arrays())


def test_rows_are_read_alone(tmp_path: Path) -> None:
    array = numpy.arange(35, dtype="float32").reshape(7, 5)
    bundle = TensorBundle(Checkpoint({"a": array}).write(tmp_path / "c"), "model.ckpt", lambda _: True)
    assert numpy.array_equal(bundle.rows("a", 2, 5).numpy(), array[2:5])
    bundle.close()


def test_what_is_not_wanted_may_be_of_any_kind(tmp_path: Path) -> None:
    checkpoint = Checkpoint(arrays(), shards=2)
    checkpoint.entries["other"].kind = 7  # texts, of no fixed size
    checkpoint.data[0] += b"a gap that no tensor fills"
    found = read(checkpoint.write(tmp_path / "c"), lambda name: name != "other")
    assert same(found, {name: array for name, array in arrays().items() if name != "other"})
    with pytest.raises(FormatError, match=r"model\.ckpt\.index.*'other'.*kind 7"):
        read(tmp_path / "c")


def refused(folder: Path, match: str) -> None:
    with pytest.raises(FormatError, match=match) as caught:
        read(folder)
    assert str(folder) in str(caught.value) and len(str(caught.value).splitlines()) <= 6


def test_an_index_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    folder = Checkpoint(arrays(), per_block=4).write(tmp_path / "c")
    whole = (folder / "model.ckpt.index").read_bytes()
    for length in (*range(0, len(whole), 11), *range(len(whole) - 60, len(whole))):
        (folder / "model.ckpt.index").write_bytes(whole[:length])
        refused(folder, "model.ckpt.index")
    (folder / "model.ckpt.index").write_bytes(whole + b"\0")
    refused(folder, "model.ckpt.index")


def test_every_flipped_bit_of_an_index_is_found(tmp_path: Path) -> None:
    folder = Checkpoint({"a": numpy.zeros(3, "float32"), "ab": numpy.ones(2, "float32")}, per_block=2).write(
        tmp_path / "c"
    )
    whole = (folder / "model.ckpt.index").read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="it|a block|byte"):
            read_table(bytes(damaged))
        if bit % 37 == 0:
            (folder / "model.ckpt.index").write_bytes(damaged)
            refused(folder, "model.ckpt.index")


def test_every_flipped_bit_of_the_values_is_found(tmp_path: Path) -> None:
    folder = Checkpoint({"a": numpy.arange(3, dtype="float32"), "b": numpy.ones(2, "float16")}, 2).write(tmp_path / "c")
    for path in folder.glob("*.data-*"):
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            refused(folder, f"{path.name} is damaged: the checksum of [ab] is wrong")
        path.write_bytes(whole)
    read(folder)


def test_data_cut_off_or_missing_is_refused(tmp_path: Path) -> None:
    folder = Checkpoint(arrays(), shards=3).write(tmp_path / "c")
    path = folder / "model.ckpt.data-00001-of-00003"
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(folder, "is said to take")
    path.unlink()
    refused(folder, "data-00001-of-00003 cannot be opened")


def test_data_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    folder = Checkpoint({"a": numpy.ones((4, 5000), "float32")}).write(tmp_path / "c")
    bundle = TensorBundle(folder, "model.ckpt", lambda _: True)
    bundle.rows("a", 0, 2)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(b"1234")
    with pytest.raises(FormatError, match="became shorter"):
        bundle.rows("a", 2, 4)
    bundle.close()


def lie(name: str, value: object) -> Callable[[Entry], None]:
    return lambda entry: setattr(entry, name, value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lie("offset", 2**62), "is said to take 24 bytes from byte 4611686018427387904"),
        (lie("offset", -1), "below 0"),
        (lie("offset", 4), "where another does|is said to take"),
        (lie("size", 2**63 - 1), "is said to take 9223372036854775807"),
        (lie("size", 20), r"of shape \(2, 3\) and torch.float32 is said to take 20 bytes"),
        (lie("size", -24), "below 0"),
        (lie("sizes", (2**40, 2**40)), "is said to take 24 bytes"),
        (lie("sizes", (-2, -3)), "below 0"),
        (lie("sizes", (1,) * 300), "at most 254 dimensions"),
        (lie("shard", 1), "in file 1 of data, of 1"),
        (lie("shard", 2**31), "in file 2147483648 of data"),
        (lie("shard", -1), "below 0"),
        (lie("kind", 2), "torch.float64 is said to take 24 bytes"),
        (lie("kind", 3), None),  # another kind of the same size is for the caller to see
        (lie("kind", 77), "kind 77"),
        (lie("crc", bytes(4)), "checksum of a is wrong"),
        (lie("more", by_hand.nested(7, b"")), "in slices"),
        (lie("more", by_hand.numbered(7, 1)), "of kind 0"),
        (lie("more", by_hand.nested(5, b"\x18")), "of kind 2"),
        (lie("more", by_hand.nested(2, by_hand.numbered(3, 1))), "no one shape"),
        (lie("more", b"\x5b"), "unknown kind 3"),
        (lie("more", b"\x52\x7f"), "past its end"),
        (lie("more", b"\xff" * 11), "longer than 64 bits"),
    ],
)
def test_an_entry_that_lies_is_refused(tmp_path: Path, change: Callable[[Entry], None], match: str | None) -> None:
    checkpoint = Checkpoint({"a": numpy.ones((2, 3), "float32"), "b": numpy.ones(2, "float32")})
    change(checkpoint.entries["a"])
    folder = checkpoint.write(tmp_path / "c")
    if match is None:
        assert read(folder)["a"].dtype == numpy.int32
    else:
        refused(folder, match)


def with_header(value: bytes) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(b"", value), *pairs[1:]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (with_header(by_hand.header(2)), "data-00000-of-00002 cannot be opened"),
        (with_header(by_hand.header(0)), "claims 0 files"),
        (with_header(by_hand.header(2**31)), "claims 2147483648 files"),
        (with_header(by_hand.header(-1)), "claims -1 files"),
        (with_header(by_hand.header(1, endianness=b"\x10\x01")), "big-endian"),
        (with_header(by_hand.header(1, version=b"\x08\x02\x10\x02")), "version 2"),
        (with_header(b"\x08"), "ends within a number"),
        (lambda pairs: pairs[1:], "no header"),
        (lambda pairs: [*pairs, pairs[-1]], "twice, or out of order"),
        (lambda pairs: [pairs[0], pairs[2], pairs[1]], "twice, or out of order"),
        (lambda pairs: [*pairs, (b"\xff\xfe", pairs[1][1])], "utf-8"),
        (lambda pairs: [*pairs, (b"x" * 600, pairs[1][1])], "at most 512"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, change: Callable[[Pairs], Pairs], match: str) -> None:
    checkpoint = Checkpoint({"a": numpy.ones((2, 3), "float32"), "b": numpy.ones(2, "float32")}, per_block=2)
    refused(checkpoint.write(tmp_path / "c", change=change), match)


def handle(offset: int, length: int) -> bytes:
    return by_hand.number(offset) + by_hand.number(length)


def file_of(data: bytes, index: Pairs) -> bytes:
    """A table of one data block, given as such, and an index that says what the test wants."""
    body, places = by_hand.sealed(data), b""
    for block in (by_hand.block([]), by_hand.block(index, 1)):
        places += handle(len(body), len(block))
        body += by_hand.sealed(block)
    return body + places.ljust(40, b"\0") + by_hand.MAGIC


GOOD = by_hand.block([(b"a", b"1"), (b"ab", b"2")])


@pytest.mark.parametrize(
    ("file", "match"),
    [
        (by_hand.table([(b"a", b"1")], compression=1), "Snappy"),
        (by_hand.table([(b"a", b"1")], compression=4), "method 4"),
        (by_hand.table([(b"a", b"1")])[:-8] + bytes(8), "last eight bytes"),
        (file_of(GOOD, [(b"b", handle(0, 2**60))]), "past its end"),
        (file_of(GOOD, [(b"b", handle(2**63, 1))]), "where 0 is next"),
        (file_of(GOOD, [(b"b", handle(0, len(GOOD))), (b"c", handle(0, len(GOOD)))]), "is next"),
        (file_of(GOOD, [(b"a", handle(0, len(GOOD)))]), "ends at 'a'"),
        (file_of(GOOD, [(b"b", b"\0")]), "ends within a number"),
        (file_of(b"", [(b"b", handle(0, 0))]), "too short"),
        (file_of(struct.pack("<I", 2**32 - 1), [(b"b", handle(0, 4))]), "keys begin anew"),
        (file_of(b"\x01\x01\x01ab" + struct.pack("<II", 0, 1), [(b"b", handle(0, 13))]), "does not fit there"),
        (file_of(b"\0\x09\x01ab" + struct.pack("<II", 0, 1), [(b"b", handle(0, 13))]), "does not fit there"),
        (file_of(b"\0\x01\x01ab" + struct.pack("<II", 3, 1), [(b"b", handle(0, 13))]), "none begins"),
        (b"", "too few"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(file: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_table(file)


def test_an_index_too_large_is_not_read(tmp_path: Path) -> None:
    folder = Checkpoint(arrays()).write(tmp_path / "c")
    with open(folder / "model.ckpt.index", "ab") as file:
        file.truncate(1 << 40)
    refused(folder, "at most")


@pytest.mark.parametrize("name", ["model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    folder = Checkpoint(arrays()).write(tmp_path / "c")
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, "outside the folder")


@pytest.mark.parametrize("block_size", [1, 100, 1 << 18])
def test_tables_of_ours_are_read_back(block_size: int) -> None:
    chance = random.Random(3)
    values = {f"key {chance.randrange(999)}".encode(): chance.randbytes(chance.randrange(40)) for _ in range(200)}
    file = write_table(values, block_size)
    assert read_table(file) == values and list(read_table(file)) == sorted(values)


def test_a_table_of_ours_is_the_same_byte_for_byte_as_one_made_by_hand() -> None:
    pairs = sorted((f"model/h{count}/g".encode(), bytes([count])) for count in range(40))
    ours = write_table(dict(pairs))
    start = by_hand.block(pairs)
    expected = file_of(start, [(b"n", handle(0, len(start)))])  # a short key after all others, as TensorFlow has it
    assert ours == expected


def test_bundles_of_ours_are_read_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    values = {"b": torch.randn(3, 5), "a/c": torch.randn(7).double(), "a": torch.randn(2, 11).half()}
    values["d"] = torch.randn(2, 3).bfloat16()
    writings = {name: Writing(v.dtype, tuple(v.shape), lambda v=v: v) for name, v in values.items()}  # type: ignore[misc]
    write_bundle(tmp_path, "model.ckpt", writings)
    bundle = TensorBundle(tmp_path, "model.ckpt", lambda _: True)
    for name, value in values.items():
        assert torch.equal(bundle.rows(name, 0, value.shape[0]), value)
    bundle.close()
    entry = Message(read_table((tmp_path / "model.ckpt.index").read_bytes())[b"b"])
    content = values["b"].numpy().tobytes()
    assert entry.fixed32(6).to_bytes(4, "little") == by_hand.checksum(content)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_numbers_come_back(value: int) -> None:
    assert read_varint(b"x" + varint(value) + b"y", 1) == (value, 1 + len(varint(value)))
    assert Message(message({3: value})).number(3) == (value if value < 2**63 else value - 2**64)
    for damaged in (varint(value)[:-1], varint(value)[:-1] + bytes([varint(value)[-1] | 128, 0])):
        with pytest.raises(ValueError, match="ends within|longer"):
            read_varint(damaged, 0)
