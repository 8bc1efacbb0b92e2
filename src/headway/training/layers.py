"""The layers of a model from its input to its output: learning rates that fall towards the input, and frozen layers.

The convention is the model's own order: what it defines before `blocks` is the input side (the embeddings), what it
defines after them the output side (the last norm, the output matrix); an output matrix tied to the embedding is the
embedding. Rates by layer: Howard and Ruder 2018, section 3.2 ("discriminative fine-tuning").
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from headway.errors import ConfigError, FormatError
from headway.storage import new_folder, verify_manifest, write_manifest

FROZEN = "frozen"
"""The folder in training/ with the weights that do not learn: they are written once, not in every checkpoint."""


def layer_rates(model: nn.Module, decay: float) -> dict[str, float]:
    """Each parameter's share of the learning rate, by name.

    1 on the output side and in the last block, `decay` in the block below, and so on down; the input side has decay to
    the power of the number of blocks. Raises ConfigError for a decay other than 1 where a model has no `blocks`.
    """
    if decay == 1.0:
        return {name: 1.0 for name, _ in model.named_parameters()}
    n_blocks = len(_blocks(model, "train.layer_decay"))
    return {name: decay ** max(n_blocks - height, 0) for name, height in _heights(model).items()}


def freeze(model: nn.Module, n_layers: int) -> None:
    """Keep the weights of the input side and of the lowest `n_layers` blocks as they are; 0: nothing is frozen.

    A frozen embedding is also a frozen output matrix where the two are tied. Raises ConfigError where there are fewer
    blocks, or none at all.
    """
    if n_layers == 0:
        return
    n_blocks = len(_blocks(model, "train.freeze"))
    if n_layers > n_blocks:
        raise ConfigError(f"train.freeze must be at most the model's {n_blocks} layers, but got {n_layers}")
    heights = _heights(model)
    for name, parameter in model.named_parameters():
        if heights[name] <= n_layers:
            parameter.requires_grad_(False)


def write_frozen(training: Path, model: nn.Module) -> None:
    """Write the weights that do not learn into training/frozen, where there are any. Raises StorageError."""
    frozen = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if not p.requires_grad}
    if frozen:
        with new_folder(training / FROZEN) as folder:
            save_file(frozen, folder / "model.safetensors")
            write_manifest(folder)


def read_frozen(training: Path, model: nn.Module) -> None:
    """Put the weights that do not learn back into a model that is frozen alike.

    Raises FormatError where they are damaged or do not fit the model.
    """
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    if not frozen:
        return
    verify_manifest(training / FROZEN)
    weights = load_file(training / FROZEN / "model.safetensors")
    if {name: value.shape for name, value in weights.items()} != {name: p.shape for name, p in frozen.items()}:
        raise FormatError(
            f"the weights of {training / FROZEN} are not those that this run keeps frozen\nTrain into another folder."
        )
    with torch.no_grad():
        for name, value in weights.items():
            frozen[name].copy_(value)


def _heights(model: nn.Module) -> dict[str, int]:
    """Each parameter's block, counted from 1; 0 on the input side, and one more than the last on the output side."""
    blocks = _blocks(model, "the order of layers")
    children = [name for name, _ in model.named_children()]
    inputs = set(children[: children.index("blocks")])
    heights = {}
    for name, _ in model.named_parameters():
        head, _, rest = name.partition(".")
        if head == "blocks":
            heights[name] = int(rest.partition(".")[0]) + 1
        else:  # a parameter of the model itself, outside any module, is an embedding
            heights[name] = 0 if head in inputs or not rest else len(blocks) + 1
    return heights


def _blocks(model: nn.Module, setting: str) -> nn.ModuleList:
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ConfigError(f"{setting} needs a model of one stack of layers; leave it out for {type(model).__name__}")
    return blocks
