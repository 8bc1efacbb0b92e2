"""Token shards: exact, repeatable, whole or not there, and refused when damaged."""

import errno
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from headway.corpus import shard_files
from headway.corpus.documents import Document, read_documents
from headway.corpus.shards import ShardSettings, TokenShards, write_shards
from headway.corpus.stream import TokenStream, encode_stream
from headway.errors import ConfigError, DataError, FormatError, StorageError, UsageError
from headway.text.tokenizer import Tokenizer

SAMPLES = Path(__file__).parent.parent / "data" / "corpus"
DOCUMENTS = [Document(f"document {number} " * (number % 5 + 1), str(number)) for number in range(37)]
SETTINGS = ShardSettings(validation_share=0.2, seed=3, shard_tokens=101, tokenizer="bytes", corpus="made up")
MakeTokenizer = Callable[..., Tokenizer]


def documents_of(stream: TokenStream) -> list[bytes]:
    """The texts that lie between end-of-text tokens."""
    ids = stream.read(0, stream.tokens).tolist()
    ends = [place for place, id in enumerate(ids) if id == stream.end_of_text]
    return [bytes(ids[begin:end]) for begin, end in zip([0] + [end + 1 for end in ends], ends, strict=False)]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_document_stands_whole_in_one_split_with_its_end(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shards = write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS)
    found = {name: documents_of(shards.split(name)) for name in ("train", "validation")}
    assert sorted(found["train"] + found["validation"]) == sorted(d.text.encode() for d in DOCUMENTS)
    assert shards.validation_from == "documents" and found["validation"]
    for name, texts in found.items():
        stream = shards.split(name)
        assert stream.documents == len(texts)
        assert stream.bytes == sum(map(len, texts))
        assert stream.tokens == stream.bytes + stream.documents
        assert shards.offsets(name).tolist() == list(itertools.accumulate((len(t) + 1 for t in texts), initial=0))


def test_a_shard_holds_no_more_tokens_than_asked(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "shards").glob("train-*.bin"))]
    assert set(sizes[:-1]) == {202} and 0 < sizes[-1] <= 202 and len(sizes) > 7


def test_the_same_text_and_settings_give_the_same_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("one", "two"):
        write_shards(tmp_path / name, DOCUMENTS, tokenizer, SETTINGS)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_any_range_of_a_stream_is_read_over_the_borders_of_shards(tmp_path: Path, tokenizer: Tokenizer) -> None:
    stream = write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS).split("train")
    whole = stream.read(0, stream.tokens)
    assert whole.dtype == numpy.int64 and whole.flags.writeable
    for start in (0, 1, 100, 101, 102, 201, stream.tokens - 1, stream.tokens):
        for count in (0, 1, 2, 101, 211):
            if start + count <= stream.tokens:
                assert stream.read(start, count).tolist() == whole[start : start + count].tolist()
    for start, count in ((-1, 2), (0, stream.tokens + 1), (5, -1)):
        with pytest.raises(IndexError):
            stream.read(start, count)


@pytest.mark.parametrize(("size", "width"), [(65536, 2), (65537, 4)])
def test_ids_take_two_bytes_where_the_vocabulary_allows(
    tmp_path: Path, make_tokenizer: MakeTokenizer, size: int, width: int
) -> None:
    tokenizer = make_tokenizer(size=size, end=size - 1)
    shards = write_shards(tmp_path / "shards", DOCUMENTS[:2], tokenizer, ShardSettings(validation_share=0))
    train = shards.split("train")
    assert (tmp_path / "shards" / "train-00000.bin").stat().st_size == width * train.tokens
    assert train.read(train.tokens - 1, 1).tolist() == [size - 1]
    assert shards.split("validation").tokens == 0


def test_the_only_document_gives_its_end_for_validation(tmp_path: Path, tokenizer: Tokenizer) -> None:
    text = "A paragraph of some words.\n\n" * 20
    shards = write_shards(tmp_path / "shards", [Document(text, "a")], tokenizer, SETTINGS)
    assert shards.validation_from == "tail"
    assert documents_of(shards.split("train")) == [text[: 16 * 28].encode()]
    assert documents_of(shards.split("validation")) == [text[16 * 28 :].encode()]


