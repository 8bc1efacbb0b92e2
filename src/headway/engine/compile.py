"""From a PyTorch model to the engine's: which families it knows."""

from typing import TYPE_CHECKING, Any

from headway.engine import bert, gpt2, transformer
from headway.engine.packing import asked_for
from headway.errors import ResourceError

if TYPE_CHECKING:
    from torch import nn

_FAMILIES: dict[str, Any] = {"bert": bert, "gpt2": gpt2, "transformer": transformer}
_READERS: dict[str, Any] = {**_FAMILIES, "gpt2": bert.ReadingGPT2}


def why_not(model: "nn.Module", family: str, *, reads: bool = False) -> str | None:
    """Why the engine cannot run this model, in a phrase; None where it can. reads: as `compiled`."""
    known = _READERS if reads else _FAMILIES
    if family not in known:
        return f"the engine knows {', '.join(sorted(known))}, and not {family}"
    reason: str | None = known[family].why_not(model)
    return reason


def compiled(
    model: "nn.Module",
    family: str,
    *,
    bits: int | None = None,
    threads: int | None = None,
    kernels: str = "",
    reads: bool = False,
    parts: Any = None,
) -> Any:
    """The model, packed for the engine, by the protocol of its family; the PyTorch model is read and not kept.

    bits: 32, 16 (bfloat16), 8 or 4 a weight; None: what keeps the stored numbers as they are (16 for bfloat16 weights,
    else 32). threads: None is as many as this process may use. kernels: one of the extension's `kernels_here()`; ""
    the fastest. reads: by the encoder protocol, where the family keeps both (GPT-2). parts: where the packed parts are
    noted. Raises ResourceError where the
    engine was not built or does not know the model, ConfigError for other bits, FormatError for weights that are not
    finite.
    """
    reason = why_not(model, family, reads=reads)
    if reason is not None:
        raise ResourceError(f"{reason}\nUse engine=auto or torch.")
    return (_READERS if reads else _FAMILIES)[family].build(model, asked_for(model, bits, threads, kernels, parts))
