"""Handing a PyTorch model's weights to the extension."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headway.engine.extension import check_threads, threads_here
from headway.errors import ConfigError, FormatError, ResourceError

if TYPE_CHECKING:
    import torch
    from torch import nn

ACTIVATIONS = ("none", "gelu_tanh", "gelu", "relu", "silu", "tanh")
"""In the order of the extension's own."""

BITS = (32, 16, 8, 4)


def no_activation(config: Any) -> str | None:
    """Why the engine cannot run a model of this activation, in a phrase; None where it can."""
    return None if config.activation in ACTIVATIONS else f"the engine has no activation {config.activation}"


def sizes_of(config: Any) -> dict[str, object]:
    """What the extension calls the sizes that GPT-2 and BERT have in common."""
    return {
        "vocabulary": config.vocabulary,
        "context": config.context,
        "width": config.width,
        "layers": config.n_layers,
        "heads": config.n_heads,
        "hidden": config.hidden,
        "epsilon": config.epsilon,
        "activation": ACTIVATIONS.index(config.activation),
    }


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a model is to run in the engine.

    bits: 32, 16 (bfloat16), 8 or 4 a weight. threads: at most so many compute. kernels: one of the extension's
    `kernels_here()`; "" is the fastest. parts: where the packed parts are noted, for a cache; None: nowhere.
    """

    bits: int
    threads: int
    kernels: str = ""
    parts: Any = None

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ConfigError(f"bits must be one of {', '.join(map(str, BITS))}, but got {self.bits}")
        check_threads(self.threads)


def asked_for(model: "nn.Module", bits: int | None, threads: int | None, kernels: str = "", parts: Any = None) -> Asked:
    """What is asked for, None filled in: the bits that keep the stored numbers, and all threads of this process."""
    return Asked(
        bits=stored_bits(model) if bits is None else bits,
        threads=threads_here() if threads is None else threads,
        kernels=kernels,
        parts=parts,
    )


def pack(
    kind: Any,
    sizes: Mapping[str, object],
    model: "nn.Module",
    asked: Asked,
    tables: "Mapping[str, torch.Tensor] | None" = None,
) -> Any:
    """An object of the extension's class `kind`: the weights packed. The PyTorch model is read and not kept.

    tables: what is taken beside the parameters. Raises FormatError for weights that are not finite, ResourceError where
    memory ends.
    """
    try:
        weights = _weights({**dict(model.named_parameters()), **(tables or {})})
        return kind(sizes, weights, asked.bits, asked.kernels, asked.parts)
    except MemoryError:
        raise ResourceError("there is not enough memory to pack the weights\nUse fewer bits.") from None
    except ValueError as error:
        raise FormatError(f"the compiled engine cannot take these weights: {error}\nUse engine=torch.") from None


def _weights(tensors: "Mapping[str, torch.Tensor]") -> dict[str, NDArray[np.float32]]:
    import torch

    weights = {}
    for name, tensor in tensors.items():
        weights[name] = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()
    return weights


def stored_bits(model: "nn.Module") -> int:
    """The bits that keep the numbers of a PyTorch model as they are."""
    import torch

    return 16 if next(model.parameters()).dtype == torch.bfloat16 else 32
