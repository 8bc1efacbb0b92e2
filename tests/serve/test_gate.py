"""The process at the door: what it refuses, what it hands over untouched, what is left where one side dies."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ResourceError
from headway.serve import gate
from headway.serve.admission import Guard
from headway.serve.board import UNLIMITED, Board, board_file
from headway.serve.gate import Gate, headers_of
from headway.serve.gatekeeping import Gatekeeping

PATIENCE = 30.0
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ASKED = HEAD + b"Content-Length: 2\r\n\r\n{}"


def new_board() -> Board:
    with board_file() as file:
        return Board(file.fileno())


class Door:
    """A gate in a thread, with this test in the place of the server."""

    def __init__(self, guard: Guard) -> None:
        self.board = new_board()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(PATIENCE)
        self._thread = threading.Thread(target=Gate(self.listening, theirs, self.board, guard).run, daemon=True)
        self._theirs = theirs
        self._thread.start()

    def came(self, content: bytes = ASKED) -> socket.socket:
        """A client that has sent something."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(content)
        return client

    def taken(self) -> socket.socket:
        """The next connection that is handed over."""
        _, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1)
        connection = socket.socket(fileno=descriptors[0])
        connection.settimeout(PATIENCE)
        return connection

    def close(self) -> None:
        self.channel.shutdown(socket.SHUT_WR)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._theirs.close()
        self.channel.close()


@contextmanager
def door(guard: Guard | None = None) -> Iterator[Door]:
    made = Door(guard or Guard())
    try:
        yield made
    finally:
        made.close()


