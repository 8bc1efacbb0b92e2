"""S6: SIGTERM at random times under load; every stream that began ends with its reason or a named error, and [DONE]."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from attacks.raw import Trial, scaled
from served import Answer, Server, begun, request

CLIENTS = 12
GRACE_SECONDS = 30.0
Opened = Callable[..., contextlib.AbstractContextManager[Server]]


def ending(serving: Opened, model: str, scale: float) -> Trial:
    """A server of its own for each signal."""
    draw, streams, cut, codes, slowest = random.Random(13), 0, 0, [], 0.0
    errors: dict[str, int] = {}
    count = scaled(100, scale, 3)
    for number in range(count):
        grace = 0.2 if number % 3 == 2 else GRACE_SECONDS  # some must be told that the time is over
        with serving([model], "--grace", str(grace), "--rows", "4") as server:
            answers, seconds = asyncio.run(_under_load(server, model.rsplit("/", 1)[-1], draw.uniform(0.02, 0.6)))
            codes.append(server.process.wait(60.0))
        slowest = max(slowest, seconds - grace)
        for answer in answers:
            if answer.status == 200 and answer.body is None:
                streams += 1
                cut += not _ended(answer)
                if isinstance(answer.error, dict) and "error" in answer.error:
                    code = str(answer.error["error"]["code"])
                    errors[code] = errors.get(code, 0) + 1
    figures = {
        "signals": count,
        "streams": streams,
        "cut": cut,
        "errors": errors,
        "exit_codes": sorted(set(codes)),
        "longest_after_grace_s": round(slowest, 2),
    }
    broken = [f"{cut} of {streams} streams were cut"] * bool(cut)
    broken += [f"exit codes {sorted(set(codes))}"] * (set(codes) != {0})
    broken += ["no stream began"] * (not streams)
    return Trial("S6", figures, broken)


def _ended(answer: Answer) -> bool:
    named = isinstance(answer.error, dict) and "error" in answer.error
    return answer.finished and (answer.reasons > 0 or named)


async def _under_load(server: Server, model: str, after: float) -> tuple[list[Answer], float]:
    """The answers that began, and the seconds from the signal to the process's end."""
    stop = False
    answers: list[Answer] = []

    async def client(number: int) -> None:
        body: dict[str, Any] = {"model": model, "prompt": f"{number}", "temperature": 0.0, "stream": number % 3 != 2}
        while not stop:
            answer = Answer()
            answers.append(answer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, IndexError):
                body["max_tokens"] = 20 + 30 * (number % 5)
                await begun(server.port, "POST", "/v1/completions", body, answer)
            if answer.status == 0:
                answers.remove(answer)  # it was not taken on
                return

    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    while not any(answer.ids for answer in answers):
        await asyncio.sleep(0.005)
    await asyncio.sleep(after)
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, IndexError):
        ready = await request(server.port, "GET", "/readyz", limit=5.0)
        assert ready.status != 200, "it says that it is ready after the signal"
    stop = True
    await asyncio.wait_for(asyncio.gather(*clients), GRACE_SECONDS + 30.0)
    await asyncio.to_thread(server.process.wait, 60.0)
    return answers, time.monotonic() - began
