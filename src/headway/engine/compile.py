"""From a PyTorch model to the engine's: which families it knows."""

from typing import TYPE_CHECKING, Any

from headway.engine import gpt2
from headway.engine.packing import asked_for
from headway.errors import ResourceError

if TYPE_CHECKING:
    from torch import nn

_FAMILIES: dict[str, Any] = {"gpt2": gpt2}


def why_not(model: "nn.Module", family: str) -> str | None:
    """Why the engine cannot run this model, in a phrase; None where it can."""
    if family not in _FAMILIES:
        return f"the engine knows {', '.join(sorted(_FAMILIES))}, and not {family}"
    reason: str | None = _FAMILIES[family].why_not(model)
    return reason


def compiled(
    model: "nn.Module",
    family: str,
    *,
    bits: int | None = None,
    threads: int | None = None,
    kernels: str = "",
) -> Any:
    """The model, packed for the engine, by the protocol of its family; the PyTorch model is read and not kept.

    bits: 32, 16 (bfloat16), 8 or 4 a weight; None: what keeps the stored numbers as they are (16 for bfloat16 weights,
    else 32). threads: None is as many as this process may use. kernels: one of the extension's `kernels_here()`; ""
    the fastest. Raises ResourceError where the engine was not built or does not know the model, ConfigError for other
    bits, FormatError for weights that are not finite.
    """
    reason = why_not(model, family)
    if reason is not None:
        raise ResourceError(f"{reason}\nUse engine=auto or torch.")
    return _FAMILIES[family].build(model, asked_for(model, bits, threads, kernels))
