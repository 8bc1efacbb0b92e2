"""Bytes as they are, and what a server's process holds: for trials that no HTTP client would send."""

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from served import HOST, Server

PATIENCE = 20.0


@dataclass(frozen=True)
class Trial:
    """What one trial found: its figures, and those of its claims that did not hold."""

    id: str
    figures: Mapping[str, Any]
    broken: Sequence[str]


def scaled(full: float, scale: float, least: int) -> int:
    """So many at this scale."""
    return max(least, round(full * scale))


def post(body: bytes, *, path: str = "/v1/completions", length: int | None = None, more: Sequence[str] = ()) -> bytes:
    """A request, whose stated length may be a lie."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", *more]
    if not any(line.lower().startswith("transfer-encoding") for line in more):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def answer_to(port: int, sent: bytes, *, ends: bool = False) -> int:
    """The status of what comes back for raw bytes; 0 where the connection is closed without one, -1 where it hangs."""
    try:
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
    except TimeoutError:
        return -1
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return 0


async def text_of(port: int, path: str, *, key: str | None = None) -> str:
    """The whole answer to a GET, its head included."""
    reader, writer = await asyncio.open_connection(HOST, port)
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Connection: close"]
    lines += [f"Authorization: Bearer {key}"] * (key is not None)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        return (await asyncio.wait_for(reader.read(), PATIENCE)).decode("utf-8", "replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def figures_of(port: int) -> dict[str, float]:
    """The gauges of /metrics that say what is held, summed over the models."""
    text, found = await text_of(port, "/metrics"), {}
    for name in ("rows", "running", "queued", "prompt_tokens", "answer_entries", "bench_waiting"):
        values = re.findall(rf"^headway_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        found[name] = sum(map(float, values))
    steps = re.findall(r"^headway_step_seconds_(sum|count){.*} (\S+)$", text, re.MULTILINE)
    totals = {kind: sum(float(value) for one, value in steps if one == kind) for kind in ("sum", "count")}
    return {**found, "step_seconds": totals["sum"] / max(totals["count"], 1.0)}


async def wait_until_free(port: int, seconds: float = 60.0) -> float | None:
    """The seconds until nothing is held for anybody, None where that did not come."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < seconds:
        found = await figures_of(port)
        if not any(value for name, value in found.items() if name != "step_seconds"):
            return loop.time() - began
        await asyncio.sleep(0.01)
    return None


def threads_of(server: Server) -> int:
    """How many threads the process has, 0 where the system does not tell."""
    folder = Path(f"/proc/{server.process.pid}/task")
    return len(list(folder.iterdir())) if folder.exists() else 0


def forget_peak(server: Server) -> None:
    """The most memory is counted anew from here on, where the system allows it."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def peak_of(server: Server) -> int:
    """Bytes of the largest resident set so far, 0 where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
