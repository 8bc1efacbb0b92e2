"""Functions that torch's compiler leaves alone.

`torch.compiler.disable` as a decorator would load the whole compiler, which takes seconds, whenever headway is opened.
"""

import functools
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import torch

Given = TypeVarTuple("Given")
Result = TypeVar("Result")


def uncompiled(function: Callable[[*Given], Result]) -> Callable[[*Given], Result]:
    """The function, before which the compiler stops: it has no code for complex numbers, would warn and be slower."""

    @functools.wraps(function)
    def run(*given: *Given) -> Result:
        if torch.compiler.is_compiling():
            stopped: Callable[[*Given], Result] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return stopped(*given)
        return function(*given)

    return run
