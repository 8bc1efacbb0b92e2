"""What moves the weights: AdamW or Adadelta for everything, or Muon for the layers' matrices and AdamW for the rest.

AdamW: Loshchilov and Hutter 2019, with matrices decayed and vectors not, as Radford et al. 2018, section 4.1, have it.
Muon: Jordan et al. 2024, its update scaled to AdamW's size (Liu et al. 2025, "Muon is scalable", section 2.2), so that
one learning rate serves both. Adadelta (Zeiler 2012): `beta2` is its rho.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headway.errors import FormatError
from headway.models.hardware import has_bfloat16
from headway.training.layers import freeze, layer_rates
from headway.training.muon import FullPrecisionMuon
from headway.training.recipe import TrainSettings

_SCALING = "match_rms_adamw"  # torch's name for the scaling of Liu et al.


_OUTPUTS = ("output", "head", "sentence_order", "classifier")


class Optimizers:
    """The optimisers of a run as one: each parameter belongs to exactly one of them."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Each parameter group says in "share" how much of the learning rate is its own."""
        self._optimizers = optimizers

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]

    def step(self) -> None:
        """Move the weights by their gradients."""
        for optimizer in self._optimizers:
            optimizer.step()

    def tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """The state by parameter name and kind, "blocks.0.attention.qkv.weight/exp_avg"."""
        return {
            f"{name}/{kind}": value.detach()
            for name, parameter in model.named_parameters()
            for kind, value in self._of(parameter).state.get(parameter, {}).items()
            if parameter.requires_grad
        }

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Put such a table back. Raises FormatError where it does not fit the model."""
        parameters = dict(model.named_parameters())
        for key, value in tensors.items():
            name, _, kind = key.rpartition("/")
            if name not in parameters or (kind != "step" and value.shape != parameters[name].shape):
                raise FormatError(f"the checkpoint's optimiser state {key} {tuple(value.shape)} does not fit the model")
            parameter = parameters[name]
            self._of(parameter).state[parameter][kind] = value.clone().to(parameter.device)

    def _of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        for optimizer in self._optimizers:
            if any(parameter is known for group in optimizer.param_groups for known in group["params"]):
                return optimizer
        return self._optimizers[0]


def build_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizers:
    """The optimisers of the recipe over the parameters that learn; those of frozen layers are frozen here.

    Biases and norms are not decayed. Muon takes the matrices inside the layers; embeddings, output and vectors are
    AdamW's. Raises ConfigError where more layers are frozen than there are.
    """
    freeze(model, settings.freeze)
    shares = layer_rates(model, settings.layer_decay)
    muon: dict[float, list[Tensor]] = {}
    adamw: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if settings.optimizer == "muon" and parameter.dim() == 2 and not _is_table(name):
            muon.setdefault(shares[name], []).append(parameter)
        else:
            decay = settings.weight_decay if parameter.dim() >= 2 else 0.0
            adamw.setdefault((shares[name], decay), []).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    if adamw:
        groups = [{"params": p, "weight_decay": decay, "share": share} for (share, decay), p in adamw.items()]
        betas = (settings.beta1, settings.beta2)
        if settings.optimizer == "adadelta":
            optimizers.append(torch.optim.Adadelta(groups, lr=0.0, rho=settings.beta2, eps=settings.epsilon))
        else:
            optimizers.append(torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings.epsilon, fused=True))
    if muon:
        # Torch's own computes in bfloat16, which a processor without that arithmetic does five times slower than
        # float32.
        kind = torch.optim.Muon if has_bfloat16(settings.device or "cpu") else FullPrecisionMuon
        matrices = [{"params": p, "share": share} for share, p in muon.items()]
        optimizers.append(kind(matrices, lr=0.0, weight_decay=settings.weight_decay, adjust_lr_fn=_SCALING))
    return Optimizers(optimizers)


def _is_table(name: str) -> bool:
    """True for what holds a row for each id, place or label, as embeddings and output matrices do: not for Muon."""
    parts = name.split(".")
    return parts[0].endswith("embedding") or parts[0] in _OUTPUTS or "positions" in parts
