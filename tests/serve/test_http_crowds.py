"""Crowds, slow clients and large requests: refusals come quickly, nobody who was taken on is lost, memory stays."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from running import running

from headway.serve.limits import Limits

PATIENCE = 60.0
ASKED = {"model": "writer", "prompt": "Once", "max_tokens": 12, "temperature": 0, "stream": True}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that writes four texts at once and lets eight wait."""
    with running(("writer",), tmp_path_factory.mktemp("lessons"), limits=Limits(rows=4, queue=8)) as found:
        assert answered(found, ASKED).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")  # the writer is open from here on
        yield found


def connected(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def asking(body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(content)}\r\n\r\n".encode() + content


def answered(address: str, body: Any) -> bytes:
    """All that comes back."""
    with connected(address) as client:
        client.sendall(asking(body))
        return rest(client)


def rest(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(1 << 16):
        found += part
    return found


def rows(address: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
        found = re.search(r"^headway_rows{[^}]*} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def ended(answer: bytes) -> bool:
    """Whether a stream came to its end: a finish reason or a named error, and then the last event."""
    told = re.search(rb'"finish_reason":"(length|stop)"|"error":\{"message"', answer)
    return answer.startswith(b"HTTP/1.1 200") and told is not None and b"data: [DONE]\n\n" in answer


@pytest.mark.parametrize("many", [60, pytest.param(600, marks=pytest.mark.soak)])
def test_of_a_crowd_each_is_answered_in_full_or_told_when_to_come_again(address: str, many: int) -> None:
    with ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(lambda number: answered(address, {**ASKED, "user": str(number)}), range(many)))
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429")]
    assert refused and all(b"retry-after: " in answer.lower() for answer in refused)
    assert all(b'"code":"overloaded"' in answer for answer in refused)
    taken = [answer for answer in answers if answer not in refused]
    assert len(taken) >= 12 and all(map(ended, taken))


def test_a_crowd_is_refused_before_its_requests_are_looked_at(address: str) -> None:
    with ExitStack() as stack:
        until = time.monotonic() + PATIENCE
        while not (answer := answered(address, {"nothing": "right"})).startswith(b"HTTP/1.1 429"):
            assert time.monotonic() < until, answer
            stack.enter_context(connected(address)).sendall(asking({**ASKED, "max_tokens": 16_000}))
    until = time.monotonic() + PATIENCE
    while not (answer := answered(address, {"nothing": "right"})).startswith(b"HTTP/1.1 400"):
        assert time.monotonic() < until, answer
    assert rows(address) == 0


def test_slow_readers_and_writers_hold_up_nobody(address: str) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(connected(address)) for _ in range(4)]
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(asking({**ASKED, "max_tokens": 100, "logprobs": 50}))
        for _ in range(40):
            stack.enter_context(connected(address)).sendall(b"POST /v1/compl")
        until = time.monotonic() + PATIENCE
        while rows(address):  # their texts are written, though they take none of them
            assert time.monotonic() < until
            time.sleep(0.05)
        for _ in range(5):
            assert ended(answered(address, ASKED))
        assert ended(rest(readers[0]))  # and who reads late still gets all of it


@contextmanager
def process(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "headway", "serve", "writer", "--port", "0", "--json", "--keep", str(folder)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield started, json.loads(started.stdout.readline())["address"].rstrip("/")
        finally:
            started.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_is_too_large_leaves_the_process_as_small_as_it_was(tmp_path: Path) -> None:
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    head = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    large = [
        head + b"x: " + b"a" * 20_000_000,
        head + b"content-length: 40000000\r\n\r\n" + b"a" * 20_000_000,
        head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 20,
        head + b"content-length: 2000000\r\n\r\n" + b"[" * 2_000_000,
    ]
    with process(tmp_path) as (started, address):
        assert ended(answered(address, ASKED))
        status = Path(f"/proc/{started.pid}/status")
        before = _kilobytes(status, "VmRSS")
        Path(f"/proc/{started.pid}/clear_refs").write_text("5")  # the peak counts from here
        for sent in large:
            with connected(address) as client:
                try:
                    client.sendall(sent)
                    assert client.recv(4096)[9:10] in (b"4", b"")
                except OSError:
                    pass
        assert _kilobytes(status, "VmHWM") - before < 16 * 1024
        assert ended(answered(address, ASKED))


def _kilobytes(status: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
