"""llama-cpp-python's server on the same weights: as many streams at once as the benchmark gives the other.

It takes the requests one after another behind a lock; that a new one interrupts the one before it is switched off.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from served import HOST, READY_SECONDS, request

_CONTEXT = 1024


@dataclass(frozen=True)
class Peer:
    """Tokens per second that reached the clients, or why there is no figure."""

    rate: float | None = None
    why: str | None = None


def llama_rate(python: str, model: str, work: Path, prompts: Sequence[str], *, new_tokens: int, threads: int) -> Peer:
    """All prompts at once, each continued greedily; q8_0 weights, made with `headway export` if not there."""
    missing = _missing(python)
    if missing is not None:
        return Peer(why=missing)
    gguf = work / "q8_0.gguf"
    if not gguf.exists():
        export = [sys.executable, "-m", "headway", "export", model, "--to", "gguf", "--type", "q8_0", "-o", str(gguf)]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(gguf), "--host", HOST, "--port", str(port)]
    command += ["--n_ctx", str(_CONTEXT), "--n_threads", str(threads), "--n_threads_batch", str(threads)]
    command += ["--interrupt_requests", "false", "--verbose", "false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not _ready(port, process):
            return Peer(why=f"its server did not get ready (exit code {process.poll()})")
        asyncio.run(_together(port, prompts[:1], 2))  # warms up
        return Peer(rate=asyncio.run(_together(port, prompts, new_tokens)))
    finally:
        process.terminate()
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _missing(python: str) -> str | None:
    try:
        tried = subprocess.run([python, "-c", "import llama_cpp.server.app"], capture_output=True, text=True)
    except OSError as error:
        return f"{python}: {error.strerror}"
    return None if tried.returncode == 0 else tried.stderr.strip().rsplit("\n", 1)[-1]


def _ready(port: int, process: "subprocess.Popen[bytes]") -> bool:
    until = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            if asyncio.run(request(port, "GET", "/v1/models", limit=10.0)).status == 200:
                return True
        time.sleep(0.2)
    return False


async def _together(port: int, prompts: Sequence[str], new_tokens: int) -> float:
    """Its events name no ids; each but the last of a stream is a token."""
    jobs = [{"prompt": text, "max_tokens": new_tokens, "temperature": 0.0, "stream": True} for text in prompts]
    began = time.perf_counter()
    answers = await asyncio.gather(*(request(port, "POST", "/v1/completions", job) for job in jobs))
    seconds = time.perf_counter() - began
    if not all(answer.finished for answer in answers):
        failed = next(answer for answer in answers if not answer.finished)
        raise RuntimeError(f"a stream did not end: {failed.status} {json.dumps(failed.body or failed.error)}")
    return sum(answer.texts for answer in answers) / seconds
