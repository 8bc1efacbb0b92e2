"""Who may come in: the host, the origin and the key of a request, and the headers of every answer.

Of the standard library alone: the gate's process checks with it, too, and is to be small.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

HEADER_BYTES = 32 * 1024
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


class NotAdmitted(Exception):
    """A request that is answered with its status and its message, and goes no further."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def is_open(path: str) -> bool:
    """Whether a path needs no key: the page's own files and the sign of life."""
    return path in ("/", "/healthz") or path.startswith("/static/")


def origin_of(headers: Mapping[bytes, bytes]) -> str:
    """The page that asks; empty for what is no page of another site."""
    return headers.get(b"origin", b"").decode("latin-1")


def answer_headers(guard: Guard, origin: str) -> list[tuple[bytes, bytes]]:
    """What every answer has beside its own headers."""
    if origin in guard.origins:
        return [*_HEADERS, (b"access-control-allow-origin", origin.encode()), (b"vary", b"origin")]
    return _HEADERS


def check_host(guard: Guard, headers: Mapping[bytes, bytes]) -> None:
    """Only names of this machine, listed names and addresses: no name that a hostile page made point here."""
    host = headers.get(b"host", b"").decode("latin-1")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    if name in ("localhost", *guard.hosts):
        return
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        raise NotAdmitted(
            403, "host", "this host name is not served here; start the server with --allow-host NAME"
        ) from None


def check_origin(guard: Guard, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
    """Pages of other origins may not call, unless they are listed; a link may lead to the page."""
    origin = origin_of(headers)
    if origin in guard.origins:
        return
    own = headers.get(b"host", b"").decode("latin-1")
    foreign = origin not in ("", f"http://{own}", f"https://{own}")
    cross = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
    navigates = headers.get(b"sec-fetch-mode") == b"navigate" and method == "GET" and is_open(path)
    if foreign or (cross and not navigates):
        raise NotAdmitted(403, "origin", "pages of other origins may not call this server; --origin lists one that may")


def check_key(guard: Guard, path: str, headers: Mapping[bytes, bytes]) -> None:
    """The key, where one is set, compared in the same time whatever was given."""
    if guard.key is None or is_open(path):
        return
    given = headers.get(b"authorization", b"")
    if not hmac.compare_digest(given, b"Bearer " + guard.key.encode()):
        raise NotAdmitted(401, "invalid_api_key", "this server needs its key: Authorization: Bearer KEY")
