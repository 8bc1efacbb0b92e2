"""S3: clients that hardly send and clients that do not read; everybody else writes as fast as before."""

import asyncio
import contextlib
import json
import statistics
import time

from attacks.raw import Trial, figures_of, post, scaled
from served import HOST, Server, request

SHARE = 1 / 1.2


async def slow(server: Server, model: str, scale: float) -> Trial:
    """Slow readers are written for first; then both kinds only hold on while others write."""
    port, count, opened = server.port, scaled(200, scale, 20), []
    seconds = scaled(300, scale, 6)
    before = await _rate(port, model, seconds / 3)
    memory = server.memory()
    body = {"model": model, "prompt": "a", "max_tokens": 200, "stream": True, "logprobs": 20, "temperature": 0.0}
    sent = post(json.dumps(body).encode())
    try:
        for number in range(2 * count):
            _, writer = await asyncio.open_connection(HOST, port, limit=1 << 10)
            writer.write(sent if number % 2 else sent[:20])
            opened.append(writer)
        until = time.monotonic() + 120.0
        while (held := await figures_of(port))["rows"] + held["queued"] and time.monotonic() < until:
            await asyncio.sleep(0.1)
        dripping = asyncio.create_task(_drip(opened[::2]))
        during = await _rate(port, model, seconds)
        dripping.cancel()
        grown = server.memory() - memory
    finally:
        for writer in opened:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    after = await _rate(port, model, seconds / 3)
    share = during / statistics.mean((before, after))
    figures = {
        "readers": count,
        "writers": count,
        "tokens_per_s": [round(rate, 1) for rate in (before, during, after)],
        "share": round(share, 3),
        "growth_mb": round(grown / 1e6, 1),
        "bytes_a_reader": grown // count,
    }
    return Trial("S3", figures, [f"the others write at {share:.2f} of their rate"] * (share < SHARE))


async def _rate(port: int, model: str, seconds: float) -> float:
    """Tokens per second of eight clients that ask again and again."""
    body = {"model": model, "prompt": "a", "max_tokens": 50, "stream": True, "temperature": 0.0}
    began, tokens = time.monotonic(), 0

    async def client() -> None:
        nonlocal tokens
        while time.monotonic() - began < seconds:
            answer = await request(port, "POST", "/v1/completions", body)
            tokens += len(answer.ids)

    await asyncio.gather(*(client() for _ in range(8)))
    return tokens / (time.monotonic() - began)


async def _drip(writers: list[asyncio.StreamWriter]) -> None:
    while True:
        for writer in writers:
            if not writer.transport.is_closing():  # the server has let it go
                writer.write(b"X")
        await asyncio.sleep(0.5)
