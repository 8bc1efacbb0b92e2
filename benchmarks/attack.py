"""What a hostile client may try, against a server of its own on loopback: each trial must end, refused or cut, and the
server must be healthy, small and quick after it.

One command: `python benchmarks/attack.py` (a tiny model of random weights; about five minutes). `--smoke` is a short
run. Ends with code 1 where a trial failed: the server died, hung, answered 500, or grew by more than 16 MB in a trial.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve import random_model
from served import HOST, Server, request, serving

ALLOWED_GROWTH = 16_000_000
HEALTHY_SECONDS = 2.0
PATIENCE = 20.0


@dataclass(frozen=True)
class Size:
    """How much of each trial."""

    repeats: int = 100
    megabytes: int = 64
    connections: int = 200
    seconds: float = 10.0


SMOKE = Size(repeats=3, megabytes=2, connections=10, seconds=0.5)

Trial = Callable[[int, str, Size], Awaitable[list[int]]]
"""A port, a model's name and how much, in; the status codes that came back, out. 0 is a connection that was cut."""


def post(body: bytes, *, path: str = "/v1/completions", length: int | None = None, more: Sequence[str] = ()) -> bytes:
    """A request, whose stated length may be a lie."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", *more]
    if not any(line.lower().startswith("transfer-encoding") for line in more):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def answer_to(port: int, sent: bytes, *, ends: bool = False) -> int:
    """The status of what comes back for raw bytes; 0 where the connection is closed without an answer."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            with contextlib.suppress(OSError):
                writer.write(sent)
                await asyncio.wait_for(writer.drain(), PATIENCE)
                if ends:
                    writer.write_eof()
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            parts = line.split()
            return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return 0


async def giant_headers(port: int, model: str, size: Size) -> list[int]:
    """Many headers, a long one, a long path, a header that never ends."""
    many = post(b"{}", more=[f"X-{number}: {'a' * 1000}" for number in range(2_000)])
    long = post(b"{}", more=["X-Long: " + "a" * (size.megabytes * 100_000)])
    path = post(b"{}", path="/v1/" + "a" * 1_000_000)
    endless = b"POST / HTTP/1.1\r\nX-Endless: " + b"a" * (size.megabytes * 1_000_000)
    return [await answer_to(port, sent) for sent in (many, long, path, endless)]


async def giant_bodies(port: int, model: str, size: Size) -> list[int]:
    """A body stated as huge, one that is huge, and one that is huge in chunks and never ends."""
    stated = await answer_to(port, post(b"{", length=10**15))
    whole = await answer_to(port, post(b'{"prompt": "' + b"a" * (size.megabytes * 1_000_000)))
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    chunked = await answer_to(port, post(b"", more=["Transfer-Encoding: chunked"]) + chunk * size.megabytes)
    return [stated, whole, chunked]


async def tiny_chunks(port: int, model: str, size: Size) -> list[int]:
    """A flood of chunks of one byte, and of chunks whose sizes are no numbers."""
    head = post(b"", more=["Transfer-Encoding: chunked"])
    flood = await answer_to(port, head + b"1\r\n \r\n" * (size.repeats * 10_000))
    wrong = [await answer_to(port, head + line + b"\r\n") for line in (b"-1", b"f" * 40, b"1;" + b"a" * 100_000, b"\0")]
    return [flood, *wrong]


async def deep_json(port: int, model: str, size: Size) -> list[int]:
    """Nesting, long numbers, a hundred thousand keys, the same key again and again."""
    bodies = [b"[" * 500_000, b'{"a":' * 200_000, b'{"seed": ' + b"9" * 500_000 + b"}", b'{"temperature": 1e999999}']
    bodies.append(json.dumps({f"key{number}": number for number in range(100_000)}).encode())
    bodies.append(b"{" + b'"prompt": "a",' * 50_000 + b'"prompt": "a"}')
    bodies.append(json.dumps({"model": model, "prompt": ["a"] * 100_000}).encode())
    bodies.append(json.dumps({"model": model, "prompt": "a", "n": 10**6, "best_of": 10**9}).encode())
    bodies.append(json.dumps({"model": model, "prompt": "a", "stop": ["a" * 1_000] * 10_000}).encode())
    bodies.append(json.dumps({"model": model, "prompt": "a", "max_tokens": 10**18}).encode())
    return [await answer_to(port, post(body)) for body in bodies]


