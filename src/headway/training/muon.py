"""Muon in float32: torch's own optimiser, with its iteration in the precision of the weights and batched by shape.

Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks"): the momentum of a matrix is replaced by
the nearest matrix whose singular values are all about one, by five Newton-Schulz steps.
"""

from typing import Any

import torch
from torch import Tensor


class FullPrecisionMuon(torch.optim.Muon):
    """torch.optim.Muon for hardware without bfloat16 arithmetic; a test holds the two equal within bfloat16."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # a closure is never given here
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move matrices of one shape (M, N)."""
        directions = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            momentum = state["momentum_buffer"]
            momentum.lerp_(parameter.grad, 1 - group["momentum"])
            directions.append(parameter.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum)
        moved = orthogonalised(torch.stack(directions), group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameters[0].shape
        rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5  # match_rms_adamw
        for parameter, direction in zip(parameters, moved, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(direction, alpha=-rate)


def orthogonalised(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """(N, R, C) -> (N, R, C): each matrix with its singular values pulled towards one, its directions kept.

    The quintic Newton-Schulz iteration X <- a X + (b A + c A A) X with A = X X^T (Jordan et al. 2024).
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)  # (N, R, R)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
