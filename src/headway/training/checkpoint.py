"""Checkpoints: each a new folder training/step-N, complete with its checksums before it bears that name.

Commit order: files, fsync, manifest, fsync, rename, fsync of the parent; only then are older ones deleted. "The latest"
is computed, never a pointer: the highest N whose manifest holds.
"""

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from headway.errors import ConfigError, FormatError
from headway.settings import from_dict, to_dict
from headway.storage import new_folder, verify_manifest, write_manifest
from headway.training.optimizer import Optimizers

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Everything a run is, beside weights and optimiser: the data order and the dropout follow from the step alone.

    seconds: of work, over all resumes; prepared: those of them before the first step. evaluations: done so far. best:
    the validation loss of the weights kept, at best_step, where best_scores were measured; stale: evaluations since
    then. losses, norms: those of the latest steps, which the guard against spikes compares with. finished: the budget
    is spent or the run stopped early.
    """

    step: int = 0
    seconds: float = 0.0
    prepared: float = 0.0
    evaluations: int = 0
    best: float | None = None
    best_bits_per_byte: float | None = None
    best_scores: Mapping[str, float] = field(default_factory=dict)
    best_step: int | None = None
    stale: int = 0
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    finished: bool = False


def save_checkpoint(training: Path, state: RunState, model: nn.Module, optimizer: Optimizers, *, keep: int) -> None:
    """Write training/step-N and let go of all but the newest `keep`. Raises StorageError, the older ones intact.

    Those of later steps go too: the run went on from an earlier one because they are damaged.
    """
    with new_folder(training / f"step-{state.step}", overwrite=True) as folder:
        weights = {name: parameter.detach().cpu().contiguous() for name, parameter in _learning(model).items()}
        save_file(weights, folder / "model.safetensors")
        tensors = {name: value.cpu().contiguous() for name, value in optimizer.tensors(model).items()}
        save_file(tensors, folder / "optimizer.safetensors")
        (folder / "state.json").write_text(json.dumps(to_dict(state), indent=1), encoding="utf-8")
        write_manifest(folder)
    found = _checkpoints(training)
    later = [(step, folder) for step, folder in found if step > state.step]
    for step, folder in later + found[len(later) :][keep:]:
        _log.debug("checkpoint of step %d removed", step)
        shutil.rmtree(folder, ignore_errors=True)


def latest_checkpoint(training: Path) -> tuple[Path, RunState]:
    """The newest checkpoint whose checksums hold, with its state.

    A damaged one is passed over with a warning. Raises FormatError where none is whole.
    """
    damage = ""
    for _, folder in _checkpoints(training):
        try:
            verify_manifest(folder)
            state = from_dict(RunState, json.loads((folder / "state.json").read_text(encoding="utf-8")))
        except (FormatError, ConfigError, OSError, ValueError) as error:
            damage = f" ({error})"
            _log.warning("checkpoint %s is damaged and passed over: %s", folder.name, error)
            continue
        return folder, state
    raise FormatError(f"{training} holds no whole checkpoint{damage}; train again into another folder")


def load_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizers) -> None:
    """Put a checkpoint's weights and optimiser state back. Raises FormatError where they do not fit the model."""
    weights = load_file(folder / "model.safetensors")
    parameters = _learning(model)
    if {name: value.shape for name, value in weights.items()} != {name: p.shape for name, p in parameters.items()}:
        raise FormatError(f"the weights of {folder} are not those of the model this run trains")
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
    optimizer.restore(model, load_file(folder / "optimizer.safetensors"))


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """What moves; the weights that do not lie in training/frozen once (training/layers.py)."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _checkpoints(training: Path) -> list[tuple[int, Path]]:
    """All step folders, newest first."""
    found = [(int(match[1]), path) for path in training.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)
