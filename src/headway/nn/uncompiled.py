"""Functions that torch's compiler leaves alone.

`torch.compiler.disable` as a decorator would load the whole compiler, which takes seconds, whenever headway is opened.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function, before which the compiler stops: it has no code for complex numbers, would warn and be slower."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            stopped: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return stopped(*args, **kwargs)
        return function(*args, **kwargs)

    return run
