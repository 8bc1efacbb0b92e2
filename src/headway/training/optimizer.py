"""AdamW with the usual two groups: matrices decay, vectors do not.

Loshchilov and Hutter 2019; used so by Radford et al. 2018, section 4.1.
"""

import torch
from torch import Tensor, nn

from headway.errors import FormatError
from headway.training.recipe import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW over the model's parameters; biases and norms are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(settings.beta1, settings.beta2), eps=1e-8, fused=True)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by parameter name and kind, "blocks.0.attention.qkv.weight/exp_avg"."""
    return {
        f"{name}/{kind}": value.detach()
        for name, parameter in model.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put such a table back. Raises FormatError where it does not fit the model."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, kind = key.rpartition("/")
        if name not in parameters or (kind != "step" and value.shape != parameters[name].shape):
            raise FormatError(f"the checkpoint's optimiser state {key} {tuple(value.shape)} does not fit the model")
        where = parameters[name].device
        optimizer.state[parameters[name]][kind] = value.clone().to(where)
