"""A folder of shards that is there whole or not at all: written beside its name, flushed and renamed."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from headway.errors import StorageError

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` when the block ends without an error.

    Whatever error ends the block, nothing half is left, and what was at `folder` still is. Raises StorageError for
    the system's errors. What a writer that was killed left behind is swept here; a living one's is not.
    """
    building = folder.parent / f".{folder.name}.writing-{secrets.token_hex(4)}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        building.mkdir()
        lock = _locked(building)
        try:
            yield building
            _flush(building)
            _take_place(building, folder)
            _flush(folder.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
            if lock is not None:
                os.close(lock)
    except OSError as error:
        way_out = (
            "Free some space there, or choose a folder on another disk."
            if error.errno in _FULL
            else "Choose a folder you may write to."
        )
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}\n"
            f"{_free(folder)}Nothing half was left behind. {way_out}"
        ) from error


def _take_place(building: Path, folder: Path) -> None:
    """Two renames where a folder is replaced: killed between them, the shards are missing, never mixed."""
    old = building.with_name(building.name + "-old")
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, old)
    try:
        os.rename(building, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sweep(folder: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.writing-[0-9a-f]{{8}}(-old)?")
    for entry in folder.parent.iterdir():
        if pattern.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            lock = _locked(entry)
            if lock is not None:
                logger.info("removing %s, left behind by a writer that was stopped", entry)
                shutil.rmtree(entry, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """A lock on the folder that goes when the process does, or None where a living process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another's, or a file system without locks: then nothing is swept
        os.close(descriptor)
        return None
    return descriptor


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{shutil.disk_usage(folder.parent).free / 1e6:.0f} MB are free on that disk. "
    return ""
