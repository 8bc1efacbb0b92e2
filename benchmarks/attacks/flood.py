"""Many requests at once from one thread, by sockets and a selector alone.

A client that costs as much as the server measures itself: by asyncio streams one core sends hardly 1,500 requests a
second, and this takes a fraction of that.
"""

import errno
import json
import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from served import HOST

PART = 1 << 16
_TAIL = 64  # bytes, in which a stream's end stands


@dataclass(eq=False)
class Asked:
    """A request on a connection of its own, and what came of it so far. Times in seconds."""

    connection: socket.socket
    unsent: bytes
    began: float
    seconds: float = 0.0
    status: int = 0
    retry_after: bool = False
    head: bytes | None = b""  # None once it is whole
    length: int | None = None
    body: list[bytes] = field(default_factory=list)  # of a stream its end alone
    whole: bool = False
    broken: bool = False  # a stream told of an error

    def take(self, part: bytes) -> None:
        """More of the answer."""
        if self.head is not None:
            self.head += part
            head, end, part = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.head = None
            self.status = int(head[9:12])
            self.retry_after = b"\nretry-after:" in head.lower()
            length = re.search(rb"\ncontent-length: *(\d+)", head, re.IGNORECASE)
            self.length = None if length is None else int(length[1])
        if self.length is None:
            known = b"".join([*self.body, part])
            self.broken = self.broken or b'"error"' in known  # in a text its quotes would be escaped
            self.body = [known[-_TAIL:]]
        else:
            self.body.append(part)

    def end(self, now: float) -> None:
        """The connection is closed."""
        self.seconds = now - self.began
        body = b"".join(self.body)
        if self.head is not None:
            return
        self.whole = b"data: [DONE]" in body if self.length is None else len(body) == self.length

    @property
    def answered(self) -> bool:
        """Whether everything came that was asked for."""
        if not self.whole or self.broken or self.status != 200:
            return False
        return self.length is None or "choices" in json.loads(b"".join(self.body))

    @property
    def refused(self) -> bool:
        return self.whole and self.status in (429, 503)


class Flood:
    """Requests under way at one server."""

    def __init__(self, port: int, ended: Callable[[Asked], None]) -> None:
        """ended: is told of each request that is over, one way or the other."""
        self._port, self._ended = port, ended
        self._selector = selectors.DefaultSelector()
        self.open = 0

    def ask(self, path: str, body: Any) -> None:
        """Send a request. Raises OSError where this system gives no socket more."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        connection = socket.socket()
        connection.setblocking(False)
        asked = Asked(connection, head.encode() + content, time.perf_counter())
        self.open += 1
        if connection.connect_ex((HOST, self._port)) not in (0, errno.EINPROGRESS):
            self._end(asked)
            return
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, asked)

    def turn(self, patience_s: float) -> None:
        """Whatever can go on now, or within so many seconds."""
        for key, events in self._selector.select(patience_s):
            asked = cast(Asked, key.data)
            try:
                if asked.unsent and events & selectors.EVENT_WRITE:
                    asked.unsent = asked.unsent[asked.connection.send(asked.unsent) :]
                    if not asked.unsent:
                        self._selector.modify(asked.connection, selectors.EVENT_READ, asked)
                elif events & selectors.EVENT_READ:
                    part = asked.connection.recv(PART)
                    asked.take(part)
                    if not part:
                        self._done(asked)
            except BlockingIOError:
                continue
            except (OSError, ValueError):  # broken off, or what is no answer
                self._done(asked)

    def _done(self, asked: Asked) -> None:
        self._selector.unregister(asked.connection)
        self._end(asked)

    def _end(self, asked: Asked) -> None:
        asked.connection.close()
        asked.end(time.perf_counter())
        self.open -= 1
        self._ended(asked)

    def drain(self, seconds: float) -> None:
        """Until every answer is there, or so long; the others are broken off, and over without an answer."""
        until = time.perf_counter() + seconds
        while self.open and time.perf_counter() < until:
            self.turn(0.1)
        for key in list(self._selector.get_map().values()):
            self._done(cast(Asked, key.data))
