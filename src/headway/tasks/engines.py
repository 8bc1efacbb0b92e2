"""Which engine runs a model: PyTorch, or the compiled one on a CPU; decided once, when a task opens it."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.engine.packing import BITS
from headway.errors import ConfigError, ResourceError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from headway.engine.cache import Cache
    from headway.engine.packed import PackedModel

logger = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "compiled")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which engine is to run a model, and how.

    engine: "auto" is the compiled engine where it knows the model, was built, and the model is on a CPU, else PyTorch.
    bits: 32, 16 (bfloat16), 8 or 4 a weight in the compiled engine, and so a wish for it; None keeps the stored
    numbers (16 for bfloat16 weights, else 32). dtype: PyTorch's precision, and so a wish for PyTorch.
    """

    engine: str = "auto"
    bits: int | None = None
    dtype: "str | torch.dtype | None" = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, but got {self.engine!r}")
        if self.bits is not None and self.bits not in BITS:
            raise ConfigError(f"bits must be one of {', '.join(map(str, BITS))}, but got {self.bits}")
        if self.bits is not None and self.engine == "torch":
            raise ConfigError(
                f"bits={self.bits} is of the compiled engine, but engine=torch was asked for; leave out one"
            )
        if self.dtype is not None and (self.bits is not None or self.engine == "compiled"):
            raise ConfigError("dtype is of PyTorch, engine=compiled and bits are of the compiled engine; leave out one")

    @property
    def insists(self) -> bool:
        """Whether only the compiled engine will do."""
        return self.engine == "compiled" or self.bits is not None


def in_engine(model: "nn.Module", asked: Asked, *, reads: bool = False, cache: "Cache | None" = None) -> Any:
    """The model in the engine that is to run it: a compiled one, or the PyTorch model itself in a native precision.

    What runs, and why, is logged. reads: by the encoder protocol, for a family that keeps both. cache: keeps what is
    packed, where the family has one. Raises ResourceError where the compiled engine was asked for and cannot run it,
    ConfigError for other bits.
    """
    from headway.engine.compile import compiled
    from headway.engine.extension import native
    from headway.models.registry import family_of
    from headway.tasks.placement import into_native_precision

    reason = "engine=torch was asked for" if asked.engine == "torch" else _why_not(model, asked, reads)
    if reason is None:
        family = family_of(model).name
        parts = native().Parts() if cache is not None and family == "gpt2" else None
        made = compiled(model, family, bits=asked.bits, reads=reads, parts=parts)
        if cache is not None and parts is not None:
            cache.write(model, made, parts)
        say_compiled(made)
        return made
    if asked.insists:
        raise ResourceError(f"the compiled engine cannot run this model: {reason}\nLeave out engine and bits.")
    if asked.dtype is None:
        into_native_precision(model)
    logger.info("runs on PyTorch: %s", reason)
    return model


def say_compiled(model: "PackedModel") -> None:
    """Log that a model runs on the compiled engine, and how."""
    how = (model.bits, model.kernels, model.threads)
    logger.info("runs on the compiled engine: %d bits a weight, %s kernels, %d threads", *how)


def _why_not(model: "nn.Module", asked: Asked, reads: bool) -> str | None:
    from headway.engine.compile import why_not
    from headway.engine.extension import HOW_TO_BUILD, is_built
    from headway.models.registry import family_of

    device = next(model.parameters()).device.type
    if device != "cpu":
        return f"the engine computes on the CPU, and the model is on {device}"
    if asked.dtype is not None:
        return "dtype was given"
    if not is_built():
        return f"the engine is not built. {HOW_TO_BUILD}"
    return why_not(model, family_of(model).name, reads=reads)
