"""From the thread that writes to the loop that answers: one wake-up for all that has come, however many it is for."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Mailbox:
    """Calls of a loop's own functions, from any thread, in order.

    A step of the model has something for every client; waking the loop for each would cost a system call each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._lock = threading.Lock()
        self._woken = False

    def put(self, call: Callable[[Any], None], value: Any) -> None:
        """The loop will do `call(value)`; nothing happens where the loop is gone: the server ended first."""
        with self._lock:
            self._calls.append((call, value))
            if self._woken:
                return
            self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._hand_out)
        except RuntimeError:
            return

    def _hand_out(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, deque()
            self._woken = False
        for call, value in calls:
            call(value)