def test_a_validation_text_of_its_own_leaves_all_else_for_training(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shards = write_shards(
        tmp_path / "shards", iter(DOCUMENTS), tokenizer, SETTINGS, validation=iter([Document("held out", "v")])
    )
    assert shards.validation_from == "given"
    assert documents_of(shards.split("train")) == [document.text.encode() for document in DOCUMENTS]
    assert documents_of(shards.split("validation")) == [b"held out"]


def test_a_document_in_pieces_is_one_document(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pieces = [Document("one", "a", more=True), Document(" and", "a", more=True), Document(" two", "a")]
    shards = write_shards(tmp_path / "shards", pieces, tokenizer, ShardSettings(validation_share=0))
    assert documents_of(shards.split("train")) == [b"one and two"]
    assert documents_of(encode_stream(pieces, tokenizer)) == [b"one and two"]


def test_a_stream_in_memory_equals_the_one_from_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    samples = read_documents(SAMPLES)
    stream = write_shards(tmp_path / "s", samples, tokenizer, ShardSettings(validation_share=0)).split("train")
    memory = encode_stream(samples, tokenizer)
    assert (memory.tokens, memory.bytes, memory.documents) == (stream.tokens, stream.bytes, stream.documents)
    assert memory.read(0, memory.tokens).tolist() == stream.read(0, stream.tokens).tolist()


def test_progress_counts_the_bytes_of_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    seen: list[int] = []
    write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == sum(len(document.text) for document in DOCUMENTS)


def test_equal_settings_and_fingerprints_keep_what_stands(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shards"
    write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    other = ShardSettings(validation_share=0.2, seed=5, shard_tokens=101, tokenizer="bytes", corpus="made up")
    assert write_shards(folder, DOCUMENTS, tokenizer, other).settings == other
    assert TokenShards.open(folder, verify=True).settings == other


def test_damaged_shards_are_written_anew(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = tmp_path / "shards"
    write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    good = files(folder)
    (folder / "train-00001.bin").write_bytes(b"\1" * 202)
    write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    assert files(folder) == good


def test_what_is_not_shards_is_never_overwritten(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("mine")
    for taken in (tmp_path / "texts", tmp_path / "texts" / "a.txt"):
        with pytest.raises(StorageError, match="not overwritten"):
            write_shards(taken, DOCUMENTS, tokenizer, SETTINGS)
    assert files(tmp_path / "texts") == {"a.txt": b"mine"}
    (tmp_path / "empty").mkdir()
    write_shards(tmp_path / "empty", DOCUMENTS, tokenizer, SETTINGS)


class FullDisk:
    """A file that takes some bytes and then finds the disk full, at every call, closing included."""

    def __init__(self, room: int) -> None:
        self.room = room

    def open(self, path: Path, mode: str, buffering: int = -1) -> Any:
        disk, file = self, open(path, mode, buffering)

        class File:
            def write(self, data: bytes) -> int:
                disk.room -= len(data)
                if disk.room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return file.write(data)

            def close(self) -> None:
                file.close()
                if disk.room < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            flush = file.flush
            fileno = file.fileno

        return File()


@pytest.mark.parametrize("room", [0, 7, 500, 1500])
@pytest.mark.parametrize("standing", [False, True])
def test_a_full_disk_leaves_nothing_half(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, room: int, standing: bool
) -> None:
    folder = tmp_path / "shards"
    if standing:
        write_shards(folder, DOCUMENTS[:5], tokenizer, ShardSettings())
    before = files(folder) if standing else {}
    monkeypatch.setattr(shard_files, "open", FullDisk(room).open, raising=False)
    with pytest.raises(StorageError, match=r"No space left on device(.|\n)*Free some space") as caught:
        write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == (["shards"] if standing else [])
    assert not standing or files(folder) == before


def test_a_failure_at_the_last_moment_leaves_what_stood(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shards"
    write_shards(folder, DOCUMENTS[:5], tokenizer, ShardSettings())
    before = files(folder)

    def fail(*arguments: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    monkeypatch.undo()
    assert files(folder) == before and [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_a_bad_text_leaves_nothing_half(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("fine")
    (tmp_path / "texts" / "b.txt").write_bytes(b"\xff")
    bad = read_documents(tmp_path / "texts")
    with pytest.raises(DataError, match="b.txt"):
        write_shards(tmp_path / "shards", bad, tokenizer, SETTINGS)
    with pytest.raises(DataError, match="b.txt"):
        write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS, validation=bad)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_a_killed_writers_leftovers_are_swept_and_a_living_ones_are_not(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from headway.storage import new_folder\n"
        "with new_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "shards")]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS)
        assert len(list(tmp_path.glob(".shards.partial-*/half"))) == 1
    finally:
        writer.kill()
        writer.communicate()
    with caplog.at_level(logging.INFO):
        write_shards(tmp_path / "shards", DOCUMENTS[:3], tokenizer, SETTINGS.__class__())
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]
    assert "left behind" in caplog.text


def test_an_iterator_and_a_tokenizer_without_end_of_text_are_refused(
    tmp_path: Path, tokenizer: Tokenizer, make_tokenizer: MakeTokenizer
) -> None:
    with pytest.raises(UsageError, match="pass a list or read_documents"):
        write_shards(tmp_path / "shards", iter(DOCUMENTS), tokenizer, SETTINGS)
    with pytest.raises(ConfigError, match="end-of-text"):
        write_shards(tmp_path / "shards", DOCUMENTS, make_tokenizer(end=None), SETTINGS)
    with pytest.raises(ConfigError, match="validation_share must be in"):
        ShardSettings(validation_share=0.7)
    with pytest.raises(ConfigError, match="shard_tokens"):
        ShardSettings(shard_tokens=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_of_shards_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FormatError, match="not a folder of token shards"):
            TokenShards.open(folder)


def _edit(key: str, value: Any, split: str | None = None) -> Callable[[dict[str, Any]], None]:
    def change(index: dict[str, Any]) -> None:
        (index[split] if split else index)[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_edit("version", 2), "must have version 1, but has 2"),
        (_edit("dtype", "O"), "dtype must be one of"),
        (_edit("surprise", 1), "surprise is not a setting"),
        (_edit("tokens", 7, "train"), "do not have 7 tokens"),
        (_edit("documents", -1, "train"), "does not belong to -1 documents"),
        (_edit("tokens", "many", "validation"), "tokens must be a whole number"),
        (lambda index: index["train"]["shards"][0].update(name="../../secret.bin"), "is not a name of a shard"),
        (lambda index: index["train"]["shards"][0].update(name="/etc/passwd"), "is not a name of a shard"),
        (lambda index: index["train"]["shards"][1].update(count=-5), "has -5 numbers"),
        (lambda index: index.pop("train"), "needs a value for train"),
    ],
)
def test_a_lying_index_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    folder = tmp_path / "shards"
    write_shards(folder, DOCUMENTS, tokenizer, SETTINGS)
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match=said):
        TokenShards.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_an_index_that_is_not_json_is_refused(tmp_path: Path, tokenizer: Tokenizer, content: bytes) -> None:
    write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS)
    (tmp_path / "shards" / "index.json").write_bytes(content)
    with pytest.raises(FormatError, match="index.json"):
        TokenShards.open(tmp_path / "shards")


def test_missing_cut_and_changed_files_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    whole = tmp_path / "whole"
    write_shards(whole, DOCUMENTS, tokenizer, SETTINGS)
    for name in ("train-00000.bin", "train.offsets.bin", "validation-00000.bin"):
        content = (whole / name).read_bytes()
        for damaged, verify, said in (
            (None, False, "cannot be read: No such file"),
            (content[:-1], False, f"must have {len(content)} bytes, but has {len(content) - 1}"),
            (content + b"\0", False, "bytes, but has"),
            (bytes([content[0] ^ 1]) + content[1:], True, "SHA-256"),
        ):
            shutil.copytree(whole, tmp_path / "damaged")
            (tmp_path / "damaged" / name).unlink()
            if damaged is not None:
                (tmp_path / "damaged" / name).write_bytes(damaged)
            with pytest.raises(FormatError, match=said):
                TokenShards.open(tmp_path / "damaged", verify=verify)
            shutil.rmtree(tmp_path / "damaged")
    assert TokenShards.open(whole, verify=True).vocabulary == 257


def test_only_the_two_splits_can_be_asked_for(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shards = write_shards(tmp_path / "shards", DOCUMENTS, tokenizer, SETTINGS)
    with pytest.raises(UsageError, match="'test'"):
        shards.split("test")  # type: ignore[arg-type]


def test_gpt2s_ids_give_the_text_back(tmp_path: Path, gpt2: Tokenizer) -> None:
    shards = write_shards(tmp_path / "shards", read_documents(SAMPLES), gpt2, ShardSettings())
    found = []
    for name in ("train", "validation"):
        stream = shards.split(name)
        text = gpt2.decode(stream.read(0, stream.tokens).tolist())
        assert stream.bytes == len(text.encode()) - stream.documents * len("<|endoftext|>")
        found += text.split("<|endoftext|>")[:-1]
    assert sorted(found) == sorted(document.text for document in read_documents(SAMPLES))
