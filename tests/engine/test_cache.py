"""Packed weights kept in a file: the same bits as packed anew, never wrong ones, and no error whatever became of it."""

import hashlib
import json
import logging
import os
import platform
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gpt2 import in_engine, tiny

import headway
from headway import storage
from headway.engine.cache import Cache
from headway.engine.cache_file import PACKING, CacheFile
from headway.engine.compile import compiled
from headway.engine.extension import native
from headway.engine.gpt2 import build
from headway.engine.packing import Asked
from headway.formats.folder import load
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

IDS = torch.tensor([[(5 * at * at + 3) % 257 for at in range(29)]])
PREAMBLE = struct.Struct("<8sQ32s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "writing")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """Where caches go that cannot stand in the model folder."""
    caplog.set_level(logging.INFO, "headway")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "headway"


def saved(path: Path, **settings: Any) -> Path:
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    tokenizer = ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))
    headway.save(tiny(vocabulary=257, **settings), tokenizer, path)
    return path


def write(folder: Path, bits: int | None = 8) -> str:
    return (
        headway.Writer(folder, engine="compiled", bits=bits, device="cpu")
        .write("Once", max_new_tokens=9, temperature=0)
        .text
    )


def file_of(folder: Path, bits: int = 8) -> Path:
    return folder / "cache" / f"engine-{bits}bit.cache"


def logits_of(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(IDS)
    return found


def kept(folder: Path, bits: int | None) -> Any:
    return Cache(folder.resolve()).read(bits, threads=1)


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
@pytest.mark.parametrize("settings", [{}, {"tied": False, "scale_by_layer": True}, {"width": 85, "n_heads": 5}])
def test_what_was_kept_has_the_bits_of_what_is_packed_anew(tmp_path: Path, bits: int, settings: dict[str, Any]) -> None:
    folder = saved(tmp_path / "writing", **settings)
    write(folder, bits)
    model = kept(folder, bits)
    assert model.bits == bits
    anew = compiled(load(folder)[0], "gpt2", bits=bits, threads=2)
    assert torch.equal(logits_of(model), logits_of(anew))


def test_a_second_start_reads_the_file_and_loads_no_weights(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write(folder)
    assert "packed weights were written to" in caplog.text
    caplog.clear()
    monkeypatch.setattr("headway.formats.folder.load", None)
    assert write(folder) == text
    assert "packed weights were read from" in caplog.text


def test_without_bits_the_kept_numbers_are_those_that_are_stored(folder: Path) -> None:
    write(folder, 16)  # the stored numbers are of 32 bits
    assert kept(folder, None) is None
    write(folder, None)
    assert kept(folder, None).bits == 32


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_made_again(folder: Path, share: float, caplog: pytest.LogCaptureFixture) -> None:
    text, path = write(folder), file_of(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert write(folder) == text
    assert "is damaged and is made again" in caplog.text
    assert path.read_bytes() == whole


def test_one_altered_byte_anywhere_is_noticed(folder: Path) -> None:
    text, path = write(folder), file_of(folder)
    whole = path.read_bytes()
    with CacheFile(path) as file:
        parts, start = file.header.parts, len(whole) - file.header.bytes
    inside = [start + begin + place for _, begin, size in parts for place in (0, size // 2, size - 1)]
    for at in [0, 7, 9, 20, 47, 48, 100, *inside[:: max(1, len(inside) // 24)]]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert kept(folder, 8) is None, at
        assert write(folder) == text, at


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bytes", 2**62),
        ("bytes", -1),
        ("bytes", "many"),
        ("parts", [["x", 2**60, 64]]),
        ("parts", [["token_embedding.panels", 0, 2**60]]),
        ("parts", []),
        ("parts", {}),
        ("parts", [[]]),
        ("parts", [["\ud800", 0, 64]]),
        ("parts", [["x", 0, 64], ["x", 64, 64]]),
        ("sizes", {}),
        ("sizes", {"width": 10**9}),
        ("sizes", {"heads": 0}),
        ("sizes", {"layers": 2**40}),
        ("family", "bert"),
        ("bits", 7),
        ("packing", PACKING + 1),
        ("checksum", "0"),
        ("sources", []),
        ("unheard_of", 1),
    ],
)
def test_a_header_that_asks_for_the_absurd_gives_no_model(folder: Path, name: str, value: Any) -> None:
    """With a digest that fits: as someone would write it who wants the engine to read past its memory."""
    text, path = write(folder), file_of(folder)
    whole = path.read_bytes()
    magic, length, _ = PREAMBLE.unpack(whole[: PREAMBLE.size])
    header = json.loads(whole[PREAMBLE.size : PREAMBLE.size + length])
    header[name] = {**header["sizes"], **value} if name == "sizes" and value else value
    begin = beginning(length)
    path.write_bytes(headed(magic, header) + whole[begin:])
    assert kept(folder, 8) is None
    assert write(folder) == text


def test_a_part_that_stands_elsewhere_gives_no_model(folder: Path) -> None:
    """Of two parts of one length, told the wrong way round, every size would still be right."""
    write(folder)
    path = file_of(folder)
    whole = path.read_bytes()
    magic, length, _ = PREAMBLE.unpack(whole[: PREAMBLE.size])
    header = json.loads(whole[PREAMBLE.size : PREAMBLE.size + length])
    places = {name: part for part in header["parts"] for name in part[:1]}
    one, other = places["blocks.0.attention_norm.weight"], places["blocks.1.attention_norm.weight"]
    assert one[2] == other[2]
    one[1], other[1] = other[1], one[1]
    path.write_bytes(headed(magic, header) + whole[beginning(length) :])
    assert kept(folder, 8) is None


def test_a_file_with_a_hole_of_a_terabyte_asks_for_no_memory(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    text, path = write(folder), file_of(folder)
    whole = path.read_bytes()
    magic, length, _ = PREAMBLE.unpack(whole[: PREAMBLE.size])
    header = json.loads(whole[PREAMBLE.size : PREAMBLE.size + length])
    header |= {"bytes": 2**40, "parts": [["x", 0, 2**40]]}
    start = headed(magic, header)
    path.write_bytes(start)
    try:
        os.truncate(path, len(start) + 2**40)
    except OSError:
        pytest.skip("the file system has no files of a terabyte")
    assert kept(folder, 8) is None
    assert "more than its weights fill" in caplog.text
    assert write(folder) == text and path.stat().st_size == len(whole)


def headed(magic: bytes, header: dict[str, Any]) -> bytes:
    """What stands before the parts, with a digest that fits."""
    told = json.dumps(header).encode()
    return (PREAMBLE.pack(magic, len(told), hashlib.sha256(told).digest()) + told).ljust(beginning(len(told)), b"\0")


def beginning(length: int) -> int:
    return -(-(PREAMBLE.size + length) // 4096) * 4096


def test_what_is_no_file_is_no_cache(folder: Path, elsewhere: Path) -> None:
    text, path = write(folder), file_of(folder)
    path.unlink()
    path.mkdir()
    assert write(folder) == text
    assert [file.name for file in elsewhere.rglob("*.cache")] == ["engine-8bit.cache"]


def test_a_pipe_in_place_of_the_file_is_not_waited_for(folder: Path) -> None:
    text, path = write(folder), file_of(folder)
    path.unlink()
    os.mkfifo(path)
    assert write(folder) == text
    assert path.is_file()


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_read_or_written_where_a_link_of_the_folder_leads(
    folder: Path, tmp_path: Path, there: bool, elsewhere: Path
) -> None:
    """A folder of somebody else's may come with links."""
    text, path = write(folder), file_of(folder)
    own = tmp_path / "own"
    own.mkdir()
    if there:
        (own / "file").write_bytes(path.read_bytes())
        os.utime(own / "file", ns=(1, 1))
    path.unlink()
    path.symlink_to(own / "file")
    assert kept(folder, 8) is None
    assert write(folder) == text
    assert path.is_file() and not path.is_symlink()
    assert not there or (own / "file").stat().st_mtime_ns == 1
    assert [entry.name for entry in own.iterdir()] == ["file"] * there

    (folder / "cache").rename(own / "cache")
    (folder / "cache").symlink_to(own / "cache", target_is_directory=True)
    assert kept(folder, 8) is None
    shutil.rmtree(own / "cache")
    (own / "cache").mkdir()
    assert write(folder) == text
    assert not list((own / "cache").iterdir()) and len(list(elsewhere.rglob("*.cache"))) == 1


def test_replaced_weights_are_noticed_though_size_and_time_are_the_old_ones(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder)
    torch.manual_seed(1)
    other = tiny(vocabulary=257)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    headway.save(other, None, tmp_path / "other")
    old, new = folder / "model.safetensors", tmp_path / "other" / "model.safetensors"
    facts = old.stat()
    assert facts.st_size == new.stat().st_size
    old.write_bytes(new.read_bytes())
    os.utime(old, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert kept(folder, 8) is None
    assert "is of other weights" in caplog.text
    write(folder)
    assert torch.equal(logits_of(kept(folder, 8)), logits_of(in_engine(other, 8)))


def test_a_folder_that_was_copied_takes_its_cache_along(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write(folder)
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    monkeypatch.setattr("headway.formats.folder.load", None)
    assert write(copied) == text


def test_where_the_folder_takes_none_it_goes_to_the_user_s_cache(folder: Path, elsewhere: Path) -> None:
    (folder / "cache").write_text("in the way")
    text = write(folder)
    assert len(list(elsewhere.rglob("*.cache"))) == 1
    assert write(folder) == text and (folder / "cache").read_text() == "in the way"


def test_where_nothing_can_be_written_it_writes_all_the_same(
    folder: Path, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "cache").write_text("in the way")
    elsewhere.parent.write_text("in the way too")
    assert write(folder) == write(folder)
    assert caplog.text.count("packed weights are not kept in") == 4
    assert {"cache", "config.json"} <= {path.name for path in folder.iterdir()}


def test_a_full_disk_leaves_nothing_behind(
    folder: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storage, "_free_space", lambda path: 1000)
    write(folder)
    assert "packed weights are not kept in" in caplog.text
    assert not (folder / "cache").exists() and not list(elsewhere.rglob("*.cache"))


def test_bundled_models_are_kept_outside_the_installation(elsewhere: Path) -> None:
    headway.Writer("writer", engine="compiled", bits=8, device="cpu")
    assert [path.name for path in elsewhere.rglob("*.cache")] == ["engine-8bit.cache"]


def test_several_threads_that_open_one_folder_do_no_harm(folder: Path) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(write(folder))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 6 and len(set(texts)) == 1
    assert [path.name for path in (folder / "cache").iterdir()] == ["engine-8bit.cache"]


def test_several_processes_that_open_one_folder_do_no_harm(folder: Path) -> None:
    script = (
        "import sys, headway\n"
        f"writer = headway.Writer({str(folder)!r}, engine='compiled', bits=8, device='cpu')\n"
        "sys.stdout.buffer.write(writer.write('Once', max_new_tokens=9, temperature=0).text.encode())"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    found = {process.communicate()[0].decode() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [path.name for path in (folder / "cache").iterdir()] == ["engine-8bit.cache"]
    assert found == {write(folder)}


@pytest.mark.parametrize("bits", [32, 16, 8, 4])
def test_every_kind_of_kernels_packs_the_same_bytes(bits: int) -> None:
    """What one processor packed may be read on another."""
    packed = []
    for kernels in native().kernels_here():
        parts = native().Parts()
        build(tiny(width=34, n_heads=2), Asked(bits=bits, threads=1, kernels=kernels, parts=parts))
        packed.append({name: bytes(memoryview(block)) for name, block in parts.blocks().items()})
    assert packed[0] and all(one == packed[0] for one in packed)


# Where the packing changes, so must PACKING: else files of an older headway would be read as what they are not.
PACKED = {32: "17c4004d63e8dd9b", 16: "feec24d4b2e6a1f2", 8: "7c59835f42fb21ab", 4: "a43d7eb1edccfb2f"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="another processor may round a fitted scale otherwise")
@pytest.mark.parametrize("bits", [32, 16, 8, 4])
def test_packed_bytes_are_those_of_the_number_of_the_packing(tmp_path: Path, bits: int) -> None:
    model = tiny(vocabulary=257, width=34, n_heads=2, n_layers=1, feed_forward=35)
    with torch.no_grad():  # weights that no change of a random generator changes
        for number, parameter in enumerate(model.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
            parameter.copy_(((places * 37 + number * 11) % 101 - 50) / 64)
    digest = hashlib.sha256()
    headway.save(model, None, tmp_path / "model")
    with_tokenizer = saved(tmp_path / "writing", width=34, n_heads=2, n_layers=1, feed_forward=35)
    shutil.copy(tmp_path / "model" / "model.safetensors", with_tokenizer / "model.safetensors")
    write(with_tokenizer, bits)
    with CacheFile(file_of(with_tokenizer, bits)) as file:
        blocks = file.parts().blocks()
    for name in sorted(blocks):
        digest.update(name.encode() + bytes(memoryview(blocks[name])))
    assert (PACKING, digest.hexdigest()[:16]) == (1, PACKED[bits])


def test_a_start_with_a_cache_loads_no_pytorch(folder: Path) -> None:
    text = write(folder)
    script = (
        "import sys, headway\n"
        f"writer = headway.Writer({str(folder)!r}, engine='compiled', bits=8, device='cpu')\n"
        "text = writer.write('Once', max_new_tokens=9, temperature=0).text\n"
        "loaded = {'torch', 'rich', 'cyclopts', 'fastapi'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
        "sys.stdout.buffer.write(text.encode())"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert found.stdout.decode() == text


def test_the_command_line_loads_no_pytorch_either(folder: Path) -> None:
    text = write(folder)
    script = (
        "import sys\n"
        "from headway.cli.main import run\n"
        f"code = run(['write', {str(folder)!r}, 'Once', '--max-new-tokens', '9', '--temperature', '0',"
        " '--bits', '8'])\n"
        "sys.stdout.flush()\n"
        "assert code in (0, None) and 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert found.stdout.decode() == f"{text}\n"