async def malformed_bytes(port: int, model: str, size: Size) -> list[int]:
    """Noise, and requests with some bytes changed."""
    draw, right = random.Random(5), post(json.dumps({"model": model, "prompt": "a", "max_tokens": 1}).encode())
    statuses = []
    for _ in range(size.repeats):
        statuses.append(await answer_to(port, draw.randbytes(draw.randrange(1, 2_000)), ends=True))
        changed = bytearray(right)
        for _ in range(draw.randrange(1, 8)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        statuses.append(await answer_to(port, bytes(changed), ends=True))
    return statuses


async def smuggled(port: int, model: str, size: Size) -> list[int]:
    """Two lengths, a length beside chunks, and hosts and paths that are not this server's."""
    two = post(b"{}", more=["Content-Length: 7"])
    both = post(b"0\r\n\r\n", more=["Transfer-Encoding: chunked", "Content-Length: 5"])
    host = b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    paths = ("/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/static/\\..\\x", "/%00")
    statuses = [await answer_to(port, sent) for sent in (two, both, host)]
    for path in paths:
        status = await answer_to(port, f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        statuses.append(500 if status == 200 else status)  # a file from outside must not come back
    return statuses


async def disconnects(port: int, model: str, size: Size) -> list[int]:
    """Clients that leave while they send, right after, at the first token and in the middle of the stream."""

    async def leave(phase: int) -> None:
        body = json.dumps({"model": model, "prompt": "a", "max_tokens": 100, "stream": True}).encode()
        sent = post(body)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(sent[: len(sent) // 2] if phase == 0 else sent)
            await writer.drain()
            if phase >= 2:
                await asyncio.wait_for(reader.read(1 if phase == 2 else 4_000), PATIENCE)
            writer.transport.abort() if phase % 2 else writer.close()
            await writer.wait_closed()

    for _ in range(size.repeats // 10 + 1):
        await asyncio.gather(*(leave(number % 4) for number in range(20)))
    return []


async def slow_clients(port: int, model: str, size: Size) -> list[int]:
    """Readers that never read and writers of a byte now and then, while somebody else's request is answered."""
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 200, "stream": True, "logprobs": 50}).encode()
    opened = []
    with contextlib.suppress(OSError):
        for number in range(size.connections):
            _, writer = await asyncio.open_connection(HOST, port, limit=1 << 10)
            writer.write(post(body) if number % 2 else post(body)[:40])
            opened.append(writer)
    until, statuses = time.monotonic() + size.seconds, []
    while time.monotonic() < until:
        for writer in opened[::2]:
            with contextlib.suppress(OSError):
                writer.write(b"X")
        answer = await request(port, "GET", "/healthz", limit=PATIENCE)
        statuses.append(answer.status if answer.seconds < HEALTHY_SECONDS else 500)
        await asyncio.sleep(0.2)
    for writer in opened:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return statuses


TRIALS: tuple[Trial, ...] = (
    giant_headers,
    giant_bodies,
    tiny_chunks,
    deep_json,
    malformed_bytes,
    smuggled,
    disconnects,
    slow_clients,
)


async def try_out(server: Server, model: str, trial: Trial, size: Size) -> str | None:
    """One trial and what was wrong with the server's ways, None where nothing was."""
    memory, descriptors = server.memory(), server.descriptors()
    try:
        statuses = await asyncio.wait_for(trial(server.port, model, size), 120.0 + 10 * size.seconds)
    except TimeoutError:
        return "it did not end"
    if server.process.poll() is not None:
        return f"the server ended with code {server.process.returncode}"
    if any(status >= 500 and status != 503 for status in statuses):
        return f"answers {sorted(set(statuses))}"
    if trial is not slow_clients and trial is not malformed_bytes and 200 in statuses:
        return f"something that should be refused was answered: {statuses}"
    await asyncio.sleep(1.0)
    answer = await request(server.port, "GET", "/healthz", limit=PATIENCE)
    if answer.status != 200 or answer.seconds > HEALTHY_SECONDS:
        return f"not healthy after it: {answer.status} after {answer.seconds:.1f} s"
    job = {"model": model, "prompt": "a", "max_tokens": 2, "stream": True}
    written = await request(server.port, "POST", "/v1/completions", job, limit=60.0)
    if not written.finished:
        return f"writes no more after it: {written.status} {written.body or written.error}"
    if server.memory() - memory > ALLOWED_GROWTH:
        return f"grew by {(server.memory() - memory) / 1e6:.0f} MB"
    if server.descriptors() > descriptors + 8:
        return f"holds {server.descriptors() - descriptors} more connections than before"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a short run, to see that it works")
    given = parser.parse_args(arguments)
    size, failed = SMOKE if given.smoke else Size(), 0
    with tempfile.TemporaryDirectory() as folder, serving([random_model(Path(folder), tiny=True)]) as server:
        model = asyncio.run(request(server.port, "GET", "/v1/models")).body["data"][0]["id"]
        for trial in TRIALS:
            began = time.monotonic()
            wrong = asyncio.run(try_out(server, model, trial, size))
            failed += wrong is not None
            print(f"{trial.__name__:18} {time.monotonic() - began:6.1f} s  {wrong or 'held'}", flush=True)
            if server.process.poll() is not None:
                break
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
