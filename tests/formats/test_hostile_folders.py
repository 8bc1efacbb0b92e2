"""Folders made to harm: nothing in them runs, and nothing outside them is opened."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from headway.errors import FormatError
from headway.formats.folder import load
from headway.formats.reading import inside, read_json


class Payload:
    """Pickled, it asks whoever unpickles it to run a command or a function."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(canary: Path) -> dict[str, object]:
    touch = f"open({str(canary)!r}, 'w').close()"
    return {
        "system": Payload(os.system, f"touch {canary}"),
        "exec": Payload(exec, touch),
        "eval": {"transformer.wte.weight": Payload(eval, touch)},
        "open": [Payload(open, str(canary), "w")],
        "popen": Payload(subprocess.Popen, ["touch", str(canary)]),
        "torch": Payload(torch.load, str(canary)),
        "class": {"transformer.wte.weight": Payload},
    }


def with_pytorch_file(folder: Path) -> Path:
    """The weights as pytorch_model.bin, whose path is returned."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("name", payloads(Path()))
@pytest.mark.parametrize("file_kind", ["zip", "legacy", "bare pickle"])
def test_code_in_a_pytorch_file_does_not_run(folder: Path, tmp_path: Path, name: str, file_kind: str) -> None:
    canary = tmp_path / "canary"
    payload = payloads(canary)[name]
    path = with_pytorch_file(folder)
    if file_kind == "bare pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=file_kind == "zip")
    with pytest.raises(FormatError, match="Only tensors are read|plain tensors") as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) <= 6
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_file_is_refused(folder: Path) -> None:
    path = with_pytorch_file(folder)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), path)
    with pytest.raises(FormatError, match="Only tensors are read"):
        load(folder)


@pytest.mark.parametrize(
    "table",
    [
        [torch.zeros(3)],
        {"model": {"transformer.wte.weight": torch.zeros(31, 10)}},
        {3: torch.zeros(3)},
        {"transformer.wte.weight": 3},
        {"transformer.wte.weight": torch.zeros(31, 10).to_sparse()},
        {"transformer.wte.weight": torch.zeros(31, 10, device="meta")},
        {"transformer.wte.weight": torch.zeros(1).expand(2**40)},
        {"transformer.wte.weight": torch.zeros(31, 10, dtype=torch.complex64)},
        {},
    ],
)
def test_a_pytorch_file_of_anything_but_plain_tensors_is_refused(folder: Path, table: object) -> None:
    torch.save(table, with_pytorch_file(folder))
    with pytest.raises(FormatError):
        load(folder)


@pytest.mark.parametrize("new_kind", [True, False])
def test_a_damaged_pytorch_file_is_refused_or_read_and_never_crashes(folder: Path, new_kind: bool) -> None:
    path = with_pytorch_file(folder)
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=new_kind)
    whole = path.read_bytes()
    chance = random.Random(19)
    for _ in range(25):
        path.write_bytes(whole[: chance.randrange(len(whole))])
        with pytest.raises(FormatError):
            load(folder)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            load(folder)
        except FormatError as error:
            assert len(str(error).splitlines()) <= 6


def write_index(folder: Path, place: object) -> None:
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    index = {"weight_map": dict.fromkeys(names, place)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place",
    [
        "../outside.safetensors",
        "inner/shard",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\0b",
        "C:\\x",
        "link",
        "loop",
        "inner",
        3,
    ],
)
def test_an_index_cannot_lead_out_of_the_folder(folder: Path, tmp_path: Path, place: object) -> None:
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    write_index(folder, place)
    (folder / "inner").mkdir()
    shutil.copy(tmp_path / "outside.safetensors", folder / "inner/shard")
    (folder / "link").symlink_to(tmp_path / "outside.safetensors")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(FormatError):
        load(folder)


def test_an_index_within_the_folder_is_followed(folder: Path) -> None:
    write_index(folder, "link")
    (folder / "link").symlink_to("shard.safetensors")
    load(folder)


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": []},
        {"weight_map": {}},
        {"weight_map": {"transformer.wte.weight": "missing.safetensors"}},
        {"weight_map": {"no such tensor": "shard.safetensors"}},
        {"weight_map": {f"tensor {number}": f"file {number}" for number in range(5000)}},
    ],
)
def test_a_damaged_index_is_refused(folder: Path, index: object) -> None:
    write_index(folder, "shard.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "merges.txt", "vocab.bpe"])
def test_a_link_out_of_the_folder_is_not_opened(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    if (folder / name).exists():
        (folder / name).rename(outside)
    else:
        outside.write_text("{}")
    (folder / name).symlink_to(outside)
    with pytest.raises(FormatError, match="outside the folder"):
        load(folder)


def test_the_links_of_a_download_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b/snapshots/0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b/blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, tmp_path / f"models--a--b/blobs/{number}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    load(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../model/config.json")
    with pytest.raises(FormatError, match="outside the folder"):
        load(snapshot)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_what_is_no_plain_file_is_not_opened(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(FormatError, match="not a plain file"):
        inside(folder, name)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(FormatError, match="not a plain file"):
        read_json(folder, name)


def test_loading_hostile_folders_runs_nothing_and_opens_nothing_else(folder: Path, tmp_path: Path) -> None:
    """Python's own audit hook watches every attempt to import, compile, run, connect, or open a file elsewhere."""
    hostile, canary = [], tmp_path / "canary"

    def another() -> Path:
        path = tmp_path / f"hostile{len(hostile)}"
        shutil.copytree(folder, path)
        hostile.append(path)
        return path

    for new_kind in (True, False):
        for payload in payloads(canary).values():
            torch.save(payload, with_pytorch_file(another()), _use_new_zipfile_serialization=new_kind)
    write_index(another(), "../model/model.safetensors")
    configured = another()
    (configured / "modeling.py").write_text(f"open({str(canary)!r}, 'w')")
    table = json.loads((configured / "config.json").read_text())
    (configured / "config.json").write_text(json.dumps({**table, "auto_map": {"AutoModel": "modeling.Model"}}))
    linked = another()
    (linked / "tokenizer.json").symlink_to("/etc/passwd")
    (another() / "model.safetensors").write_bytes(pickle.dumps(Payload(os.system, f"touch {canary}")))
    good = another()
    script = Path(__file__).parent / "audited_loads.py"
    result = subprocess.run([sys.executable, script, good, *hostile], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    outcomes = result.stdout.split()
    assert outcomes == ["refused"] * (len(hostile) - 1) + ["loaded"]
    assert not canary.exists()
