"""What the server lets in: hosts, origins, keys, sizes; and that nothing hostile brings it down."""

import json
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from running import running

from headway.errors import UsageError
from headway.serve.admission import Guard
from headway.serve.server import Serving

KEY = "a-key-of-some-length"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    guard = Guard(key=KEY, origins=frozenset({"https://friend.example"}), body_bytes=100_000, body_seconds=1.0)
    with running(("writer",), tmp_path_factory.mktemp("lessons"), guard=guard) as found:
        yield found


def ask(
    address: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named = {"content-type": "application/json", **named}
    request = urllib.request.Request(address + path, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def with_key(**headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}", **headers}


def routes(address: str) -> list[tuple[str, str]]:
    document = json.loads(ask(address, "/openapi.json", **with_key())[2])
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


def test_every_route_but_the_sign_of_life_and_the_page_needs_the_key(address: str) -> None:
    found = routes(address)
    assert len(found) > 15
    for method, path in [*found, ("GET", "/openapi.json"), ("GET", "/nowhere"), ("DELETE", "/v1/models")]:
        status, _, body = ask(address, path, method, b"{}" if method == "POST" else None)
        assert status == (200 if path == "/healthz" else 401), (method, path, body)
        assert ask(address, path, method, b"{}" if method == "POST" else None, authorization="Bearer no")[0] in (
            200,
            401,
        )
    assert ask(address, "/healthz")[0] == 200
    assert ask(address, "/static/nothing.mjs")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_a_name_that_is_not_ours_is_refused(address: str, host: str) -> None:
    assert ask(address, "/healthz", host=host)[0] in (400, 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_others_reach_nothing(address: str, origin: str) -> None:
    for path, method in (("/healthz", "GET"), ("/v1/models", "GET"), ("/v1/completions", "POST")):
        body = b"{}" if method == "POST" else None
        status, headers, _ = ask(address, path, method, body, **with_key(origin=origin))
        assert status == 403 and headers["access-control-allow-origin"] is None
    assert ask(address, "/v1/models", **with_key(sec_fetch_site="cross-site"))[0] == 403


def test_a_listed_page_may_call(address: str) -> None:
    status, headers, _ = ask(address, "/v1/models", **with_key(origin="https://friend.example"))
    assert status == 200 and headers["access-control-allow-origin"] == "https://friend.example"
    assert ask(address, "/v1/completions", "OPTIONS", origin="https://friend.example")[0] == 204


def test_answers_carry_the_policy(address: str) -> None:
    for path in ("/", "/healthz", "/v1/models"):
        _, headers, _ = ask(address, path)
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_what_is_no_json_is_refused(address: str) -> None:
    assert ask(address, "/v1/completions", "POST", b"a=b", **with_key(content_type="text/plain"))[0] == 415
    for body in (b"", b"{", b"[1]", b"nan", b"\xff\xfe", b'{"model": "writer", "prompt": NaN}'):
        assert ask(address, "/v1/completions", "POST", body, **with_key())[0] == 400
    deep = b'{"model":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert ask(address, "/v1/completions", "POST", deep, **with_key())[0] == 400


def raw(address: str, sent: bytes, *, seconds: float = 10.0) -> bytes:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except OSError:
            pass
        return found


def test_large_and_slow_bodies_are_refused_early(address: str) -> None:
    lines = ["POST /v1/completions HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {KEY}"]
    head = "\r\n".join([*lines, "content-type: application/json", ""])
    assert b" 413 " in raw(address, head.encode() + b"content-length: 400000000\r\n\r\n" + b"x" * 1000)
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b" 413 " in raw(address, head.encode() + b"transfer-encoding: chunked\r\n\r\n" + chunk * 3)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b"content-length: 100\r\n\r\n{")
        assert b" 408 " in connection.recv(4096)
    assert b" 431 " in raw(address, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")[:40]


def test_malformed_requests_never_bring_it_down(address: str) -> None:
    draw = random.Random(11)
    lines = [b"POST /v1/completions HTTP/1.1", b"host: 127.0.0.1", b"content-type: application/json"]
    good = b"\r\n".join([*lines, b"content-length: 2", b"", b"{}"])
    for number in range(150):
        sent = bytearray(good)
        for _ in range(draw.randint(1, 12)):
            sent[draw.randrange(len(sent))] = draw.randrange(256)
        answer = raw(address, bytes(sent[: draw.randint(1, len(sent))]))
        assert b" 500 " not in answer[:20] and b"Traceback" not in answer, bytes(sent)
        if number % 50 == 0:
            assert ask(address, "/healthz")[0] == 200


def test_an_address_that_others_reach_needs_a_key() -> None:
    with pytest.raises(UsageError, match="--key-file"):
        Serving(models=("writer",), host="0.0.0.0")
    assert Serving(models=("writer",), host="0.0.0.0", open_to_all=True).key is None
    with pytest.raises(UsageError, match="8 printable"):
        Serving(models=("writer",), key="short")
