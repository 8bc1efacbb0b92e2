"""What a format carries beside our model folders, and what reading and writing another program's files share."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from headway.errors import ConfigError, FormatError, ResourceError
from headway.formats.folder import CONFIG
from headway.formats.layout import Layout
from headway.formats.layouts import Model
from headway.formats.reading import inside, present
from headway.formats.weights import (
    WeightFile,
    Weights,
    WithoutDrawing,
    check_names,
    fill,
    materialise,
    stored_precision,
)
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.registry import family_of
from headway.text.loading import UnknownTokenizer, load_from_folder
from headway.text.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

_LARGEST_COUNT = 2**31


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a format has to carry."""

    model: Model
    tokenizer: Tokenizer | None
    name: str
    card: str | None
    generation: dict[str, object]
    target_tokenizer: Tokenizer | None = None

    def gpt2(self, kind: str) -> GPT2:
        """The model, for a format that holds nothing but GPT-2. Raises FormatError for another family."""
        if not isinstance(self.model, GPT2):
            raise FormatError(
                f"{kind} holds GPT-2 alone, but {self.name} is a {family_of(self.model).name}\n"
                "Export it with --to huggingface."
            )
        return self.model


def read_model(files: Mapping[Path, WeightFile], layout: Layout, config: GPT2Config, described_by: str) -> Model:
    """The model of these settings, which the file `described_by` gave, with the weights in the files.

    Raises FormatError where the two do not fit, before memory is asked for; ResourceError where there is too little.
    """
    weights = Weights(files, layout)
    config, skipped = layout.settle(config, weights.tensors, weights.same)
    names = layout.tensors(config)
    try:
        check_names(weights, names, skipped)
    except FormatError as error:
        raise FormatError(str(error).replace(CONFIG, described_by)) from error
    precision = stored_precision(weights, names)
    try:
        with torch.device("meta"), WithoutDrawing():
            model = GPT2(config)
        materialise(model, precision, torch.device("cpu"))
        fill(model, weights, names)
    except MemoryError as error:
        raise ResourceError(f"the model's {config.n_parameters():,} parameters do not fit the memory") from error
    return model.eval()


def described(file: str, settings: Mapping[str, object]) -> GPT2Config:
    """A GPT-2 of the settings that a file gave. Raises FormatError, naming it, where they do not describe one."""
    try:
        return GPT2Config(**settings)  # type: ignore[arg-type]
    except ConfigError as error:
        raise FormatError(
            f"{file} does not describe a GPT-2: {error}\nMend the file, or get the folder again."
        ) from error


def counts(file: str, table: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    """Our settings by the names of another program's. Raises FormatError unless each is a whole number from 1."""
    found: dict[str, object] = {}
    for foreign, ours in names.items():
        value = table.get(foreign)
        if type(value) is not int or not 1 <= value < _LARGEST_COUNT:
            raise FormatError(
                f"{file} has {foreign}={ascii(value)[:60]}, where a whole number from 1 belongs\n"
                "Mend the file, or get the folder again."
            )
        found[ours] = value
    return found


def require_settings(config: GPT2Config, program: str, activation: str) -> None:
    """Raises FormatError where the model is one that another program's fixed graph cannot compute."""
    fixed = {
        "activation": activation,
        "tied": True,
        "epsilon": 1e-5,
        "scale_by_head_width": True,
        "scale_by_layer": False,
    }
    given = {"feed_forward": config.hidden, **{name: getattr(config, name) for name in fixed}}
    for name, value in {"feed_forward": 4 * config.width, **fixed}.items():
        if given[name] != value:
            raise FormatError(
                f"{program} knows only {name}={value!r}, and this model has {name}={given[name]!r}\n"
                "Export it --to huggingface, which can say so."
            )


def read_tokenizer(folder: Path, names: tuple[str, ...]) -> Tokenizer | None:
    """The tokenizer in the files of these names, where the folder has any; None, with a warning, for an unknown kind.

    Raises FormatError where a file is damaged or leads out of the folder.
    """
    found = [name for name in names if present(folder, name)]
    for name in found:
        inside(folder, name)
    try:
        return load_from_folder(folder) if found else None
    except UnknownTokenizer as error:
        warnings.warn(f"the model is opened without a tokenizer: {error}", stacklevel=2)
        return None
