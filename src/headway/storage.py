"""Files and folders that are there whole or not at all, whenever the power goes.

What is new is written beside its name, flushed to the disk and renamed; whoever reads sees the old or the new, never
half. Leftovers of writers that died are swept at the next open or save.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from headway.errors import FormatError, StorageError

MANIFEST = "manifest.json"

_CHUNK = 1 << 20
_WAY_OUT = {
    errno.ENOSPC: "Free some space, or choose a folder on another disk.",
    errno.EDQUOT: "Your quota is used up: free some space, or choose a folder on another disk.",
    errno.EFBIG: "The file system or a limit (ulimit -f) allows no larger file: choose another folder.",
    errno.EACCES: "Choose a folder you may write to, or ask for the permission.",
    errno.EPERM: "Choose a folder you may write to, or ask for the permission.",
    errno.EROFS: "That disk can only be read: choose a folder elsewhere.",
    errno.EIO: "The disk reports a fault: check it, and choose a folder elsewhere.",
}
_being_written: set[Path] = set()

logger = logging.getLogger(__name__)


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Put a new file at `path`, whole or not at all.

    `write` gets the path of an empty file beside it and fills it in place. Raises StorageError where writing fails;
    the file that was there before is then untouched.
    """
    path = Path(os.path.realpath(path))
    partial = _beside(path, "partial")
    with _as_storage_error(path):
        _being_written.add(partial)
        try:
            with open(partial, "xb") as held:
                _lock(held.fileno())
                write(partial)
            _flush(partial)
            os.replace(partial, path)
            _flush(path.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            _being_written.discard(partial)


@contextlib.contextmanager
def new_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which takes its place at `path` when the block ends without an error.

    With `overwrite` it takes the place of a folder that is there, in one step where the system can (Linux), else in
    two; until then that folder stays, and it stays for good where the block fails. Raises StorageError where `path`
    is taken and `overwrite` is not given, or where writing fails.
    """
    path = Path(os.path.realpath(path))
    sweep(path)
    require_free(path, overwrite=overwrite)
    partial = _beside(path, "partial")
    with _as_storage_error(path):
        _being_written.add(partial)
        held = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.mkdir()
            held = os.open(partial, os.O_RDONLY)
            _lock(held)
            yield partial
            _flush_tree(partial)
            _take_place(partial, path, overwrite)
            _flush(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if held is not None:
                os.close(held)
            _being_written.discard(partial)


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder that exists against a second writer while the block runs; the hold goes when the process does.

    Raises StorageError where another process has it.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(held):
            raise StorageError(f"{folder}: another process is writing there\nWait for it, or choose another folder.")
        yield
    finally:
        os.close(held)


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raises StorageError where `path` is taken: by a file, or by a folder with content unless `overwrite` is given."""
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise StorageError(f"{path} is a file, and a folder is to be written there\nChoose another name.")
    if not overwrite and any(path.iterdir()):
        raise StorageError(
            f"{path} exists and is not empty, and is not overwritten unasked\n"
            "Choose another folder, or say so: --overwrite, in Python overwrite=True."
        )


def require_space(path: Path, n_bytes: int) -> None:
    """Raises StorageError where the disk that `path` will lie on has less than `n_bytes` free."""
    free = _free_space(path)
    if free is not None and free < n_bytes:
        raise StorageError(
            f"{path} needs {_size(n_bytes)}, but the disk has {_size(free)} free\n{_WAY_OUT[errno.ENOSPC]}"
        )


def sweep(path: str | Path) -> None:
    """Clear away what dead writers left beside `path` and, where it is a folder, in it; put back what they moved.

    A writer holds a lock on what it writes, so the work of a living one is left alone, whichever process or container
    it runs in. Never raises: where nothing may be written, nothing is swept.
    """
    path = Path(os.path.realpath(path))
    with contextlib.suppress(OSError):
        for leftover in _leftovers(path.parent, re.escape(path.name)):
            if ".old-" in leftover.name and not path.exists():
                logger.warning("%s was half replaced when its writer died; the old one is put back", path)
                os.rename(leftover, path)
            else:
                _remove(leftover)
        if path.is_dir():
            for leftover in _leftovers(path, ".+"):
                _remove(leftover)


def write_manifest(folder: Path) -> None:
    """Write manifest.json with the size and SHA-256 of every file in `folder`, itself excepted, as the last file."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    text = json.dumps({"files": files}, indent=1)
    replace_file(folder / MANIFEST, lambda partial: _write_text(partial, text))


def verify_manifest(folder: Path) -> None:
    """Check every file that manifest.json names. Raises FormatError naming the first that is missing or damaged."""
    manifest = folder / MANIFEST
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        expected = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        raise FormatError(f"{folder} has no {MANIFEST}: it was not written to its end\nUse another one.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"{manifest} cannot be read: {error}\nUse another copy of this folder.") from error
    for name, (n_bytes, digest) in expected.items():
        if name.startswith("/") or ".." in name.split("/"):
            raise FormatError(f"{manifest} names {name!r}, which lies outside the folder\nUse another copy.")
        path = folder / name
        if not path.is_file():
            raise FormatError(f"{path} is missing, though {MANIFEST} names it\nUse another copy of this folder.")
        if path.stat().st_size != n_bytes:
            raise FormatError(
                f"{path} should have {n_bytes} bytes, but has {path.stat().st_size}\nUse another copy of this folder."
            )
        if _digest(path) != digest:
            raise FormatError(
                f"{path} is damaged: its SHA-256 is not the one written\nUse another copy of this folder."
            )


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{secrets.token_hex(4)}")


def _leftovers(folder: Path, name: str) -> list[Path]:
    pattern = re.compile(rf"\.{name}\.(?:partial|old)-(\d+)-[0-9a-f]{{8}}")
    found = []
    for entry in sorted(folder.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match and entry not in _being_written and not entry.is_symlink() and _abandoned(entry, int(match[1])):
            found.append(entry)
    return found


def _abandoned(path: Path, process: int) -> bool:
    """No lock on it, and no other process of that number: a number can be taken again, or be another container's."""
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if not _lock(held):
            return False
    finally:
        os.close(held)
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _remove(leftover: Path) -> None:
    logger.info("removing %s, left behind by a writer that died", leftover)
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Take the lock that says somebody writes here; it goes when the process does. False where another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: the process number alone must do
        return True
    return True


def _take_place(partial: Path, path: Path, overwrite: bool) -> None:
    if not overwrite or not path.exists():
        os.rename(partial, path)
        return
    if _exchange(partial, path):
        return  # the old folder now has the partial name, and goes with it
    old = _beside(path, "old")
    _being_written.add(old)
    try:
        os.rename(path, old)
        try:
            os.rename(partial, path)
        except BaseException:
            os.rename(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        _being_written.discard(old)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change names in one step (Linux, renameat2). False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <fcntl.h> and <stdio.h>
    if rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(second))


@contextlib.contextmanager
def _as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = _free_space(path)
        lines = [f"{path} cannot be written: {error.strerror or error}"]
        if free is not None:
            lines.append(f"{_size(free)} are free on that disk; what stood there before is unchanged.")
        lines.append(_WAY_OUT.get(error.errno or 0, "Mend that, or choose another folder."))
        raise StorageError("\n".join(lines)) from error


def _free_space(path: Path) -> int | None:
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2f} MB"


def _flush_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush(Path(parent, name))
        _flush(Path(parent))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
