"""A `headway serve` in a process of its own on loopback, and a small client that takes streams: standard library only.

No answer is trusted to be well formed and none is waited for without a limit.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
READY_SECONDS = 180.0
ANSWER_SECONDS = 300.0
_MOST = 1 << 26


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    def memory(self) -> int:
        """Bytes of its resident set and of its processes', 0 where the system does not tell."""
        own = Path(f"/proc/{self.process.pid}")
        if not own.exists():
            return 0
        pages = 0
        for pid in [str(self.process.pid), *(own / f"task/{self.process.pid}/children").read_text().split()]:
            with contextlib.suppress(OSError):  # it just ended
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many files and sockets it holds, 0 where the system does not tell."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return len(list(folder.iterdir())) if folder.exists() else 0


@dataclass
class Answer:
    """What came back: `times` are those of each token, in seconds after the request was sent."""

    status: int = 0
    retry_after: str | None = None
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    texts: int = 0  # events with text in them
    finished: bool = False
    reasons: int = 0  # finish reasons
    error: Any = None
    body: Any = None


@contextlib.contextmanager
def serving(models: Sequence[str], *more: str, key: str | None = None) -> Iterator[Server]:
    """The server, once it is ready; it ends with the block. Raises RuntimeError where it does not get ready."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "headway", "serve", *models, "--port", str(port), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        began = time.monotonic()
        while asyncio.run(_status(port, "/readyz", key)) != 200:
            if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                raise RuntimeError(f"{' '.join(command[1:])} did not get ready (exit code {process.poll()})")
            time.sleep(0.1)
        yield Server(port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _status(port: int, path: str, key: str | None) -> int:
    try:
        return (await request(port, "GET", path, key=key, limit=10.0)).status
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return 0


async def request(
    port: int, method: str, path: str, body: Any = None, *, key: str | None = None, limit: float = ANSWER_SECONDS
) -> Answer:
    """One request on a connection of its own; a stream of events is read to its end."""
    return await asyncio.wait_for(_request(port, method, path, body, key), limit)


async def begun(port: int, method: str, path: str, body: Any, answer: Answer) -> None:
    """As `request`, into an answer that its caller holds: what came before an error is seen then."""
    await asyncio.wait_for(_request(port, method, path, body, None, answer), ANSWER_SECONDS)


# Six parameters: a request's own, and where its answer goes.
async def _request(port: int, method: str, path: str, body: Any, key: str | None, into: Answer | None = None) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}:{port}",
        "Connection: close",
        f"Content-Length: {len(content)}",
    ]
    lines += ["Content-Type: application/json"] * (body is not None)
    lines += [f"Authorization: Bearer {key}"] * (key is not None)
    answer, began = into or Answer(), time.perf_counter()
    reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 22)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await writer.drain()
        headers = await _head(reader, answer)
        answer.retry_after = headers.get("retry-after")
        if "text/event-stream" in headers.get("content-type", ""):
            await _events(reader, answer, began)
        else:
            text = await _bounded(reader)
            answer.body = _json(_unchunked(text) if headers.get("transfer-encoding") == "chunked" else text)
    finally:
        answer.seconds = time.perf_counter() - began
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


async def _head(reader: asyncio.StreamReader, answer: Answer) -> dict[str, str]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    answer.status = int(status.split()[1])
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def _events(reader: asyncio.StreamReader, answer: Answer, began: float) -> None:
    """Lines of events, whose chunks do not matter here: what is no "data:" line is a chunk's size or blank."""
    async for line in reader:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            answer.finished = True
            return
        event = _json(data)
        if not isinstance(event, dict) or "error" in event:
            answer.error = event
            continue
        now = time.perf_counter() - began
        for choice in event.get("choices", ()):
            ids = choice.get("ids") or []
            answer.ids += ids
            answer.times += [now] * len(ids)
            answer.texts += bool(choice.get("text"))
            answer.reasons += choice.get("finish_reason") is not None


async def _bounded(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes, and not more than a right answer can have."""
    found = bytearray()
    while len(found) < _MOST and (part := await reader.read(1 << 20)):
        found += part
    return bytes(found)


def _unchunked(text: bytes) -> bytes:
    whole = b""
    while text:
        size, _, text = text.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        whole, text = whole + text[:length], text[length + 2 :]
    return whole


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