def rest(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(1 << 16):
        found += part
    return found


def status(client: socket.socket) -> int:
    with client:
        return int(rest(client).split()[1])


def test_a_completion_is_refused_where_the_board_says_that_it_is_full() -> None:
    with door() as made:
        made.board.tell_room(0, 7.0)
        with made.came() as client:
            head, _, body = rest(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        headers = headers_of(head + b"\r\n\r\n")
        assert headers is not None
        assert headers[b"retry-after"] == b"7" and headers[b"content-length"] == str(len(body)).encode()
        assert headers[b"x-content-type-options"] == b"nosniff" and b"content-security-policy" in headers
        error = json.loads(body)["error"]
        assert error["type"] == "rate_limit_error" and error["code"] == "overloaded" and "7 s" in error["message"]
        assert made.board.refused() == 1


def test_what_is_handed_over_is_untouched() -> None:
    with door() as made:
        for content in (ASKED, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01 no HTTP", b"POST /v1/compl"):
            with made.came(content), made.taken() as server:
                assert server.recv(1000) == content


def test_a_connection_that_says_nothing_goes_to_the_server_that_waits_for_it() -> None:
    with door() as made:
        made.board.tell_room(0, 1.0)
        with made.came(b"") as client, made.taken() as server:
            client.sendall(ASKED)
            assert server.recv(1000) == ASKED


@pytest.mark.parametrize(
    "content",
    [
        ASKED.replace(b"localhost", b"evil.example"),
        HEAD + b"Origin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 2\r\n\r\n{}",
        ASKED.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nAuthorization: Bearer wrong-key\r\n"),
        HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b" folded: 1\r\nContent-Length: 2\r\n\r\n{}",
        ASKED.replace(b"/v1/completions", b"/v1/completions?x"),
        ASKED.replace(b"POST", b"PUT"),
        ASKED.replace(b"completions", b"translate"),
    ],
)
def test_only_who_may_come_in_learns_how_full_it_is(content: bytes) -> None:
    with door(Guard(key="the right key") if b"wrong-key" in content else None) as made:
        made.board.tell_room(0, 1.0)
        with made.came(content), made.taken() as server:
            assert server.recv(1000) == content
        assert made.board.refused() == 0


def test_with_the_right_key_a_completion_is_refused() -> None:
    with door(Guard(key="the right key", origins=frozenset({"http://page"}))) as made:
        made.board.tell_room(0, 1.0)
        with made.came(HEAD + b"Origin: http://page\r\nAuthorization: Bearer the right key\r\n\r\n") as client:
            assert b"access-control-allow-origin: http://page" in rest(client)


def test_no_more_are_let_in_than_there_is_room_for_until_the_server_has_seen_them() -> None:
    with door() as made:
        made.board.tell_room(2, 1.0)
        first, second = made.came(), made.came()
        with made.taken(), made.taken():
            assert status(made.came()) == 429
            made.board.tell_room(1, 1.0)
            made.board.tell_seen()
            assert status(made.came()) == 429  # the second is still on its way, and takes the place that is left
            made.board.tell_seen()
            with made.came(), made.taken() as server:
                assert server.recv(1000) == ASKED
        first.close()
        second.close()


def test_a_place_that_nobody_took_is_free_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_CREDIT_SECONDS", 0.3)
    with door() as made:
        made.board.tell_room(1, 1.0)
        with made.came(), made.taken():
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                with made.came() as client:
                    client.settimeout(0.1)
                    try:
                        assert client.recv(1000).startswith(b"HTTP/1.1 429")
                    except TimeoutError:
                        break  # handed over
            else:
                pytest.fail("nobody was let in any more")


def test_who_sends_no_body_takes_no_place_from_others() -> None:
    with door() as made:
        made.board.tell_room(1, 1.0)
        slow = [made.came(HEAD + b"Content-Length: 20\r\n\r\n{") for _ in range(5)]
        servers = [made.taken() for _ in slow]
        with made.came(), made.taken() as server:
            assert server.recv(1000) == ASKED
        for one in (*slow, *servers):
            one.close()


def test_a_refusal_reaches_a_client_that_still_sends() -> None:
    with door() as made:
        made.board.tell_room(0, 1.0)
        with made.came(HEAD + b"Content-Length: 8000000\r\n\r\n") as client:
            client.sendall(b" " * 8_000_000)
            assert rest(client).startswith(b"HTTP/1.1 429")


def test_who_was_accepted_before_the_end_is_handed_over() -> None:
    made = Door(Guard())
    clients = [made.came(b"") for _ in range(5)]
    with made.came(b"GET / HTTP/1.1\r\n\r\n"), made.taken():  # the five stand before this one
        made.channel.shutdown(socket.SHUT_WR)
        for _ in clients:
            made.taken().close()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", made.port), timeout=PATIENCE)
    made.close()
    for client in clients:
        client.close()


@given(st.binary(max_size=200))
def test_a_head_that_is_not_plain_is_nobody_s(noise: bytes) -> None:
    found = headers_of(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + noise)
    if found is not None:
        assert b"\r\n\r\n" in noise or noise.startswith(b"\r\n")
        assert found[b"host"] == b"localhost"
        assert all(name == name.lower().strip() and name for name in found)


def test_the_board_is_never_read_half_written() -> None:
    board, over = new_board(), threading.Event()
    assert board.room().free == UNLIMITED

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            board.tell_room(number, float(number))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(20_000):
            room = board.room()
            assert room.free == UNLIMITED or room.free == room.retry_after_s
    finally:
        over.set()
        writing.join()


class Greeter(asyncio.Protocol):
    """Says a word and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")
        transport.close()


def test_a_server_whose_door_s_process_ends_at_once_takes_its_clients_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> bytes:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        gatekeeping = Gatekeeping(listening, Guard())
        await gatekeeping.start(Greeter)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await gatekeeping.close()
        return said

    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert asyncio.run(run()) == b"welcome"
    assert "the process at the door ended" in caplog.text


def test_a_door_for_which_no_process_starts_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        gatekeeping = Gatekeeping(socket.create_server(("127.0.0.1", 0)), Guard())
        try:
            await gatekeeping.start(Greeter)
        finally:
            await gatekeeping.close()

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceError, match="No such file"):
        asyncio.run(run())


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    command = [sys.executable, "-m", "headway", "serve", "writer", "--port", "0", "--json", "--keep", str(folder)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(json.loads(process.stdout.readline())["address"].rstrip("/").rsplit(":", 1)[1])
        finally:
            process.kill()


def asked(port: int, body: dict[str, Any]) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    content = json.dumps({"model": "writer", "prompt": "Once", "temperature": 0, **body}).encode()
    client.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    return client


def figure(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def door_of(process: "subprocess.Popen[str]") -> int:
    """The process at the server's door."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system shows no processes")
def test_a_full_server_refuses_at_the_door_and_goes_on_where_the_door_s_process_dies(tmp_path: Path) -> None:
    with served(tmp_path, "--rows", "1", "--queue", "1") as (process, port):
        long = {"max_tokens": 4000, "stream": True}
        with asked(port, long) as running:
            running.recv(10)
            with asked(port, long):
                while figure(port, "headway_queued") < 1:
                    time.sleep(0.01)
                assert status(asked(port, {"max_tokens": 1})) == 429
                assert figure(port, "headway_refusals_total") == 1
                os.kill(door_of(process), signal.SIGKILL)
                assert status(asked(port, {"max_tokens": 1})) == 429  # the server says it itself now
                assert figure(port, "headway_refusals_total") == 2
        while figure(port, "headway_running") or figure(port, "headway_queued"):
            time.sleep(0.01)
        assert status(asked(port, {"max_tokens": 1})) == 200
        process.terminate()
        assert process.stderr is not None
        assert "the process at the door ended" in process.stderr.read()
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system shows no processes")
def test_no_process_is_left_at_the_door_of_a_server_that_was_killed(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port):
        left = door_of(process)
        process.kill()
        process.wait(PATIENCE)
        until = time.monotonic() + PATIENCE
        while Path(f"/proc/{left}").exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert not Path(f"/proc/{left}").exists()
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
