"""What stands before every route: limits, the host and origin checks, the key, and the answer's security headers.

Plain ASGI, so that disconnects reach the routes. A body is read here, up to its limit, before any route runs: nothing
larger is ever held, and a route cannot be kept waiting for one.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import numpy

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
from headway.serve.error_shape import error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DROPPED_BYTES, _DROPPED_SECONDS = 64 * 1024 * 1024, 2.0
_BLOCK = 1 << 16
_STEPS = numpy.zeros(256, numpy.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


class Safety:
    """The middleware."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        origin = origin_of(headers)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = answer_headers(self._guard, origin)
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            _check_size(scope)
            check_host(self._guard, headers)
            check_origin(self._guard, scope["method"], scope["path"], headers)
            if scope["method"] == "OPTIONS" and origin in self._guard.origins:
                await _answer(guarded, 204, b"", _PREFLIGHT, receive)
                return
            check_key(self._guard, scope["path"], headers)
            body = await self._body(scope, headers, receive)
        except NotAdmitted as refusal:
            told = json.dumps(error_body(refusal.message, refusal.status, refusal.code)).encode()
            await _answer(guarded, refusal.status, told, [(b"connection", b"close")], receive)
            return
        await self._app(scope, _replayed(body, receive), guarded)

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS"):
            return b""
        limit = self._guard.body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise NotAdmitted(413, "too_large", f"a body may have {limit:,} bytes, but this one has {int(length):,}")
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise NotAdmitted(415, "content_type", "a body must be application/json, and its content-type say so")
        body, until = bytearray(), time.monotonic() + self._guard.body_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise NotAdmitted(408, "slow", f"a body must come within {self._guard.body_seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise NotAdmitted(400, "gone", "the client went away")
            body += message.get("body", b"")
            if len(body) > limit:
                raise NotAdmitted(413, "too_large", f"a body may have {limit:,} bytes, but this one has more")
            if not message.get("more_body", False):
                break
        self._check_depth(body)
        return bytes(body)

    def _check_depth(self, body: bytearray) -> None:
        if body.count(b"[") + body.count(b"{") > self._guard.depth and _depth(body) > self._guard.depth:
            raise NotAdmitted(400, "too_deep", f"JSON may be nested {self._guard.depth} deep, but this is deeper")


def _depth(body: bytearray) -> int:
    """How deep the brackets outside of strings are nested; what is no JSON has some depth, too.

    Over arrays, for a body of millions of brackets must not hold up everybody's streams; block by block, for it must
    not take many times its size either.
    """
    plain = body
    if b"\\" in body:
        plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # a quote that is left begins or ends a string
    inside, depth, deepest = False, 0, 0
    for first in range(0, len(plain), _BLOCK):
        characters = numpy.frombuffer(plain, numpy.uint8, min(_BLOCK, len(plain) - first), first)
        quoted = numpy.logical_xor.accumulate(characters == ord('"')) ^ inside
        heights = numpy.cumsum(_STEPS[characters[~quoted]], dtype=numpy.int32)
        inside = bool(quoted[-1])
        if len(heights):
            deepest = max(deepest, depth + int(heights.max()))
            depth += int(heights[-1])
    return deepest


def _check_size(scope: Scope) -> None:
    """Headers that came in one piece are not limited by the connection, which limits what it must hold."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope["raw_path"]) > HEADER_BYTES:
        raise NotAdmitted(431, "headers_too_large", f"headers may have {HEADER_BYTES:,} bytes, but these have more")


_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"600"),
]


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], receive: Receive) -> None:
    """Answer before the body was read, and take what still comes of it for a moment.

    A connection that is closed while its client sends is reset, and many clients then never see the answer.
    """
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_drop(receive), _DROPPED_SECONDS)
    await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive) -> None:
    dropped = 0
    while dropped <= _DROPPED_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once, then what comes: a disconnect."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again
