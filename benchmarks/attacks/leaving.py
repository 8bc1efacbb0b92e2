"""S2: clients that leave in every phase of a request; what was held for them is free at once, and nothing leaks."""

import asyncio
import contextlib
import json
import random
from typing import Any

from attacks.raw import PATIENCE, Trial, figures_of, post, scaled, threads_of, wait_until_free
from served import HOST, Server

PHASES = ("headers", "body", "waiting", "reading", "first", "stream", "whole", "end")
FREE_SECONDS = 0.25


async def leaving(server: Server, model: str, scale: float) -> Trial:
    """Crowds that leave together, with others behind them in the queue; then one at a time with the clock beside it."""
    port, draw = server.port, random.Random(7)
    await _crowd(port, model, draw, 2 * len(PHASES))  # what is made once is made now
    await wait_until_free(port)
    await asyncio.sleep(0.5)
    descriptors, threads = server.descriptors(), threads_of(server)
    count = scaled(1000, scale, 40)
    for _ in range(0, count, 40):
        await _crowd(port, model, draw, 40)
    free = await wait_until_free(port)
    slowest = 0.0
    for number in range(scaled(100, scale, 10)):
        await _leave(port, model, draw, PHASES[2 + number % 5])
        alone = await wait_until_free(port)
        slowest = max(slowest, 60.0 if alone is None else alone)
    step = (await figures_of(port))["step_seconds"]
    await asyncio.sleep(1.0)
    figures = {
        "left": count,
        "all_free_s": free,
        "slowest_alone_s": round(slowest, 3),
        "step_s": round(step, 4),
        "descriptors": server.descriptors() - descriptors,
        "threads": threads_of(server) - threads,
    }
    broken = ["something is held for clients that left"] * (free is None)
    broken += [f"a place was free after {slowest:.2f} s"] * (slowest > step + FREE_SECONDS)
    broken += [f"{figures['descriptors']} more descriptors"] * (server.descriptors() > descriptors + 1)
    # The pool of threads for short work may grow to its bound; every leaked one would be more than that.
    broken += [f"{figures['threads']} more threads"] * (threads_of(server) > threads + 8)
    return Trial("S2", figures, broken)


async def _crowd(port: int, model: str, draw: random.Random, count: int) -> None:
    await asyncio.gather(*(_leave(port, model, draw, PHASES[number % len(PHASES)]) for number in range(count)))


async def _leave(port: int, model: str, draw: random.Random, phase: str) -> None:
    sent = post(json.dumps(_body(model, phase)).encode())
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            if phase in ("headers", "body"):
                head = sent.index(b"\r\n\r\n")
                cut = draw.randrange(1, head) if phase == "headers" else draw.randrange(head + 4, len(sent))
                writer.write(sent[:cut])
                await asyncio.sleep(0.02)
            else:
                writer.write(sent)
                await asyncio.wait_for(_stay(reader, phase, draw), PATIENCE)
        finally:
            if draw.random() < 0.5:
                writer.transport.abort()
            writer.close()
            await writer.wait_closed()


async def _stay(reader: asyncio.StreamReader, phase: str, draw: random.Random) -> None:
    if phase == "end":
        await reader.read(1 << 20)
    elif phase == "first":
        await reader.read(1)
    elif phase == "stream":
        await reader.read(draw.randrange(1, 20_000))
    else:
        await asyncio.sleep(draw.random() * 0.1)


def _body(model: str, phase: str) -> dict[str, Any]:
    prompt = "a b c d " * 50 if phase == "reading" else "a"
    body: dict[str, Any] = {"model": model, "prompt": prompt, "temperature": 0.0, "stream": phase != "whole"}
    if phase == "end":
        return {**body, "max_tokens": 2}
    return {**body, "max_tokens": 2_000, "n": 8 if phase == "waiting" else 1, "logprobs": 2}
