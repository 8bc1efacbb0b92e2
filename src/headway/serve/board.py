"""How much room there is, on a page of memory that the server and its gate share: no message, no waiting.

The server writes the first part, the gate the second. Each is read without a lock: the writer counts up before and
after, and who reads between tries again.
"""

import mmap
import os
import struct
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO

_ROOM = struct.Struct("QqqdQ")  # count, free, seen, seconds to try again, count
_COUNT, _TOLD = struct.Struct("Q"), struct.Struct("qqd")
_REFUSED_AT = 64
_SIZE = 4096
_TRIES = 1000

UNLIMITED = 1 << 40


@dataclass(frozen=True)
class Room:
    """free: how many completions would be taken on now. seen: how many were, or were not, since the start.
    retry_after_s: when it is worth to try again.
    """

    free: int
    seen: int
    retry_after_s: float


class Board:
    """The shared page, over a file that has no name."""

    def __init__(self, descriptor: int) -> None:
        """descriptor: of what `board_file` gave, here or in the process that inherited it; it may be closed after."""
        self._page = mmap.mmap(descriptor, _SIZE)
        self._writing = threading.Lock()
        self._count, self._free, self._seen, self._retry_after_s = 0, UNLIMITED, 0, 1.0

    def tell_room(self, free: int, retry_after_s: float) -> None:
        """The server's: how much there is now."""
        with self._writing:
            self._free, self._retry_after_s = free, retry_after_s
            self._write()

    def tell_seen(self) -> None:
        """The server's: one more completion was taken on or refused."""
        with self._writing:
            self._seen += 1
            self._write()

    def _write(self) -> None:
        self._count += 1
        _COUNT.pack_into(self._page, 0, self._count)
        _TOLD.pack_into(self._page, _COUNT.size, self._free, self._seen, self._retry_after_s)
        _COUNT.pack_into(self._page, _COUNT.size + _TOLD.size, self._count)

    def room(self) -> Room:
        """The gate's: how things stand; unlimited where nothing was told yet, or it changed all the time."""
        for _ in range(_TRIES):
            after = _ROOM.unpack_from(self._page)[4]
            before, free, seen, retry_after_s, again = _ROOM.unpack_from(self._page)
            if before == after == again:
                return Room(free, seen, retry_after_s) if before else Room(UNLIMITED, 0, 1.0)
        return Room(UNLIMITED, 0, 1.0)

    def tell_refused(self, count: int) -> None:
        """The gate's: how many it refused so far."""
        _COUNT.pack_into(self._page, _REFUSED_AT, count)

    def refused(self) -> int:
        """The server's: how many the gate refused so far."""
        found: int = _COUNT.unpack_from(self._page, _REFUSED_AT)[0]
        return found


def board_file() -> IO[bytes]:
    """What a board is written into; it is gone where nobody has it open any more.

    In memory where the system can (Linux), for a server may have no folder that it can write into. Raises OSError where
    there is no room.
    """
    file: IO[bytes]
    if sys.platform == "linux":
        file = open(os.memfd_create("headway-board"), "r+b", buffering=0)
    else:
        file = tempfile.TemporaryFile(buffering=0)
    file.write(bytes(_SIZE))  # room that is only promised would end the process where it is not there
    return file
