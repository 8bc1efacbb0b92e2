"""What the writing thread tells the loop: all of it, in order, with one wake-up for what comes together."""

import asyncio
import threading

import pytest

from headway.serve.mailbox import Mailbox


def test_what_is_put_from_a_thread_comes_in_order_and_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gathered() -> tuple[list[int], int]:
        loop, found, wakes = asyncio.get_running_loop(), list[int](), 0
        wake = loop.call_soon_threadsafe

        def counted(*given: object) -> asyncio.Handle:
            nonlocal wakes
            wakes += 1
            return wake(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        mailbox = Mailbox(loop)
        writing = threading.Thread(target=lambda: [mailbox.put(found.append, number) for number in range(100)])
        writing.start()
        writing.join()  # the loop stands still meanwhile
        first = wakes
        while len(found) < 100:
            await asyncio.sleep(0)
        mailbox.put(found.append, 100)  # and what comes later wakes it again
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return found, first

    found, first = asyncio.run(gathered())
    assert found == list(range(101)) and first == 1


def test_what_comes_after_the_end_of_the_loop_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    found: list[int] = []
    mailbox.put(found.append, 1)
    mailbox.put(found.append, 2)
    assert found == []
