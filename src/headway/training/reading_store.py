"""Labelled data as rows of ids with their targets, kept in one file a split so that a resumed run reads the same."""

import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from headway.errors import ConfigError, FormatError, StorageError
from headway.settings import from_dict, to_dict

Ids = NDArray[numpy.int64]

FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Row:
    """A row before it is stored: its ids, how many of them are of the first text, and what is wanted of it.

    targets, by task. classify: the number of the label, or those of several; tag: a number for each id, IGNORED where
    there is none; answer: see training/reading_answers.py; embed: none, since the second text is what is wanted.
    """

    ids: list[int]
    first: int
    targets: list[int]


@dataclass(frozen=True, kw_only=True)
class ReadingFacts:
    """What is the same for all rows: see ReaderSettings for the fields they have in common.

    cut: rows that were longer than a window, whose rest is not read.
    """

    task: str
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    pair: bool = False
    scheme: str | None = None
    window: int
    stride: int | None = None
    cut: int = 0
    vocabulary: int


class Rows:
    """Rows of a split in memory: ids and targets one row after another, and where each begins."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._ids, self._targets = arrays["ids"], arrays["targets"]
        self.offsets = arrays["offsets"].astype(numpy.int64)
        self.target_offsets = arrays["target_offsets"].astype(numpy.int64)
        self.firsts = arrays["firsts"].astype(numpy.int64)
        self.lengths: Ids = numpy.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """The ids of all rows together."""
        return len(self._ids)

    @property
    def ids(self) -> NDArray[Any]:
        """All ids, one row after another."""
        return self._ids

    def row(self, number: int) -> NDArray[Any]:
        """The ids of a row."""
        return self._ids[self.offsets[number] : self.offsets[number + 1]]

    def targets(self, number: int) -> NDArray[Any]:
        """What is wanted of a row."""
        return self._targets[self.target_offsets[number] : self.target_offsets[number + 1]]

    def first_targets(self) -> Ids:
        """(N,) the first target of each row, -1 where it has none."""
        found = numpy.full(len(self), -1, dtype=numpy.int64)
        there = numpy.diff(self.target_offsets) > 0
        found[there] = self._targets[self.target_offsets[:-1][there]]
        return found

    def all_targets(self) -> Ids:
        """Every target of every row."""
        return self._targets.astype(numpy.int64)


def rows_of(rows: Iterable[Row]) -> Rows:
    """Rows in memory."""
    return Rows(_arrays(list(rows)))


def write_rows(folder: Path, name: str, rows: Iterable[Row]) -> Rows:
    """Write NAME.npz into the folder. Raises StorageError."""
    arrays = _arrays(list(rows))
    try:
        with open(folder / f"{name}.npz", "xb") as file:
            numpy.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"{folder / name}.npz cannot be written: {error.strerror}; free some space") from error
    return Rows(arrays)


def read_rows(folder: Path, name: str) -> Rows:
    """The rows of NAME.npz. Raises FormatError where it is missing or damaged."""
    path = folder / f"{name}.npz"
    try:
        with numpy.load(path, allow_pickle=False) as found:
            arrays = {key: found[key] for key in ("ids", "offsets", "firsts", "targets", "target_offsets")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is damaged or missing: {error!s:.100}; train into another folder") from error
    return Rows(arrays)


def write_facts(folder: Path, facts: ReadingFacts) -> None:
    """Write facts.json, the last file of a folder. Raises StorageError."""
    try:
        (folder / FACTS).write_text(json.dumps(to_dict(facts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder / FACTS} cannot be written: {error.strerror}; free some space") from error


def read_facts(folder: Path) -> ReadingFacts:
    """What facts.json says. Raises FormatError where it is missing or damaged."""
    try:
        return from_dict(ReadingFacts, json.loads((folder / FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, ConfigError) as error:
        raise FormatError(
            f"{folder / FACTS} is damaged or missing: {error!s:.200}; train into another folder"
        ) from error


def _arrays(rows: list[Row]) -> dict[str, NDArray[Any]]:
    ids = [numpy.asarray(row.ids, dtype=numpy.int32) for row in rows]
    targets = [numpy.asarray(row.targets, dtype=numpy.int32) for row in rows]
    return {
        "ids": numpy.concatenate([numpy.empty(0, numpy.int32), *ids]),
        "offsets": numpy.cumsum([0, *map(len, ids)]),
        "firsts": numpy.array([row.first for row in rows], dtype=numpy.int64),
        "targets": numpy.concatenate([numpy.empty(0, numpy.int32), *targets]),
        "target_offsets": numpy.cumsum([0, *map(len, targets)]),
    }
