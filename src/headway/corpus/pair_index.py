"""What a folder of pairs as ids says of itself, index.json, checked before a file beside it is touched."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy

from headway.corpus.index import INDEX, ShardFile
from headway.corpus.shard_files import OFFSETS_DTYPE
from headway.corpus.validation import SplitName
from headway.errors import ConfigError, FormatError
from headway.settings import from_dict, to_dict

VERSION = 1

_CHUNK = 1 << 20
_WAY_OUT = "Delete the folder and prepare the pairs again."


@dataclass(frozen=True, kw_only=True)
class PairShardSettings:
    """What decides the content of a folder of pairs as ids.

    validation_share: about how many of the pairs are kept aside, by their source, 0 for none; most_validation: but not
    more than so many. longest: the most tokens a side may have; longer pairs are left out and counted. tokenizer,
    target_tokenizer, corpus: fingerprints the caller gives; with tokenizer and corpus given, a sound folder with equal
    settings is not written again.
    """

    validation_share: float = 0.05
    most_validation: int = 3000
    longest: int = 256
    tokenizer: str | None = None
    target_tokenizer: str | None = None
    corpus: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share <= 0.5:
            raise ConfigError(
                f"validation_share must be in 0..0.5, but got {self.validation_share}: --set data.validation_share=0.05"
            )
        if self.most_validation < 1 or self.longest < 1:
            raise ConfigError(
                f"most_validation and longest must be at least 1, but got {self.most_validation} and {self.longest}"
            )


@dataclass(frozen=True, kw_only=True)
class SideIndex:
    """One side of a split: its ids one pair after another, where each begins (and the end), and the text's bytes."""

    ids: ShardFile
    offsets: ShardFile
    dtype: Literal["<u2", "<u4"]
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PairSplitIndex:
    """One split. left_out: pairs that were longer than the settings allow."""

    pairs: int
    left_out: int
    source: SideIndex
    target: SideIndex


@dataclass(frozen=True, kw_only=True)
class PairIndex:
    """All of index.json. vocabulary, target_vocabulary: how many ids the two tokenizers have."""

    kind: Literal["pairs"]
    version: int
    settings: PairShardSettings
    vocabulary: int
    target_vocabulary: int
    validation_from: Literal["sources", "given", "none"]
    train: PairSplitIndex
    validation: PairSplitIndex


def write_pair_index(folder: Path, index: PairIndex) -> None:
    """Write index.json, the last file of a folder."""
    (folder / INDEX).write_text(json.dumps(to_dict(index), indent=1) + "\n", encoding="utf-8")


def read_pair_index(folder: Path, *, verify: bool) -> PairIndex:
    """The index, its names and counts checked against the files; with `verify` their hashes too.

    Raises FormatError where it is missing or something does not hold.
    """
    try:
        table = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{folder} is not a folder of pairs as ids: {INDEX}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{folder / INDEX} is not JSON: {error}\n{_WAY_OUT}") from error
    found = (table.get("kind"), table.get("version")) if isinstance(table, dict) else None
    if found != ("pairs", VERSION):
        raise FormatError(f"{folder / INDEX} must be of pairs, version {VERSION}, but is of {found!r}\n{_WAY_OUT}")
    try:
        index = from_dict(PairIndex, table)
    except ConfigError as error:
        raise FormatError(f"{folder / INDEX} is damaged: {error}\n{_WAY_OUT}") from error
    for name, split in (("train", index.train), ("validation", index.validation)):
        for side in ("source", "target"):
            _check_side(folder, f"{name}.{side}", getattr(split, side), split.pairs, verify)
    return index


def side_files(split: SplitName, side: str) -> tuple[str, str]:
    """The names of the two files of a side: its ids, and where each pair begins."""
    return f"{split}.{side}.bin", f"{split}.{side}.offsets.bin"


def _check_side(folder: Path, name: str, side: SideIndex, pairs: int, verify: bool) -> None:
    if (side.ids.name, side.offsets.name) != (f"{name}.bin", f"{name}.offsets.bin"):  # nothing outside is read
        raise FormatError(f"{folder / INDEX} is damaged: {side.ids.name!r} is not a file of {name}\n{_WAY_OUT}")
    if side.offsets.count != pairs + 1 or side.ids.count < 0 or side.bytes < 0:
        raise FormatError(f"{folder / INDEX} is damaged: {name} does not belong to {pairs} pairs\n{_WAY_OUT}")
    for file, dtype in ((side.ids, side.dtype), (side.offsets, OFFSETS_DTYPE)):
        path, wanted = folder / file.name, file.count * numpy.dtype(dtype).itemsize
        try:
            size = path.stat().st_size
            if size != wanted:
                raise FormatError(f"{path} must have {wanted} bytes, but has {size}\n{_WAY_OUT}")
            if verify and _sha256(path) != file.sha256:
                raise FormatError(f"{path} is damaged: its SHA-256 is not the one in {INDEX}\n{_WAY_OUT}")
        except OSError as error:
            raise FormatError(f"{path} cannot be read: {error.strerror}\n{_WAY_OUT}") from error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
