"""Folders of families that the ecosystem has no layout for: keys are our settings, tensors have our parameters' names.

A key that is no setting is an error: such folders come from headway alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from headway.errors import ConfigError, FormatError
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.formats.weights import WithoutDrawing
from headway.settings import from_dict, to_dict

OWN = "headway-"
"""How the `model_type` of such folders begins."""

# What a folder's config.json holds beside the settings; the first ones are written anew from the model itself.
_OWN = ("model_type", "architectures", "dtype", "torch_dtype")
_FOLDER = ("bos_token_id", "eos_token_id", "decoder_start_token_id", "pad_token_id", "transformers_version")


def own_layout(family: str, config_class: type[Any], model_class: type[nn.Module]) -> Layout:
    """The layout `headway-<family>` of a family of ours."""
    model_type = OWN + family

    def read_config(table: Mapping[str, Any]) -> Any:
        settings = {key: value for key, value in table.items() if key not in (*_OWN, *_FOLDER)}
        try:
            if "foreign" in settings:
                raise ConfigError("foreign is not a setting of a folder")
            foreign = {key: table[key] for key in _FOLDER if key in table}
            return from_dict(config_class, {**settings, "foreign": foreign})
        except ConfigError as error:
            raise FormatError(
                f"config.json does not describe a {model_type}: {error}\nMend the file, or get the folder again."
            ) from error

    def write_config(config: Any) -> dict[str, Any]:
        settings = {key: value for key, value in to_dict(config).items() if key != "foreign"}
        kept = {key: config.foreign[key] for key in _FOLDER if key in config.foreign}
        return {**kept, **settings, "model_type": model_type, "architectures": [model_class.__name__]}

    def tensors(config: Any) -> list[TensorName]:
        with torch.device("meta"), WithoutDrawing():
            model = model_class(config)
        return [TensorName(foreign=name, ours=name, shape=tuple(p.shape)) for name, p in model.named_parameters()]

    return Layout(
        family=family,
        model_type=model_type,
        read_config=read_config,
        write_config=write_config,
        tensors=tensors,
        rename=_same_name,
        settle=_as_it_is,
    )


def _same_name(name: str) -> str:
    return name


def _as_it_is(
    config: Any, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[Any, frozenset[str]]:
    return config, frozenset()
