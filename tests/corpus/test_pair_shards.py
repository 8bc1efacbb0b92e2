"""Pairs as ids: exact, repeatable, whole or not there, and refused when damaged."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from headway.corpus import shard_files
from headway.corpus.pair_cleaning import clean
from headway.corpus.pair_division import sentence_key
from headway.corpus.pair_shards import PairShards, PairShardSettings, PairSplit, encode_pairs, write_pair_shards
from headway.corpus.pairs import Pair, read_pairs
from headway.errors import ConfigError, DataError, FormatError, StorageError, UsageError
from headway.text.tokenizer import Tokenizer

SAMPLES = Path(__file__).parent.parent / "data" / "pairs"
PAIRS = [Pair(f"source {number} " * (number % 5 + 1), f"la cible {number}" * (number % 3 + 1)) for number in range(37)]
SETTINGS = PairShardSettings(validation_share=0.2, longest=300, tokenizer="bytes", corpus="made up")
MakeTokenizer = Callable[..., Tokenizer]
NAMES = [
    f"{split}.{side}{kind}.bin"
    for split in ("train", "validation")
    for side in ("source", "target")
    for kind in ("", ".offsets")
]


def texts_of(split: PairSplit) -> list[Pair]:
    return [
        Pair(bytes(split.source(n).tolist()).decode(), bytes(split.target(n).tolist()).decode())
        for n in range(split.pairs)
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_pair_stands_whole_in_one_split(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shards = write_pair_shards(tmp_path / "pairs", PAIRS, None, tokenizer, settings=SETTINGS)
    found = {name: texts_of(shards.split(name)) for name in ("train", "validation")}
    assert sorted(found["train"] + found["validation"], key=PAIRS.index) == PAIRS
    assert (len(found["validation"]), shards.validation_from) == (7, "sources")
    for name, pairs in found.items():
        split = shards.split(name)
        assert pairs == [pair for pair in PAIRS if pair in pairs]
        assert split.source_lengths.tolist() == [len(pair.source) for pair in pairs]
        assert split.target_lengths.tolist() == [len(pair.target) for pair in pairs]
        assert split.source_tokens == split.source_bytes == sum(len(pair.source) for pair in pairs)
        assert split.target_tokens == split.target_bytes == sum(len(pair.target) for pair in pairs)
        assert split.longest == max(len(text) for pair in pairs for text in (pair.source, pair.target))
    assert sorted(files(tmp_path / "pairs")) == sorted([*NAMES, "index.json"])


def test_the_two_sides_may_have_tokenizers_of_their_own(tmp_path: Path, make_tokenizer: MakeTokenizer) -> None:
    wide = make_tokenizer(size=70_000, end=69_999)
    shards = write_pair_shards(tmp_path / "pairs", PAIRS, None, make_tokenizer(), wide, SETTINGS)
    assert (shards.vocabulary, shards.target_vocabulary) == (257, 70_000)
    train = shards.split("train")
    assert (tmp_path / "pairs" / "train.source.bin").stat().st_size == 2 * train.source_tokens
    assert (tmp_path / "pairs" / "train.target.bin").stat().st_size == 4 * train.target_tokens
    assert texts_of(train) == [pair for pair in PAIRS if pair in texts_of(train)]


def test_the_same_pairs_and_settings_give_the_same_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("one", "two"):
        write_pair_shards(tmp_path / name, PAIRS, None, tokenizer, settings=SETTINGS)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_given_validation_leaves_all_else_for_training(tmp_path: Path, tokenizer: Tokenizer) -> None:
    given = [Pair("held", "out")]
    shards = write_pair_shards(tmp_path / "pairs", iter(PAIRS), iter(given), tokenizer, settings=SETTINGS)
    assert shards.validation_from == "given"
    assert texts_of(shards.split("train")) == PAIRS and texts_of(shards.split("validation")) == given


def test_nothing_is_kept_aside_where_the_share_is_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    settings = PairShardSettings(validation_share=0)
    shards = write_pair_shards(tmp_path / "pairs", PAIRS, None, tokenizer, settings=settings)
    assert (shards.validation_from, shards.split("validation").pairs, shards.split("validation").longest) == (
        "none",
        0,
        0,
    )
    assert shards.split("train").pairs == 37


def test_pairs_too_long_are_left_out_and_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pairs = [Pair("four", "exact"), Pair("longer", "x"), Pair("x", "longer"), Pair("x", "end")]
    for settings, kept in ((PairShardSettings(validation_share=0, longest=5), [pairs[0], pairs[3]]),):
        shards = write_pair_shards(tmp_path / "pairs", pairs, [pairs[1]], tokenizer, settings=settings)
        train, validation = shards.split("train"), shards.split("validation")
        assert (texts_of(train), train.left_out, train.target_bytes) == (kept, 2, 8)
        assert (validation.pairs, validation.left_out) == (0, 1)
    with pytest.raises(DataError, match="1 of them are longer than 5 tokens"):
        write_pair_shards(tmp_path / "none", [pairs[1]], [pairs[0]], tokenizer, settings=settings)
    assert not (tmp_path / "none").exists()
    split = encode_pairs(pairs, tokenizer, longest=5)
    assert (texts_of(split), split.left_out, split.target_bytes) == (kept, 2, 8)


def test_empty_sides_and_every_character_come_back(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pairs = [
        Pair("", "a target of nothing"),
        Pair("nothing follows", ""),
        Pair("", ""),
        Pair("שלום", "مرحبا"),
        Pair("\N{GRINNING FACE}\U000e0fff", "\N{REPLACEMENT CHARACTER}\0\t"),
    ]
    split = write_pair_shards(tmp_path / "pairs", pairs, [], tokenizer, settings=SETTINGS).split("train")
    assert texts_of(split) == pairs == texts_of(encode_pairs(pairs, tokenizer))
    assert split.source_bytes == sum(len(pair.source.encode()) for pair in pairs)
    only_empty = [Pair("", "")]
    assert (
        texts_of(write_pair_shards(tmp_path / "e", only_empty, [], tokenizer, settings=SETTINGS).split("train"))
        == only_empty
    )


def test_pairs_in_memory_equal_those_from_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pairs = read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv")
    split = write_pair_shards(tmp_path / "pairs", clean(pairs), [], tokenizer, settings=SETTINGS).split("train")
    memory = encode_pairs(pairs, tokenizer)
    assert texts_of(memory) == texts_of(split) == list(pairs)
    for name in ("pairs", "source_tokens", "target_tokens", "source_bytes", "target_bytes", "longest"):
        assert getattr(memory, name) == getattr(split, name)
    assert encode_pairs([], tokenizer).pairs == 0


def test_a_split_gives_rows_that_can_be_written_to_and_refuses_others(tokenizer: Tokenizer) -> None:
    split = encode_pairs(PAIRS[:3], tokenizer)
    row = split.source(2)
    assert row.dtype == numpy.int64
    row[:] = 0
    assert texts_of(split) == PAIRS[:3]
    for number in (-1, 3):
        with pytest.raises(IndexError, match=f"pair {number} of 3"):
            split.target(number)


def test_no_source_stands_in_both_splits(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pairs = [Pair(f"Sentence {n % 29}{'!' * (n % 3)}", f"phrase {n}") for n in range(290)]
    shards = write_pair_shards(tmp_path / "pairs", pairs, None, tokenizer, settings=SETTINGS)
    train, validation = (
        {sentence_key(pair.source) for pair in texts_of(shards.split(name))} for name in ("train", "validation")
    )
    assert len(train) + len(validation) == 29 and not train & validation and len(validation) == 5


def test_progress_counts_pairs(tmp_path: Path, tokenizer: Tokenizer) -> None:
    seen: list[int] = []
    write_pair_shards(tmp_path / "pairs", PAIRS, PAIRS[:2], tokenizer, settings=SETTINGS, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 39


def test_blocks_change_nothing(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair_shards(tmp_path / "one", PAIRS, None, tokenizer, settings=SETTINGS)
    monkeypatch.setattr("headway.corpus.pair_shards._PAIRS", 5)
    write_pair_shards(tmp_path / "two", PAIRS, None, tokenizer, settings=SETTINGS)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_equal_settings_and_fingerprints_keep_what_stands(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder = tmp_path / "pairs"
    write_pair_shards(folder, PAIRS, None, tokenizer, settings=SETTINGS)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    write_pair_shards(folder, PAIRS, None, tokenizer, settings=SETTINGS)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    good = files(folder)
    (folder / "train.target.bin").write_bytes(b"\1" * len(good["train.target.bin"]))
    write_pair_shards(folder, PAIRS, None, tokenizer, settings=SETTINGS)
    assert files(folder) == good
    assert write_pair_shards(folder, PAIRS, PAIRS[:2], tokenizer, settings=SETTINGS).validation_from == "given"


def test_what_is_not_pairs_is_never_overwritten(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("mine")
    for taken in (tmp_path / "texts", tmp_path / "texts" / "a.txt"):
        with pytest.raises(StorageError, match="not overwritten"):
            write_pair_shards(taken, PAIRS, None, tokenizer, settings=SETTINGS)
    assert files(tmp_path / "texts") == {"a.txt": b"mine"}


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


@pytest.mark.parametrize("room", [0, 7, 500, 2500])
@pytest.mark.parametrize("standing", [False, True])
def test_a_full_disk_leaves_nothing_half(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, room: int, standing: bool
) -> None:
    folder = tmp_path / "pairs"
    if standing:
        write_pair_shards(folder, PAIRS[:5], None, tokenizer)
    before = files(folder) if standing else {}
    monkeypatch.setattr(shard_files, "open", FullDisk(room).open, raising=False)
    with pytest.raises(StorageError, match=r"No space left on device(.|\n)*Free some space") as caught:
        write_pair_shards(folder, PAIRS, None, tokenizer, settings=SETTINGS)
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == (["pairs"] if standing else [])
    assert not standing or files(folder) == before


def test_a_bad_file_leaves_nothing_half(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\none column\n")
    bad = read_pairs(tmp_path / "a.tsv")
    for pairs, validation in ((bad, None), (PAIRS, bad)):
        with pytest.raises(DataError, match="a.tsv:2"):
            write_pair_shards(tmp_path / "pairs", pairs, validation, tokenizer, settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tsv"]


def test_bad_settings_and_an_iterator_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="pass a list or read_pairs"):
        write_pair_shards(tmp_path / "pairs", iter(PAIRS), None, tokenizer, settings=SETTINGS)
    for settings, said in (
        ({"validation_share": 0.7}, "validation_share"),
        ({"longest": 0}, "longest"),
        ({"most_validation": 0}, "most_validation"),
    ):
        with pytest.raises(ConfigError, match=said):
            PairShardSettings(**settings)
    shards = write_pair_shards(tmp_path / "pairs", PAIRS, None, tokenizer, settings=SETTINGS)
    with pytest.raises(UsageError, match="'test'"):
        shards.split("test")  # type: ignore[arg-type]


def _edit(key: str, value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(index: dict[str, Any]) -> None:
        for name in path:
            index = index[name]
        index[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_edit("version", 2), "must be of pairs, version 1"),
        (_edit("kind", "text"), "must be of pairs"),
        (_edit("surprise", 1), "surprise is not a setting"),
        (_edit("pairs", 7, "train"), "does not belong to 7 pairs"),
        (_edit("pairs", "many", "validation"), "pairs must be a whole number"),
        (_edit("dtype", "O", "train", "source"), "dtype must be one of"),
        (_edit("bytes", -1, "train", "target"), "does not belong"),
        (_edit("name", "../../secret.bin", "train", "source", "ids"), "is not a file of train.source"),
        (_edit("name", "/etc/passwd", "train", "target", "offsets"), "is not a file of train.target"),
        (_edit("count", -5, "train", "source", "ids"), "does not belong"),
        (lambda index: index.pop("validation"), "needs a value for validation"),
    ],
)
def test_a_lying_index_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    folder = tmp_path / "pairs"
    write_pair_shards(folder, PAIRS, None, tokenizer, settings=SETTINGS)
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match=said):
        PairShards.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_an_index_that_is_not_json_is_refused(tmp_path: Path, tokenizer: Tokenizer, content: bytes) -> None:
    write_pair_shards(tmp_path / "pairs", PAIRS, None, tokenizer, settings=SETTINGS)
    (tmp_path / "pairs" / "index.json").write_bytes(content)
    with pytest.raises(FormatError, match="index.json"):
        PairShards.open(tmp_path / "pairs")


def test_missing_cut_and_changed_files_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    whole = tmp_path / "whole"
    write_pair_shards(whole, PAIRS, None, tokenizer, settings=SETTINGS)
    for name in NAMES:
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
                PairShards.open(tmp_path / "damaged", verify=verify)
            shutil.rmtree(tmp_path / "damaged")
    assert PairShards.open(whole, verify=True).vocabulary == 257
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FormatError, match="not a folder of pairs as ids"):
            PairShards.open(folder)


@pytest.mark.parametrize("offsets", [[1, 5], [5, 0], [0, 2**63]])
def test_offsets_that_lead_astray_are_refused(tmp_path: Path, tokenizer: Tokenizer, offsets: list[int]) -> None:
    shards = write_pair_shards(tmp_path / "pairs", [Pair("abcde", "x")], [], tokenizer, settings=SETTINGS)
    path = tmp_path / "pairs" / "train.source.offsets.bin"
    path.write_bytes(numpy.array(offsets, dtype="<u8").tobytes())
    with pytest.raises(FormatError, match="does not fit"):
        shards.split("train")


def test_gpt2s_ids_give_the_texts_back(tmp_path: Path, gpt2: Tokenizer) -> None:
    pairs = read_pairs(SAMPLES / "tatoeba.en-fr.valid.tsv")
    split = write_pair_shards(tmp_path / "pairs", pairs, [], gpt2).split("train")
    assert [
        Pair(gpt2.decode(split.source(n).tolist()), gpt2.decode(split.target(n).tolist())) for n in range(split.pairs)
    ] == list(pairs)
