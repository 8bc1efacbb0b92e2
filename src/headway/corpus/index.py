"""What a folder of token shards says of itself, index.json, checked before a file beside it is touched."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headway.errors import ConfigError, FormatError
from headway.settings import from_dict, to_dict

INDEX = "index.json"
VERSION = 1

_WAY_OUT = "Delete the folder and prepare the text again."


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """What decides the content of a folder of shards.

    validation_share: about how much of the text is kept aside, 0 for nothing. seed: which documents are.
    shard_tokens: how many tokens a file has at most. tokenizer, corpus: fingerprints the caller gives; with both
    given, a sound folder with equal settings is not written again.
    """

    validation_share: float = 0.05
    seed: int = 0
    shard_tokens: int = 100_000_000
    tokenizer: str | None = None
    corpus: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share <= 0.5:
            raise ConfigError(
                f"validation_share must be in 0..0.5, but got {self.validation_share}: --set data.validation_share=0.05"
            )
        if self.shard_tokens < 1:
            raise ConfigError(f"shard_tokens must be at least 1, but got {self.shard_tokens}")


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One file beside the index: `count` numbers of one kind."""

    name: str
    count: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitIndex:
    """One split: tokens with end-of-text, bytes of the text; `offsets`: where each document begins, and the end."""

    documents: int
    tokens: int
    bytes: int
    shards: tuple[ShardFile, ...]
    offsets: ShardFile


@dataclass(frozen=True, kw_only=True)
class Index:
    """All of index.json. validation_from: what `kind` the plan was of, or "given": documents of their own."""

    version: int
    settings: ShardSettings
    dtype: Literal["<u2", "<u4"]
    vocabulary: int
    end_of_text: int
    validation_from: Literal["documents", "tail", "none", "given"]
    train: SplitIndex
    validation: SplitIndex


def write_index(folder: Path, index: Index) -> None:
    """Write index.json, the last file of a folder."""
    (folder / INDEX).write_text(json.dumps(to_dict(index), indent=1) + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index:
    """The index, with its counts and names checked. Raises FormatError where it is missing or does not hold."""
    try:
        table = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{folder} is not a folder of token shards: {INDEX}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{folder / INDEX} is not JSON: {error}\n{_WAY_OUT}") from error
    version = table.get("version") if isinstance(table, dict) else None
    if version != VERSION:
        raise FormatError(f"{folder / INDEX} must have version {VERSION}, but has {version!r}\n{_WAY_OUT}")
    try:
        index = from_dict(Index, table)
    except ConfigError as error:
        raise FormatError(f"{folder / INDEX} is damaged: {error}\n{_WAY_OUT}") from error
    for name, split in (("train", index.train), ("validation", index.validation)):
        problem = _problem(name, split)
        if problem:
            raise FormatError(f"{folder / INDEX} is damaged: {problem}\n{_WAY_OUT}")
    return index


def _problem(name: str, split: SplitIndex) -> str | None:
    for file in (*split.shards, split.offsets):
        if not re.fullmatch(rf"{name}(-\d{{5,}}|\.offsets)\.bin", file.name):  # nothing outside the folder is read
            return f"{file.name!r} is not a name of a shard of {name}"
        if file.count < 0:
            return f"{file.name} has {file.count} numbers"
    if sum(file.count for file in split.shards) != split.tokens:
        return f"the shards of {name} do not have {split.tokens} tokens together"
    if split.offsets.count != split.documents + 1 or split.bytes < 0:
        return f"{split.offsets.name} does not belong to {split.documents} documents of {split.bytes} bytes"
    return None
