"""The extension module, where it was built; else one clear error, and how to build it."""

import importlib
import os
from types import ModuleType
from typing import Any

from headway.errors import ConfigError, ResourceError

MOST_THREADS = 255
HOW_TO_BUILD = "Install a C++20 compiler (g++ 11 or newer) and install headway again; engine=torch runs without it."


def is_built() -> bool:
    """Whether the extension is there and this Python can load it."""
    return _load() is not None


def native() -> Any:
    """The extension module. Raises ResourceError where it was not built."""
    module = _load()
    if module is None:
        raise ResourceError(f"the compiled engine was not built when headway was installed\n{HOW_TO_BUILD}")
    return module


def threads_here() -> int:
    """How many threads compute unless it is said: OMP_NUM_THREADS, or as many cores as this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and 1 <= int(asked) <= MOST_THREADS:
        return int(asked)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_THREADS)


def check_threads(threads: int) -> None:
    """Raises ConfigError outside 1..255."""
    if not 1 <= threads <= MOST_THREADS:
        raise ConfigError(f"threads must be in 1..{MOST_THREADS}, but got {threads}")


def _load() -> ModuleType | None:
    name = "headway.engine._native"
    try:
        return importlib.import_module(name)  # `from headway.engine import _native` would not say what is missing
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
