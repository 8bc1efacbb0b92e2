"""A measurement in a process of its own, so that memory peaks, threads and compiled code start clean."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def alone(function: Callable[..., Any], *given: Any) -> Any:
    """The function's value, computed in a fresh process that ends with this one, however this one ends."""
    with ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    ) as process:
        return process.submit(function, *given).result()


def _end_with_parent() -> None:
    """A killed parent must not leave a run behind that slows the next measurement."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
