"""What stands before every route: limits, the host and origin checks, the key, and the answer's security headers.

Plain ASGI, so that disconnects reach the routes. A body is read here, up to its limit, before any route runs: nothing
larger is ever held, and a route cannot be kept waiting for one.
"""

import asyncio
import hmac
import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from headway.serve.errors_http import error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

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
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


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
            self._check_host(headers)
            self._check_origin(scope, headers, origin)
            if scope["method"] == "OPTIONS" and origin in self._guard.origins:
                await _answer(guarded, 204, b"", _PREFLIGHT)
                return
            self._check_key(scope, headers)
            body = await self._body(scope, headers, receive)
        except _Refusal as refusal:
            told = json.dumps(error_body(refusal.message, refusal.status, refusal.code)).encode()
            await _answer(guarded, refusal.status, told, [(b"connection", b"close")])
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
        if body.count(b"[") + body.count(b"{") <= self._guard.depth:
            return
        depth = 0
        for token in _TOKENS.finditer(body):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
            if depth > self._guard.depth:
                raise _Refusal(400, "too_deep", f"JSON may be nested {self._guard.depth} deep, but this is deeper")


_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"600"),
]


def is_open(path: str) -> bool:
    """Whether a path needs no key: the page's own files and the sign of life."""
    return path in ("/", "/healthz") or path.startswith("/static/")


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": body})


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
