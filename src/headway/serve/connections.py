"""One connection: uvicorn's, which waits for a request for so long and no longer, and refuses in OpenAI's shape."""

import asyncio
import json
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from headway.serve.admission import HEADER_BYTES
from headway.serve.error_shape import error_body

HEADER_SECONDS = 15.0
UNREAD_SECONDS = 60
"""How long a client may take nothing of what was sent to it, on systems that can watch that."""


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1, with a time limit on the headers.

    Without one, clients that send nothing, or a byte a minute, would hold their connections for ever, and the server
    has only so many.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client came."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client went."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Bytes came; where they complete the headers the waiting ends, where they begin new ones it begins."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._waiting is None and self.conn.trailing_data[0]:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or has headers that are too large, is told so and goes."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # an answer is on its way: nothing can be told
            self.transport.close()
            return
        status, code, told = 400, "invalid_http", "this is no HTTP request"
        if len(self.conn.trailing_data[0]) > HEADER_BYTES:
            status, code = 431, "headers_too_large"
            told = f"headers may have {HEADER_BYTES:,} bytes, but these have more"
        body = json.dumps(error_body(told, status, code)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        events: list[Any] = [
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.abort()


def limit_unread(listening: socket.socket) -> None:
    """Connections of this socket end where the client takes nothing for a minute; without effect outside Linux."""
    if sys.platform == "linux":
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
