"""Clients that leave, dawdle or send too much: what they held is free again, and everybody else is served."""

import asyncio
import contextlib
import json
import random
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import running

from headway.errors import UsageError
from headway.serve import connections
from headway.serve.admission import Guard, NotAdmitted
from headway.serve.answer_room import AnswerRoom
from headway.serve.bench import Bench
from headway.serve.jobs import Cut, Refused
from headway.serve.safety import Safety

PATIENCE = 60.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(("writer", "en-fr"), tmp_path_factory.mktemp("lessons")) as found:
        yield found


def connected(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def asking(body: Any, path: str = "/v1/completions") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(content)}\r\n\r\n".encode() + content


def figure(address: str, name: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for(address: str, name: str, value: float) -> None:
    until = time.monotonic() + PATIENCE
    while (found := figure(address, name)) != value:
        assert time.monotonic() < until, f"{name} stays at {found}"
        time.sleep(0.05)


LONG = {"model": "writer", "prompt": "Once", "max_tokens": 16_000, "temperature": 1, "seed": 1}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_who_leaves_frees_the_rows(address: str, stream: bool) -> None:
    with connected(address) as client:
        client.sendall(asking({**LONG, "n": 5, "stream": stream}))
        wait_for(address, 'headway_rows{model="writer"}', 5)
        assert figure(address, "headway_answer_entries") == 80_000
    wait_for(address, 'headway_rows{model="writer"}', 0)
    wait_for(address, "headway_answer_entries", 0)


@pytest.mark.parametrize("many", [40, pytest.param(1000, marks=pytest.mark.soak)])
def test_nothing_is_left_of_clients_that_leave_at_any_moment(address: str, many: int) -> None:
    draw = random.Random(3)
    bodies = [
        ("/v1/completions", {**LONG, "stream": True, "echo": True, "logprobs": 3}),
        ("/v1/completions", {**LONG, "n": 3}),
        ("/v1/translate", {"model": "en-fr", "input": "Where is the man who wrote this?"}),
    ]
    for number in range(many):
        path, body = bodies[number % len(bodies)]
        sent = asking(body, path)
        with connected(address) as client:
            client.sendall(sent if draw.random() < 0.8 else sent[: draw.randrange(len(sent))])
            time.sleep(draw.random() * 0.05)
    for name in ('headway_rows{model="writer"}', 'headway_queued{model="writer"}', "headway_answer_entries"):
        wait_for(address, name, 0)
    wait_for(address, "headway_bench_waiting", 0)


def test_a_large_answer_needs_room(address: str) -> None:
    room = AnswerRoom(of_one=10, of_all=15)
    room.take(10)
    with pytest.raises(Refused):
        room.take(6)
    with pytest.raises(UsageError, match="11"):
        room.take(11)
    room.give(10)
    room.take(6)
    request = asking({**LONG, "n": 32, "logprobs": 200})
    with connected(address) as client:
        client.sendall(request)
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
    assert figure(address, "headway_answer_entries") == 0


def test_who_takes_too_long_to_ask_is_let_go(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with connected(address) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: local")
        assert _rest(client) == b""
    with connected(address) as client:  # also where an earlier request of the same connection was answered
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /healthz")
        assert b"HTTP" not in _rest(client)
    with connected(address) as client:  # but nobody is let go while the answer is being made
        client.sendall(asking({**LONG, "max_tokens": 300}))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def _rest(client: socket.socket) -> bytes:
    found = b""
    try:
        while part := client.recv(4096):
            found += part
    except ConnectionResetError:
        pass
    return found


def test_one_who_sends_too_much_still_reads_why(address: str) -> None:
    request = urllib.request.Request(
        f"{address}/v1/completions", b"x" * 8_000_000, {"content-type": "application/json"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=PATIENCE)
    with caught.value as error:
        assert error.code == 413 and json.load(error)["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    "piece", [b'"', b'\\"', b'"\\', b"[", b'["', b'"[', b"\\"], ids=["quote", "escaped", "open", "deep", "a", "b", "c"]
)
def test_no_body_takes_long_to_look_through(piece: bytes) -> None:
    safety = Safety(_nothing, Guard())
    for body in (b"[{" * 40 + b'"' + piece * (2_000_000 // len(piece)), piece * (2_000_000 // len(piece))):
        with contextlib.suppress(NotAdmitted):
            safety._check_depth(bytearray(body))


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b'{"a":' * 65, True),
        (b"[{}]" * 300, False),
        (b'"' + b"[" * 300 + b'"', False),
        (b'["\\\\", "' + b"[" * 300 + b'"]', False),
        (b'["\\"", ' + b"[" * 300 + b"]", True),
        (b'["\\\\\\"' + b"[" * 300 + b'"]', False),
        (b'["\\\\"' + b",[" * 70, True),
        (b"[" * 63 + b" " * 200_000 + b"[", False),  # across the blocks in which it is counted
        (b"[" * 63 + b" " * 200_000 + b"[[", True),
        (b'"' + b" " * 200_000 + b"[" * 300, False),
        (b"[" * 40 + b" " * 200_000 + b"]" * 40 + b" " * 200_000 + b"[" * 64, False),
    ],
)
def test_depth_is_counted_outside_of_strings(body: bytes, deep: bool) -> None:
    if deep:
        with pytest.raises(NotAdmitted):
            Safety(_nothing, Guard())._check_depth(bytearray(body))
    else:
        Safety(_nothing, Guard())._check_depth(bytearray(body))


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


def test_a_million_wrong_entries_are_one_message(address: str) -> None:
    for body in (
        {"model": "writer", "prompt": ["a"] + [{}] * 500_000},
        {"model": "writer", "prompt": [[1]] + [["a"]] * 300_000},
        {"model": "writer", **{f"x{at}": 1 for at in range(200_000)}},
        {"model": "writer", "logit_bias": {str(at): "x" for at in range(200_000)}},
    ):
        with connected(address) as client:
            client.sendall(asking(body))
            answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400") and len(answer) < 4096


def test_work_nobody_waits_for_is_not_done_and_the_end_waits_for_the_rest() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        assert gate.wait(PATIENCE)
        return number

    async def three() -> list[Any]:
        bench = Bench(2)
        first = asyncio.ensure_future(bench.run(lambda: work(1)))
        second = asyncio.ensure_future(bench.run(lambda: work(2)))
        await asyncio.sleep(0.1)
        with pytest.raises(Refused):
            await bench.run(lambda: work(3))
        second.cancel()
        third = asyncio.ensure_future(bench.run(lambda: work(4)))
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(asyncio.to_thread(bench.close, PATIENCE))
        await asyncio.sleep(0.1)
        gate.set()
        found = await asyncio.gather(first, second, third, return_exceptions=True)
        return [*found, await closing]

    first, second, third, closed = asyncio.run(three())
    assert (first, third, closed) == (1, 4, True)
    assert isinstance(second, asyncio.CancelledError)
    assert begun == [1, 4]


def test_work_that_waits_at_the_end_is_told_so() -> None:
    gate = threading.Event()

    async def cut() -> list[Any]:
        bench = Bench(2)
        tasks = [asyncio.ensure_future(bench.run(lambda: gate.wait(PATIENCE))) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert not await asyncio.to_thread(bench.close, 0.0)
        gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second = asyncio.run(cut())
    assert first is True and isinstance(second, Cut)


def test_listing_models_opens_none(tmp_path: Path) -> None:
    with running(("en-fr", "reader"), tmp_path) as found:
        with urllib.request.urlopen(f"{found}/v1/models", timeout=PATIENCE) as answer:
            listed = {one["id"]: one["headway"] for one in json.load(answer)["data"]}
        with urllib.request.urlopen(f"{found}/v1/models/reader", timeout=PATIENCE) as answer:
            assert json.load(answer)["headway"] == listed["reader"]
    assert listed["en-fr"]["parameters"] == 3_753_600 and listed["reader"]["vocabulary"] == 7168
    assert listed["reader"]["engine"] is None
