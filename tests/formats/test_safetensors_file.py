"""Safetensors files: the library reads ours, we read the library's, and no damage gets past the header."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from headway.errors import FormatError
from headway.formats.folder import load
from headway.formats.safetensors_file import SafetensorsFile, Writing, write_safetensors


def read_all(path: Path) -> dict[str, torch.Tensor]:
    file = SafetensorsFile(path)
    try:
        return {
            name: file.rows(name, 0, stored.shape[0]).reshape(stored.shape) for name, stored in file.tensors.items()
        }
    finally:
        file.close()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_our_files_and_the_librarys_hold_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    values = {"b": torch.randn(3, 5).to(dtype), "a": torch.randn(7).to(dtype), "half": torch.randn(2, 11).half()}
    writings = {name: Writing(v.dtype, tuple(v.shape), lambda v=v: v) for name, v in values.items()}  # type: ignore[misc]
    write_safetensors(tmp_path / "ours", writings)
    save_file(values, tmp_path / "theirs", {"format": "pt"})
    with safe_open(tmp_path / "ours", "pt") as library:
        assert library.metadata() == {"format": "pt"}
        assert all(torch.equal(library.get_tensor(name), value) for name, value in values.items())
    for name in ("ours", "theirs"):
        found = read_all(tmp_path / name)
        assert found.keys() == values.keys()
        assert all(torch.equal(found[key], value) for key, value in values.items())


def test_rows_are_read_alone(tmp_path: Path) -> None:
    value = torch.arange(35.0).view(7, 5)
    save_file({"a": value, "b": torch.arange(11)}, tmp_path / "file")
    file = SafetensorsFile(tmp_path / "file")
    assert torch.equal(file.rows("a", 2, 5), value[2:5])
    assert torch.equal(file.rows("b", 3, 11), torch.arange(3, 11))
    file.close()


def test_values_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    for value in (torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 0.0]), torch.tensor([-torch.inf])):
        with pytest.raises(FormatError, match="layer.weight"):
            write_safetensors(tmp_path / "file", {"layer.weight": Writing(value.dtype, value.shape, lambda v=value: v)})  # type: ignore[misc]


def outcome(folder: Path) -> str:
    """Any damage may be found or, in the values, go unseen; nothing but a FormatError may come of it."""
    try:
        load(folder)
    except FormatError as error:
        assert len(str(error).splitlines()) <= 6
        return "refused"
    return "loaded"


def test_a_file_cut_off_anywhere_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    chance = random.Random(7)
    cuts = [*range(0, 20), *(chance.randrange(len(whole)) for _ in range(50)), len(whole) - 1]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        assert outcome(folder) == "refused", cut
    path.write_bytes(whole + b"\0")
    assert outcome(folder) == "refused"


def test_flipped_bits_in_the_header_never_get_through_unnoticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    before = {name: value.clone() for name, value in load(folder)[0].state_dict().items()}
    chance = random.Random(11)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chance.randrange(length)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        if outcome(folder) == "loaded":  # a flip in a key that means nothing, such as the metadata's
            after = load(folder)[0].state_dict()
            assert all(torch.equal(after[name], value) for name, value in before.items())


def test_flipped_bits_in_the_values_never_crash(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    chance = random.Random(13)
    for _ in range(50):
        damaged = bytearray(whole)
        damaged[chance.randrange(length, len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        outcome(folder)


def entry(shape: Any = (2, 3), dtype: Any = "F32", offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(shape=(2, 4))},
        {"a": entry(shape=(2**40, 2**40), offsets=(0, 24))},
        {"a": entry(shape=(-2, -3))},
        {"a": entry(shape=(2.0, 3))},
        {"a": entry(shape="23")},
        {"a": entry(shape=None)},
        {"a": entry(dtype="F8_E4M3", shape=(24,))},
        {"a": entry(dtype="PICKLE")},
        {"a": entry(dtype=["F32"])},
        {"a": entry(offsets=(8, 32))},
        {"a": entry(offsets=(24, 0))},
        {"a": entry(offsets=(0, 24, 24))},
        {"a": entry(), "b": entry()},
        {"a": entry(shape=(1, 3), offsets=(0, 12))},
        {"a": "none"},
        {"a": entry(), "__metadata__": {"format": 3}},
        [],
        "a",
        {},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
    with pytest.raises(FormatError, match="damaged header"):
        SafetensorsFile(path)


def test_other_headers_that_lie_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensor = json.dumps(entry())
    for text in (f'{{"a":{tensor},"a":{tensor}}}', "[" * 100_000, "\xff", '{"a":NaN}', '{"a":' + "9" * 10_000 + "}"):
        path.write_bytes(struct.pack("<Q", len(text)) + text.encode("latin-1") + bytes(24))
        with pytest.raises(FormatError, match="damaged header"):
            SafetensorsFile(path)
    for length in (2**64 - 1, 2**63, 1 << 40, 25):
        path.write_bytes(struct.pack("<Q", length) + bytes(24))
        with pytest.raises(FormatError, match="claims a header"):
            SafetensorsFile(path)
    with open(path, "wb") as file:  # a sparse file: a header past the limit, though the file is as long as it says
        file.write(struct.pack("<Q", 17 << 20))
        file.truncate(32 << 20)
    with pytest.raises(FormatError, match="claims a header"):
        SafetensorsFile(path)
