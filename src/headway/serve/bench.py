"""The one thread on which everything runs that is no continuation: readers, translators, looks inside."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from headway.serve.jobs import Cut, Refused

T = TypeVar("T")


class Bench:
    """One thread; so many may wait for it.

    One, so that a look inside never takes more than a core from the writers, and so that no model is run twice at once.
    """

    def __init__(self, waiting: int) -> None:
        self._most = waiting
        self._changed = threading.Condition()
        self._inside = 0
        self._closing = False
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="headway-bench")

    @property
    def inside(self) -> int:
        """How many requests wait or are worked on."""
        with self._changed:
            return self._inside

    async def run(self, work: Callable[[], T]) -> T:
        """The work's result; work that has not begun when the caller is cancelled is not done at all.

        Raises Refused where too many wait already or the server closes, Cut where it closed first.
        """
        with self._changed:
            if self._closing:
                raise Refused("the server is closing and takes no more requests\nTry again soon.", 5.0)
            if self._inside >= self._most:
                raise Refused(f"{self._inside} requests wait already\nTry again in a moment.", 2.0)
            self._inside += 1
            future = self._pool.submit(work)
        future.add_done_callback(self._leave)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if future.cancelled() and (task is None or not task.cancelling()):
                raise Cut("the server closed before the request was done\nTry again soon.") from None
            raise

    def close(self, grace_s: float) -> bool:
        """Take no more work and let what there is be done within so many seconds; True where all of it was."""
        with self._changed:
            self._closing = True
            done = self._changed.wait_for(lambda: not self._inside, max(0.0, grace_s))
        self._pool.shutdown(wait=False, cancel_futures=True)
        return done

    def _leave(self, future: "concurrent.futures.Future[T]") -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
