"""Cross-entropy of an output matrix, a chunk of positions at a time, so that all logits never stand in memory at once.

The gradient is computed with the loss, while a chunk's logits are there: softmax minus one-hot (Bridle 1990).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = {"cpu": 2**22, "cuda": 2**27}
"""Logits that stand at once: on a processor about what its caches hold."""
_FEWEST_ROWS = 256
"""Positions at once at least: products of fewer rows are slower, and each chunk adds to the whole weight's gradient."""


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    ignored: int,
    smoothing: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of softmax(hidden weight^T + bias), summed over the targets not `ignored`, in float32.

    hidden (N, D), weight (V, D), targets (N,) int64, bias (V,) -> (). The products run in autocast's precision where it
    is on. Differentiable once, in hidden, weight and bias. smoothing: so much of a target's probability is spread
    evenly over the vocabulary (Szegedy et al. 2016, section 7).
    """
    if torch.is_autocast_enabled(hidden.device.type):
        precision = torch.get_autocast_dtype(hidden.device.type)
    else:
        precision = torch.promote_types(hidden.dtype, weight.dtype)
    learning = hidden.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    wanted = torch.is_grad_enabled() and learning
    with torch.autocast(hidden.device.type, enabled=False):
        if wanted:
            loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
                hidden, weight, bias, targets, ignored, smoothing, precision
            )
            return loss
        return _loss(hidden, weight, bias, targets, ignored, smoothing, precision)


def _rows_at_once(weight: Tensor) -> int:
    return max(_FEWEST_ROWS, _CHUNK.get(weight.device.type, _CHUNK["cuda"]) // weight.shape[0])


# Seven parameters: the loss's own, passed on.
def _loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    ignored: int,
    smoothing: float,
    precision: torch.dtype,
) -> Tensor:
    total = hidden.new_zeros((), dtype=torch.float32)
    matrix = weight.to(precision)
    size = _rows_at_once(weight)
    for begin in range(0, len(hidden), size):
        logits = _logits(hidden[begin : begin + size].to(precision), matrix, bias)  # (n, V)
        labels = targets[begin : begin + size]
        total += functional.cross_entropy(
            logits, labels, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
        )
    return total


def _logits(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    logits = functional.linear(rows, matrix).float()
    return logits if bias is None else logits + bias.float()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        ignored: int,
        smoothing: float,
        precision: torch.dtype,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        matrix = weight.to(precision)
        to_hidden = torch.empty(hidden.shape, dtype=precision, device=hidden.device)
        learns, bias_learns = ctx.needs_input_grad[1], ctx.needs_input_grad[2]
        to_bias = torch.zeros(weight.shape[0] if bias_learns else 0, dtype=torch.float32, device=weight.device)
        to_weight = torch.zeros(weight.shape if learns else 0, dtype=torch.float32, device=weight.device)
        size = _rows_at_once(weight)
        for begin in range(0, len(hidden), size):
            rows, labels = hidden[begin : begin + size].to(precision), targets[begin : begin + size]
            counted = labels != ignored
            places = labels.where(counted, 0)[:, None]
            logs = torch.log_softmax(_logits(rows, matrix, bias), dim=-1)  # (n, V)
            total -= (1.0 - smoothing) * (logs.gather(1, places)[:, 0] * counted).sum()
            if smoothing:
                total -= smoothing * (logs.mean(dim=-1) * counted).sum()
            slope = logs.exp_()
            slope.scatter_add_(1, places, slope.new_full(places.shape, smoothing - 1.0))
            if smoothing:
                slope -= smoothing / slope.shape[1]
            if not bool(counted.all()):
                slope *= counted[:, None]
            if bias_learns:
                to_bias += slope.sum(dim=0)
            slope = slope.to(precision)
            torch.mm(slope, matrix, out=to_hidden[begin : begin + size])
            if not learns:
                continue
            if precision == torch.float32:
                to_weight.addmm_(slope.T, rows)
            else:
                to_weight += slope.T @ rows
        ctx.save_for_backward(to_hidden, to_weight, to_bias)
        ctx.kinds = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, to_weight, to_bias = ctx.saved_tensors
        (slope,) = gradients
        hidden_kind, weight_kind, bias_kind = ctx.kinds
        matrix_gradient = (to_weight * slope).to(weight_kind) if ctx.needs_input_grad[1] else None
        bias_gradient = (to_bias * slope).to(bias_kind) if ctx.needs_input_grad[2] else None
        return (to_hidden * slope).to(hidden_kind), matrix_gradient, bias_gradient, None, None, None, None
