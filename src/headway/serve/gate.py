"""The process at the door: accepts connections, hands them to the server, and refuses completions while it is full.

python -m headway.serve.gate LISTENING CHANNEL BOARD (file descriptors), with a `Guard` as JSON on its input. It ends
where the channel does, and hands over what it still holds.

The server writes with one interpreter, and in a crowd each system call of an answer waits for it: a refusal took most
of a second there. This process has an interpreter of its own. It looks at the head of a request without taking it
from the connection, refuses what the server would refuse, a completion that may come in but finds no room, and gives
everything else on untouched.
"""

import contextlib
import json
import selectors
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import cast

from headway.serve.admission import (
    HEADER_BYTES,
    Guard,
    NotAdmitted,
    answer_headers,
    check_host,
    check_key,
    check_origin,
    origin_of,
)
from headway.serve.board import Board
from headway.serve.error_shape import error_body

LOOK_SECONDS = 0.25
"""A connection that sent nothing so far goes to the server, which waits for it."""
_CREDIT_SECONDS = 5.0  # what was handed over takes a place until the server has seen it, and no longer than this
_LEAVE_SECONDS, _LEAVE_BYTES, _LEAVING = 2.0, 64 * 1024 * 1024, 256
_ACCEPTED = 64  # connections between two looks at what else is to do
_REST_SECONDS = 0.05  # where the system has no descriptors left
_COMPLETION = b"POST /v1/completions HTTP/1."


@dataclass(eq=False)
class _Client:
    """A connection here; leaving: it was refused, and what it still sends is dropped."""

    connection: socket.socket
    until: float
    leaving: bool = False
    dropped: int = 0


