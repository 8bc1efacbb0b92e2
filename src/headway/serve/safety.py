"""What stands before every route: limits, the host and origin checks, the key, and the answer's security headers.

Plain ASGI, so that disconnects reach the routes. A body is read here, up to its limit, before any route runs: nothing
larger is ever held, and a route cannot be kept waiting for one.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy

from headway.serve.errors_http import error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER_BYTES = 32 * 1024
_DROPPED_BYTES, _DROPPED_SECONDS = 64 * 1024 * 1024, 2.0
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_BLOCK = 1 << 16
_STEPS = numpy.zeros(256, numpy.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What is let in.

    key: None lets everyone in. hosts: names that the Host header may have beside those of this machine and addresses;
    origins: other pages that may call. body_bytes: of a request; body_seconds: in which it must have come. depth: of
    nested JSON.
    """

    key: str | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    body_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 30.0
    depth: int = 64


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


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
        origin = headers.get(b"origin", b"").decode("latin-1")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [*_HEADERS]
                if origin in self._guard.origins:
                    added += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"origin")]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        try:
            _check_size(scope)
            self._check_host(headers)
            self._check_origin(scope, headers, origin)
            if scope["method"] == "OPTIONS" and origin in self._guard.origins:
                await _answer(guarded, 204, b"", _PREFLIGHT, receive)
                return
            self._check_key(scope, headers)
            body = await self._body(scope, headers, receive)
        except _Refusal as refusal:
            told = json.dumps(error_body(refusal.message, refusal.status, refusal.code)).encode()
            await _answer(guarded, refusal.status, told, [(b"connection", b"close")], receive)
            return
        await self._app(scope, _replayed(body, receive), guarded)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Only names of this machine, listed names and addresses: no name that a hostile page made point here."""
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
        if name in ("localhost", *self._guard.hosts):
            return
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            raise _Refusal(
                403, "host", "this host name is not served here; start the server with --allow-host NAME"
            ) from None

    def _check_origin(self, scope: Scope, headers: dict[bytes, bytes], origin: str) -> None:
        if origin in self._guard.origins:
            return
        own = headers.get(b"host", b"").decode("latin-1")
        foreign = origin not in ("", f"http://{own}", f"https://{own}")
        cross = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        navigates = (
            headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET" and is_open(scope["path"])
        )
        if foreign or (cross and not navigates):
            raise _Refusal(
                403, "origin", "pages of other origins may not call this server; --origin lists one that may"
            )

    def _check_key(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if self._guard.key is None or is_open(scope["path"]):
            return
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._guard.key.encode()):
            raise _Refusal(401, "invalid_api_key", "this server needs its key: Authorization: Bearer KEY")

    async def _body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS"):
            return b""
        limit = self._guard.body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise _Refusal(413, "too_large", f"a body may have {limit:,} bytes, but this one has {int(length):,}")
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise _Refusal(415, "content_type", "a body must be application/json, and its content-type say so")
        body, until = bytearray(), time.monotonic() + self._guard.body_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise _Refusal(408, "slow", f"a body must come within {self._guard.body_seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise _Refusal(400, "gone", "the client went away")
            body += message.get("body", b"")
            if len(body) > limit:
                raise _Refusal(413, "too_large", f"a body may have {limit:,} bytes, but this one has more")
            if not message.get("more_body", False):
                break
        self._check_depth(body)
        return bytes(body)

    def _check_depth(self, body: bytearray) -> None:
        if body.count(b"[") + body.count(b"{") > self._guard.depth and _depth(body) > self._guard.depth:
            raise _Refusal(400, "too_deep", f"JSON may be nested {self._guard.depth} deep, but this is deeper")


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
        raise _Refusal(431, "headers_too_large", f"headers may have {HEADER_BYTES:,} bytes, but these have more")


_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"600"),
]


def is_open(path: str) -> bool:
    """Whether a path needs no key: the page's own files and the sign of life."""
    return path in ("/", "/healthz") or path.startswith("/static/")


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
