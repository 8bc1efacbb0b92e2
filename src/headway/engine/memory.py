"""How much memory this process may still take, and a refusal of what would take more, before any of it is taken.

A system that lends more than it has ends the process once the pages are written; asking first keeps it alive.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.errors import ResourceError

SYSTEM = Path("/")
"""Where proc/ and sys/ are."""

UNASKED = 16 << 20
"""So many bytes are taken without asking: to ask takes about as long as a small model's step."""


def available_memory() -> int | None:
    """Bytes that this process may still take: of the machine's, and of every control group that it is in.

    What a group holds of files that nobody reads now counts as free. None where the system does not say.
    """
    free = _machine()
    for folder, limit_name, used_name in _groups():
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            left = max(0, limit - used + _unused_files(folder))
            free = left if free is None else min(free, left)
    return free


def refuse_past_memory(what: str, needed: int, way_out: str) -> None:
    """Raises ResourceError where `needed` more bytes are not to be had; what: a phrase that begins the message."""
    if needed < UNASKED:
        return
    free = available_memory()
    if free is not None and needed > free:
        raise ResourceError(f"{what} would take {_text(needed)} of memory, but {_text(free)} is free\n{way_out}")


def floats(shape: tuple[int, ...], what: str, way_out: str, beside: int = 0) -> NDArray[np.float32]:
    """Zeros of a shape. beside: bytes that are needed together with them. Raises ResourceError as above."""
    needed = 4
    for size in shape:
        needed *= size
    refuse_past_memory(what, needed + beside, way_out)
    try:
        return np.zeros(shape, dtype=np.float32)
    except (MemoryError, ValueError):  # a size that no array can have
        raise ResourceError(f"{what} would take {_text(needed + beside)} of memory\n{way_out}") from None


def _machine() -> int | None:
    for line in _lines(SYSTEM / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _groups() -> list[tuple[Path, str, str]]:
    """The control groups of this process, each with the names of its limit and of what it uses.

    Inside a container the path may be the outside's; its folders are then not there, and the topmost is its own.
    """
    found = []
    for line in _lines(SYSTEM / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            root, names = SYSTEM / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = SYSTEM / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        below = [part for part in path.split("/") if part not in ("", "..")]
        found += [(root.joinpath(*below[:depth]), *names) for depth in range(len(below), -1, -1)]
    return found


def _unused_files(folder: Path) -> int:
    """Bytes of files in memory that the system takes back first."""
    facts = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
    return int(facts.get("total_inactive_file", facts.get("inactive_file", "0")))


def _number(path: Path) -> int | None:
    """A file's one number; None for "max" and where there is no such file."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _text(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
