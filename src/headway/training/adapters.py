"""Low-rank adapters in a run (LoRA, Hu et al. 2021): beside which matrices they learn, and what is saved of them.

What a run leaves is a plain model, the products added to its weights, and the adapter alone in a folder beside it.
"""

import copy
import difflib
from pathlib import Path

from torch import nn

from headway.errors import ConfigError
from headway.formats import peft
from headway.formats.folder import replace_weights
from headway.formats.layouts import Model
from headway.nn.low_rank import LowRankLinear
from headway.storage import new_folder
from headway.training.recipe import AdapterSettings, Recipe

ADAPTER = "adapter"
"""The folder in a model folder with the adapter of its weights."""


def attach(model: nn.Module, settings: AdapterSettings) -> None:
    """Put adapters beside the targets in every block, in place; everything else is frozen.

    Draws from torch's global generator. Raises ConfigError for a target that no block has.
    """
    alpha = 2.0 * settings.rank if settings.alpha is None else settings.alpha
    blocks = model.get_submodule("blocks")
    known = {name for block in blocks.children() for name, part in block.named_modules() if isinstance(part, nn.Linear)}
    for target in settings.targets:
        if target not in known:
            near = difflib.get_close_matches(target, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigError(f"adapter.targets names {target!r}, but no layer has such a matrix; {hint}")
    model.requires_grad_(False)
    for block in blocks.children():
        for target in dict.fromkeys(settings.targets):
            linear = block.get_submodule(target)
            assert isinstance(linear, nn.Linear)
            adapted = LowRankLinear(linear, rank=settings.rank, alpha=alpha, dropout=settings.dropout)
            block.set_submodule(target, adapted)


def merged(model: nn.Module) -> Model:
    """A copy of the model without adapters, their products added to its weights; the model itself is unchanged."""
    plain = {id(part): part.merged() for part in model.modules() if isinstance(part, LowRankLinear)}
    copied = copy.deepcopy(model, plain)  # takes what `plain` holds in place of the adapted layers
    assert isinstance(copied, Model)
    return copied.requires_grad_(True)


def adapter_of(model: nn.Module, base: str | None) -> peft.Adapter:
    """The adapters of a model as the value that formats/peft.py writes; `base` names the model they were trained on."""
    parts = {name: part for name, part in model.named_modules() if isinstance(part, LowRankLinear)}
    first = next(iter(parts.values()))
    return peft.Adapter(
        rank=first.rank,
        alpha=first.alpha,
        dropout=first.dropout.p,
        base=base,
        factors={name: (part.down.detach().cpu(), part.up.detach().cpu()) for name, part in parts.items()},
    )


def keep(recipe: Recipe, model: nn.Module) -> None:
    """Put the run's weights into its model folder: the merged model, and before it the adapter where there is one.

    Each takes its place whole or not at all; a run that dies between the two puts both there again when it goes on.
    Raises StorageError and FormatError as `replace_weights`.
    """
    output = Path(recipe.output)
    if recipe.adapter is None:
        assert isinstance(model, Model)
        replace_weights(output, model)
        return
    write_adapter(output, model, recipe.start)
    replace_weights(output, merged(model))


def write_adapter(output: Path, model: nn.Module, base: str | None) -> None:
    """Write the adapters of `model` to the folder `adapter` in a model folder, in place of those that are there."""
    with new_folder(output / ADAPTER, overwrite=True) as folder:
        assert isinstance(model, Model)
        peft.write(adapter_of(model, base), model, folder)
