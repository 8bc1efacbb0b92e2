"""One file of labelled data, of whatever kind: whether it is there, its kind by name, its content as a hash."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from headway.corpus.text_file import shown, unreadable
from headway.errors import DataError

_CHUNK = 1 << 20


def kind_of(path: Path) -> str:
    """The suffix that names the reader, without .gz."""
    return os.path.splitext(path.name.lower().removesuffix(".gz"))[1]


def check_file(path: Path, kinds: Sequence[str], what: str) -> None:
    """Raises DataError where there is no such file, or it is of none of these kinds."""
    if not path.exists():
        raise DataError(f"there is no file {shown(path)}\nGive the path of {what}: {' '.join(kinds)}.")
    if path.is_dir():
        raise DataError(f"{what} are read from one file, but {shown(path)} is a folder\nGive the file in it.")
    if kind_of(path) not in kinds:
        raise DataError(f"{what} are in a file {' '.join(kinds)} (also .gz), but got {shown(path)}")


def fingerprint_of(path: Path, read_as: str = "") -> str:
    """A hash of the file's bytes and of how it is read: 32 hexadecimal digits. Raises DataError."""
    if not path.is_file():
        raise DataError(f"there is no file {shown(path)}\nGive the path of a file of labelled data.")
    digest = hashlib.blake2b(read_as.encode(), digest_size=16)
    try:
        with open(path, "rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(unreadable(path, error)) from error
    return digest.hexdigest()
