"""A matrix and a bias, by the faster of the processor's two libraries while nobody learns.

torch's own path is MKL, whose product of one row and a matrix runs on one thread, and whose products of few rows read
the matrix several times. oneDNN's inner product, which the same wheel holds, does neither.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

# Measured with 2 threads on a processor with AVX2. A call of oneDNN takes some 25 microseconds more, which a matrix
# of half a million numbers earns back; past this many rows both are bound by arithmetic and take the same time.
_SMALLEST = 2**19
_MOST_ROWS = 64


class Linear(nn.Linear):
    """`nn.Linear` in every respect but speed: the same parameters, and the same numbers up to float32's rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> (..., outputs)."""
        weight, bias = self.weight, self.bias
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not _suits(x, weight):
            return functional.linear(x, weight, bias)
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN takes this product, exactly as float32, and is faster at it."""
    # Subclasses (sharded, fake, wrapped tensors) bring their own linear, and have none for this operator.
    return (
        type(x) is Tensor
        and type(weight) is nn.Parameter
        and weight.numel() >= _SMALLEST
        and x.is_cpu
        and x.dtype == weight.dtype == torch.float32
        and x.shape[-1] == weight.shape[1]  # torch's path has the clearer error
        and (x.numel() <= _MOST_ROWS * weight.shape[1] or _at_any_size())
        and torch.get_num_threads() > 1  # one thread reads a matrix equally fast either way
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
        and _exists()
    )


@cache
def _exists() -> bool:
    """Whether this torch has the operator; it is no part of torch's documented interface."""
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _at_any_size() -> bool:
    """Whether oneDNN is the faster one at many rows too: with AVX-512 it is, since MKL may not use it."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()
