"""The Transformer's folders: Marian's layout where it can say the model, else our own names.

In our own layout the keys of config.json are our settings, and tensors have the names of our parameters.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from headway.errors import ConfigError, FormatError
from headway.formats import marian
from headway.formats.layout import Layout, StoredTensor, TensorName
from headway.formats.weights import WithoutDrawing
from headway.models.transformer import Transformer, TransformerConfig
from headway.settings import from_dict, to_dict

MODEL_TYPE = "headway-transformer"

# What a folder's config.json holds beside the settings; the first ones are written anew from the model itself.
_OWN = ("model_type", "architectures", "dtype", "torch_dtype")
_FOLDER = ("bos_token_id", "eos_token_id", "decoder_start_token_id", "pad_token_id", "transformers_version")


def layout_for(config: TransformerConfig) -> Layout:
    """The layout that a model of these settings is written in."""
    return marian.LAYOUT if marian.can_say(config) else LAYOUT


def read_config(table: Mapping[str, Any]) -> TransformerConfig:
    """The settings in a config.json. Raises FormatError for a key that is not known, or a value that cannot be."""
    settings = {key: value for key, value in table.items() if key not in (*_OWN, *_FOLDER)}
    try:
        if "foreign" in settings:
            raise ConfigError("foreign is not a setting of a folder")
        return from_dict(
            TransformerConfig, {**settings, "foreign": {key: table[key] for key in _FOLDER if key in table}}
        )
    except ConfigError as error:
        raise FormatError(
            f"config.json does not describe a {MODEL_TYPE}: {error}\nMend the file, or get the folder again."
        ) from error


def write_config(config: TransformerConfig) -> dict[str, Any]:
    """The table for config.json; `dtype` and the special tokens are the folder's to add."""
    settings = {key: value for key, value in to_dict(config).items() if key != "foreign"}
    kept = {key: config.foreign[key] for key in _FOLDER if key in config.foreign}
    return {**kept, **settings, "model_type": MODEL_TYPE, "architectures": ["Transformer"]}


def tensors(config: TransformerConfig) -> list[TensorName]:
    """Every parameter of a Transformer of these settings, in the order of the graph."""
    with torch.device("meta"), WithoutDrawing():
        model = Transformer(config)
    return [
        TensorName(foreign=name, ours=name, shape=tuple(parameter.shape))
        for name, parameter in model.named_parameters()
    ]


def _same_name(name: str) -> str:
    return name


def _settle(
    config: TransformerConfig, stored: Mapping[str, StoredTensor], same: Callable[[str, str], bool]
) -> tuple[TransformerConfig, frozenset[str]]:
    return config, frozenset()


LAYOUT = Layout(
    family="transformer",
    model_type=MODEL_TYPE,
    read_config=read_config,
    write_config=write_config,
    tensors=tensors,
    rename=_same_name,
    settle=_settle,
)