class Gate:
    """The loop."""

    def __init__(self, listening: socket.socket, channel: socket.socket, board: Board, guard: Guard) -> None:
        self._listening, self._channel, self._board, self._guard = listening, channel, board, guard
        self._selector = selectors.DefaultSelector()
        self._clients: dict[_Client, None] = {}  # in the order in which they came or were refused
        self._unsent: deque[socket.socket] = deque()
        self._outstanding: deque[float] = deque()  # when completions were handed over that the server has not seen
        self._seen = 0
        self._refused = 0
        self._rest_until = self._looked = 0.0
        self._retry_after_s = 1.0
        for one in (listening, channel):
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ)
        self._accepting = True

    def run(self) -> None:
        """Until the server closes the channel."""
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._channel:
                    if not self._channel_goes_on():
                        self._end()
                        return
                elif key.fileobj is self._listening:
                    self._accept()
                else:
                    self._look(cast(_Client, key.data))
            self._hand_over()
            self._let_go()
            self._rest()

    def _patience(self) -> float | None:
        return _REST_SECONDS if self._clients or self._unsent or not self._accepting else None

    def _channel_goes_on(self) -> bool:
        try:
            return bool(self._channel.recv(16))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _accept(self) -> None:
        for _ in range(_ACCEPTED):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # no descriptor or memory left: those who wait are taken when there is
                self._rest_until = time.monotonic() + _REST_SECONDS
                return
            connection.setblocking(False)
            client = _Client(connection, time.monotonic() + LOOK_SECONDS)
            self._clients[client] = None
            self._selector.register(connection, selectors.EVENT_READ, client)
            self._look(client)

    def _rest(self) -> None:
        """Take nobody in while the server takes nobody over, or there are no descriptors."""
        accepting = not self._unsent and time.monotonic() >= self._rest_until
        if accepting != self._accepting:
            self._accepting = accepting
            if accepting:
                self._selector.register(self._listening, selectors.EVENT_READ)
            else:
                self._selector.unregister(self._listening)

    def _look(self, client: _Client) -> None:
        if client.leaving:
            self._drop(client)
            return
        try:
            head = client.connection.recv(HEADER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        if not head:
            self._forget(client).close()
            return
        if not head.startswith(_COMPLETION):
            self._pass(client)
            return
        headers = headers_of(head)
        if headers is None or not self._admitted(headers):
            self._pass(client)  # whatever is wrong with it, the server says so
        elif self._full():
            self._refuse(client, headers)
        else:
            if is_whole(head, headers):  # else it takes no place before the rest has come, which may be never
                self._outstanding.append(time.monotonic())
            self._pass(client)

    def _admitted(self, headers: dict[bytes, bytes]) -> bool:
        try:
            check_host(self._guard, headers)
            check_origin(self._guard, "POST", "/v1/completions", headers)
            check_key(self._guard, "/v1/completions", headers)
        except NotAdmitted:
            return False
        return True

    def _full(self) -> bool:
        room, now = self._board.room(), time.monotonic()
        for _ in range(min(room.seen - self._seen, len(self._outstanding))):
            self._outstanding.popleft()
        self._seen = room.seen
        while self._outstanding and self._outstanding[0] < now - _CREDIT_SECONDS:
            self._outstanding.popleft()
        self._retry_after_s = room.retry_after_s
        return room.free <= len(self._outstanding)

    def _refuse(self, client: _Client, headers: dict[bytes, bytes]) -> None:
        after = max(1, round(self._retry_after_s))
        told = f"as many requests wait as may, and more are not taken on\nTry again in {after} s."
        body = json.dumps(error_body(told, 429, "overloaded")).encode()
        lines = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(after).encode()),
            (b"connection", b"close"),
            *answer_headers(self._guard, origin_of(headers)),
        ]
        head = b"HTTP/1.1 429 Too Many Requests\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"
        self._refused += 1
        self._board.tell_refused(self._refused)
        with contextlib.suppress(OSError):
            client.connection.send(head + body)  # into the empty buffer of a new connection: all of it
            client.connection.shutdown(socket.SHUT_WR)
        # Closed with bytes unread the connection would be reset, and the answer be lost on its way.
        client.leaving, client.until = True, time.monotonic() + _LEAVE_SECONDS
        del self._clients[client]
        self._clients[client] = None
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        try:
            while client.dropped < _LEAVE_BYTES:
                part = client.connection.recv(1 << 16)
                client.dropped += len(part)
                if not part:
                    break
        except BlockingIOError:
            return
        except OSError:
            pass
        self._forget(client).close()

    def _pass(self, client: _Client) -> None:
        self._unsent.append(self._forget(client))
        self._hand_over()

    def _hand_over(self) -> None:
        while self._unsent:
            try:
                socket.send_fds(self._channel, [b"c"], [self._unsent[0].fileno()])
            except OSError:  # the server is behind, or gone, which the channel's end will say
                return
            self._unsent.popleft().close()

    def _let_go(self) -> None:
        """Those that sent nothing go to the server, those that were refused and still send go."""
        now = time.monotonic()
        if now < self._looked + _REST_SECONDS:
            return
        self._looked = now
        leaving = sum(client.leaving for client in self._clients)
        for client in [client for client in self._clients if client.until <= now]:
            if client.leaving:
                self._forget(client).close()
            else:
                self._pass(client)
        for client in [client for client in self._clients if client.leaving][: max(0, leaving - _LEAVING)]:
            self._forget(client).close()

    def _forget(self, client: _Client) -> socket.socket:
        del self._clients[client]
        self._selector.unregister(client.connection)
        return client.connection

    def _end(self) -> None:
        """The server closes: who came before that is handed over, nobody else is taken in."""
        self._listening.close()
        for client in list(self._clients):
            if client.leaving:
                self._forget(client).close()
            else:
                self._unsent.append(self._forget(client))
        self._channel.settimeout(_LEAVE_SECONDS)
        self._hand_over()


def headers_of(head: bytes) -> dict[bytes, bytes] | None:
    """Names in small letters and their values; None for a head that is not whole, or not plain."""
    whole, end, _ = head.partition(b"\r\n\r\n")
    if not end:
        return None
    headers: dict[bytes, bytes] = {}
    for line in whole.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\n" in line or b"\r" in line or name.lower() in headers:
            return None
        headers[name.lower()] = value.strip()
    return None if b"expect" in headers else headers


def is_whole(head: bytes, headers: dict[bytes, bytes]) -> bool:
    """Whether the body has come with the head."""
    length = headers.get(b"content-length", b"")
    return length.isdigit() and len(head) - head.index(b"\r\n\r\n") - 4 >= int(length)


def main(arguments: list[str]) -> int:
    """Run the gate over the descriptors that were inherited."""
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, signal.SIG_IGN)  # a signal to the whole group is the server's to answer
    listening, channel, board = map(int, arguments)
    told = json.loads(sys.stdin.readline())
    guard = Guard(key=told["key"], hosts=frozenset(told["hosts"]), origins=frozenset(told["origins"]))
    Gate(socket.socket(fileno=listening), socket.socket(fileno=channel), Board(board), guard).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
