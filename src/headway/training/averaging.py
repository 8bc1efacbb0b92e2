"""The mean of the weights of a run's last evaluations (Vaswani et al. 2017, section 6.1, average checkpoints).

They lie beside the checkpoints, numbered by evaluation, so that a resumed run averages the same ones.
"""

import copy
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headway.storage import replace_file

FOLDER = "averaged"
_NAME = re.compile(r"evaluation-(\d+)\.safetensors")


def remember_weights(training: Path, model: nn.Module, evaluation: int, n_kept: int) -> None:
    """Write what learns of the model as evaluation number `evaluation`; only the latest `n_kept` stay.

    Raises StorageError where the disk is full.
    """
    folder = training / FOLDER
    folder.mkdir(exist_ok=True)
    weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    replace_file(folder / f"evaluation-{evaluation}.safetensors", lambda path: save_file(weights, path))
    for number, path in _found(folder):
        if not evaluation - n_kept < number <= evaluation:  # later ones are of a run that was taken back
            path.unlink()


def averaged(training: Path, model: nn.Module) -> nn.Module | None:
    """A copy of the model with the mean of the remembered weights; None where fewer than two are there."""
    found = _found(training / FOLDER) if (training / FOLDER).is_dir() else []
    if len(found) < 2:
        return None
    total: dict[str, Tensor] = {}
    for _, path in found:
        for name, value in load_file(path).items():
            total[name] = total[name] + value.double() if name in total else value.double()
    mean = copy.deepcopy(model)
    parameters = dict(mean.named_parameters())
    with torch.no_grad():
        for name, value in total.items():
            parameters[name].copy_(value / len(found))
    return mean


def _found(folder: Path) -> list[tuple[int, Path]]:
    """The remembered evaluations, oldest first: sums in one order, whatever the disk's."""
    return sorted((int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))
