"""Pairs of a source and a target, one after another: what encoder-decoders are trained and measured on."""

import functools
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.corpus.documents import text_bytes
from headway.corpus.pair_readers import READERS, PairFields, kind_of, read_two_files
from headway.corpus.pair_readers import Pair as Pair
from headway.corpus.text_file import shown, unreadable
from headway.errors import DataError, UsageError

logger = logging.getLogger(__name__)

_KINDS = ".tsv .jsonl .csv .tmx (each also with .gz) and .parquet"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs under a path; every iteration reads them anew, in the same order, in bounded memory.

    files: what is read; with `target_path` the one file holds the sources and that one the targets, line by line.
    """

    path: Path
    files: tuple[Path, ...]
    target_path: Path | None = None
    fields: PairFields = PairFields()

    def __iter__(self) -> Iterator[Pair]:
        """The pairs, those with an empty side too. Raises DataError for a bad file, or if there is no pair."""
        given = False
        for pair in self._read():
            given = True
            yield pair
        if not given:
            raise DataError(
                f"there are no pairs in {shown(self.path)}: {len(self.files)} file(s) with none\n"
                "Put some there, or give another path."
            )

    @functools.cached_property
    def bytes(self) -> int:
        """The UTF-8 bytes of both sides together: one pass over all of it, so bad files show here."""
        return sum(text_bytes(pair.source) + text_bytes(pair.target) for pair in self)

    def fingerprint(self) -> str:
        """A hash of the names and bytes of all files read and of the fields taken from them: 32 hexadecimal digits.

        The folder may move; a file renamed, added, changed or taken away gives another hash.
        """
        digest = hashlib.blake2b(repr((self.fields.source, self.fields.target)).encode(), digest_size=16)
        for file in (*self.files, self.target_path):
            if file is not None:
                name = os.fsencode(file.relative_to(self.path) if self.path in file.parents else file.name)
                digest.update(len(name).to_bytes(8, "little") + name + _content(file))
        return digest.hexdigest()

    def _read(self) -> Iterator[Pair]:
        if self.target_path is not None:
            yield from read_two_files(self.files[0], self.target_path)
            return
        for file in self.files:
            kind = kind_of(file)
            assert kind is not None
            yield from READERS[kind](file, self.fields)


def read_pairs(
    path: str | Path,
    *,
    target_path: str | Path | None = None,
    source_field: str | None = None,
    target_field: str | None = None,
) -> Pairs:
    """The pairs of a file, of a folder and its folders in the order of their relative paths, or of two text files.

    .tsv: a pair a line, two columns, no quotes and no header; .csv with a header, .jsonl and .parquet: the fields
    "source" and "target", or the only two; .tmx: the two languages, the header's source language first. The two
    fields name others: of .tmx the languages, of .tsv the names in a first line or numbers from 1. With `target_path`
    line n of `path` is the source of line n there. Raises DataError for a missing path or a folder without a readable
    file at once, for what is in the files when read; UsageError for fields or paths that contradict each other.
    """
    path = Path(path)
    if (source_field is None) != (target_field is None):
        raise UsageError("a pair has two fields: name both, data.source_field and data.target_field, or neither")
    if source_field is not None and source_field == target_field:
        raise UsageError(f"source and target must be two different fields, but both are {source_field!r}")
    if not path.exists():
        raise DataError(f"there is no file or folder {shown(path)}\nGive the path of pairs: {_KINDS}.")
    if target_path is not None:
        return _two_files(path, Path(target_path), named=source_field is not None)
    return Pairs(path=path, files=_files(path), fields=PairFields(source=source_field, target=target_field))


def _two_files(path: Path, target_path: Path, *, named: bool) -> Pairs:
    if named:
        raise UsageError("of two files each line is a text: source and target fields mean nothing there")
    if not target_path.exists():
        raise DataError(f"there is no file {shown(target_path)}\nGive the file that holds the targets line by line.")
    for file in (path, target_path):
        if file.is_dir():
            raise DataError(
                f"a source and a target of their own must be two files, but {shown(file)} is a folder\n"
                "Give two text files with a line for each pair."
            )
    if path.samefile(target_path):
        raise UsageError(f"the sources and the targets are the same file, {shown(path)}\nGive the file of the targets.")
    return Pairs(path=path, files=(path,), target_path=target_path)


def _files(path: Path) -> tuple[Path, ...]:
    """The files to read; those of other kinds are logged."""
    if not path.is_dir():
        if kind_of(path) is None:
            raise DataError(
                f"a file of pairs is one of {_KINDS}, but got {shown(path)}\n"
                "Two text files are given as data.path and data.target_path, line n with line n."
            )
        return (path,)
    relative = sorted(_walk(path))
    found = [name for name in relative if kind_of(path / name) is not None]
    ignored = [name for name in relative if kind_of(path / name) is None]
    if not found:
        raise DataError(
            f"the folder {shown(path)} has no pairs to read: {len(ignored)} file(s) of other kinds, none of\n"
            f"{_KINDS}\nPut pairs there, or give another path."
        )
    if ignored:
        some = ", ".join(shown(Path(name)) for name in ignored[:5]) + (", ..." if len(ignored) > 5 else "")
        logger.warning("ignored %d files in %s, which are not %s: %s", len(ignored), shown(path), _KINDS, some)
    return tuple(path / name for name in found)


def _walk(path: Path) -> Iterator[str]:
    """The relative paths of all files that are not hidden; links to folders are not followed."""

    def stop(error: OSError) -> None:
        raise DataError(unreadable(Path(error.filename), error)) from error

    for parent, folders, names in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(path).as_posix()


def _content(file: Path) -> bytes:
    digest = hashlib.blake2b()
    try:
        with open(file, "rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(unreadable(file, error)) from error
    return digest.digest()
