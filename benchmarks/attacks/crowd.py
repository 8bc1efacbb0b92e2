"""S1: twice and ten times what the server can do, in open loop: clients come whether or not others were served."""

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence
from typing import Any

from attacks.raw import Trial, figures_of, scaled
from served import Answer, Server, request

REFUSAL_SECONDS = 0.05
GOODPUT = 0.9
GROWTH = 0.05
NEW_TOKENS = 64
QUEUE = 32  # as the server is started


async def crowd(server: Server, model: str, scale: float) -> Trial:
    """First what it can do, with as many clients as it writes texts at once and half its queue; then the floods."""
    capacity = await _capacity(server.port, model, scaled(60, scale, 5))
    twice = await _flood(server, model, 2 * capacity, scaled(600, scale, 10))
    ten = await _flood(server, model, 10 * capacity, scaled(60, scale, 4))
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
    return Trial("S1", {"capacity_per_s": round(capacity, 2), "goodput": share, "twice": twice, "ten": ten}, broken)


def _job(model: str, number: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": model, "prompt": f"Number {number}", "max_tokens": NEW_TOKENS}
    return {**asked, "temperature": 0.0, "stream": number % 2 == 0}


def _answered(answer: Answer) -> bool:
    return answer.status == 200 and (answer.finished or (isinstance(answer.body, dict) and "choices" in answer.body))


async def _capacity(port: int, model: str, seconds: int) -> float:
    """Requests answered per second where each client waits for its answer before it asks again."""
    began, done, numbers = time.monotonic(), 0, iter(range(10**9))

    async def client() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            answer = await request(port, "POST", "/v1/completions", _job(model, next(numbers)))
            done += _answered(answer) and time.monotonic() - began < seconds

    await asyncio.gather(*(client() for _ in range(64 + QUEUE // 2)))
    return done / seconds


async def _flood(server: Server, model: str, per_second: float, seconds: int) -> dict[str, Any]:
    """So many a second come for so long."""
    tasks: list[asyncio.Task[Answer]] = []
    began, memory, queue, done = time.monotonic(), 0, 0.0, 0
    gc.collect()
    gc.freeze()  # what was asked before must not be gone through again and again: the pauses would be this client's own
    lags: list[float] = []  # of this process: what it sees late is not the server's doing

    async def one(number: int) -> Answer:
        nonlocal done
        answer = await request(server.port, "POST", "/v1/completions", _job(model, number))
        done += _answered(answer) and time.monotonic() - began < seconds
        return answer

    async def watch() -> None:
        """Beside the requests, which must not wait for its answers and then come all at once."""
        nonlocal queue
        while True:
            queue = max(queue, (await figures_of(server.port))["queued"])
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    while (passed := time.monotonic() - began) < seconds:
        tasks += [asyncio.create_task(one(number)) for number in range(len(tasks), int(passed * per_second))]
        if passed > seconds / 5 and not memory:
            memory = server.memory()
        slept = time.monotonic()
        await asyncio.sleep(0.01)
        lags.append(time.monotonic() - slept - 0.01)
    if watching.done():
        watching.result()  # raises what ended it
    watching.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    came = [answer for answer in answers if isinstance(answer, Answer)]
    refused = [answer for answer in came if answer.status in (429, 503)]
    waits = sorted(answer.seconds for answer in refused)
    good = [answer for answer in came if _answered(answer)]
    return {
        "asked": len(answers),
        "answered": len(good),
        "answered_per_s": round(done / seconds, 2),
        "refused": len(refused),
        "lost": len(answers) - len(good) - len(refused),
        "queue": queue,
        "retry_after": all(answer.retry_after for answer in refused if answer.status == 429),
        "refusal_p99_ms": round(1e3 * waits[int(0.99 * len(waits))], 1) if waits else None,
        "refusal_median_ms": round(1e3 * statistics.median(waits), 1) if waits else None,
        "client_lag_p99_ms": round(1e3 * _p99(lags), 1),
        "answer_p99_s": round(_p99([answer.seconds for answer in good]), 2),
        "growth": round((server.memory() - memory) / max(memory, 1), 4),
    }


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))] if values else 0.0
