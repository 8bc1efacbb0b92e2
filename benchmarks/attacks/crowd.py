"""S1: twice and ten times what the server can do, in open loop: clients come whether or not others were served."""

import asyncio
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attacks.flood import Asked, Flood
from attacks.raw import Trial, figures_of, scaled
from served import ANSWER_SECONDS, Server

REFUSAL_SECONDS = 0.05
GOODPUT = 0.9
GROWTH = 0.05
NEW_TOKENS = (32, 96)  # of unequal length, or all end at once, and begin at once, which no crowd does
QUEUE = 32  # as the server is started
CLIENTS = 64 + QUEUE // 2  # as many as it writes texts at once, and half its queue
TURN_SECONDS = 0.002
PATH = "/v1/completions"


async def crowd(server: Server, model: str, scale: float) -> Trial:
    """First what it can do, then the floods. Nothing else runs in its loop."""
    before = _capacity(server.port, model, scaled(60, scale, 5))
    twice = _flood(server, model, 2 * before, scaled(600, scale, 10))
    after = _capacity(server.port, model, scaled(60, scale, 5))
    capacity = (before + after) / 2  # a shared machine does not stay as fast as it was
    ten = _flood(server, model, 10 * capacity, scaled(60, scale, 4))
    broken = []
    for name, flood in (("twice", twice), ("ten", ten)):
        broken += [f"{name}: {flood['lost']} accepted requests lost"] * bool(flood["lost"])
        broken += [f"{name}: the queue held {flood['queue']}"] * (flood["queue"] > QUEUE)
        broken += [f"{name}: a refusal said no Retry-After"] * (not flood["retry_after"])
        slow = flood["refusal_p99_ms"]
        broken += [f"{name}: refusals took {slow} ms"] * (slow is not None and slow > 1e3 * REFUSAL_SECONDS)
        broken += [f"{name}: memory grew by {flood['growth']:.1%}"] * (flood["growth"] > GROWTH)
    share = round(twice["answered_per_s"] / capacity, 3)
    broken += [f"goodput is {share:.2f} of the capacity"] * (share < GOODPUT)
    return Trial(
        "S1",
        {"capacity_per_s": [round(before, 2), round(after, 2)], "goodput": share, "twice": twice, "ten": ten},
        broken,
    )


def _job(model: str, number: int) -> dict[str, Any]:
    least, most = NEW_TOKENS
    asked: dict[str, Any] = {"model": model, "prompt": f"Number {number}"}
    asked["max_tokens"] = least + number * 37 % (most - least + 1)
    return {**asked, "temperature": 0.0, "stream": number % 2 == 0}


def _capacity(port: int, model: str, seconds: int) -> float:
    """Requests answered per second where each client waits for its answer before it asks again."""
    done = 0
    until = time.monotonic() + seconds

    def ended(asked: Asked) -> None:
        nonlocal done
        done += asked.answered and time.monotonic() < until

    flood, numbers = Flood(port, ended), iter(range(10**9))
    while time.monotonic() < until:
        while flood.open < CLIENTS:
            flood.ask(PATH, _job(model, next(numbers)))
        flood.turn(0.1)
    flood.drain(ANSWER_SECONDS)
    return done / seconds


def _longest_queue(port: int, over: threading.Event) -> float:
    """Until it is over. Beside the requests, which must not wait for its answers and then come all at once."""
    longest = 0.0
    while not over.wait(0.25):
        longest = max(longest, asyncio.run(figures_of(port))["queued"])
    return longest


def _flood(server: Server, model: str, per_second: float, seconds: int) -> dict[str, Any]:
    """So many a second come for so long."""
    answered: list[float] = []
    refusals: list[float] = []
    lags: list[float] = []  # of this process: what it sees late is not the server's doing
    began, memory, in_time, untold, asked_for = time.monotonic(), 0, 0, 0, 0

    def ended(asked: Asked) -> None:
        nonlocal in_time, untold
        if asked.answered:
            answered.append(asked.seconds)
            in_time += time.monotonic() - began < seconds
        elif asked.refused:
            refusals.append(asked.seconds)
            untold += asked.status == 429 and not asked.retry_after

    flood, over = Flood(server.port, ended), threading.Event()
    watching = ThreadPoolExecutor(1).submit(_longest_queue, server.port, over)
    while (passed := time.monotonic() - began) < seconds:
        lags.append(max(0.0, passed - asked_for / per_second))
        while asked_for < passed * per_second:
            flood.ask(PATH, _job(model, asked_for))
            asked_for += 1
        if passed > seconds / 5 and not memory:
            memory = server.memory()
        flood.turn(TURN_SECONDS)
    flood.drain(ANSWER_SECONDS)
    growth = (server.memory() - memory) / max(memory, 1)
    over.set()
    waits = sorted(refusals)
    return {
        "asked": asked_for,
        "answered": len(answered),
        "answered_per_s": round(in_time / seconds, 2),
        "refused": len(refusals),
        "lost": asked_for - len(answered) - len(refusals),
        "queue": watching.result(),
        "retry_after": untold == 0,
        "refusal_p99_ms": round(1e3 * _p99(waits), 1) if waits else None,
        "refusal_median_ms": round(1e3 * statistics.median(waits), 1) if waits else None,
        "client_lag_p99_ms": round(1e3 * _p99(lags), 1),
        "answer_p99_s": round(_p99(answered), 2),
        "growth": round(growth, 4),
    }


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))] if values else 0.0
