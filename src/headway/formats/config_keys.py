"""Reading the values of a foreign config.json: each is what its key asks for, or an error names key and value."""

import math
from collections.abc import Mapping
from typing import Any

from headway.errors import FormatError

OWN = ("model_type", "architectures", "dtype", "torch_dtype")
"""Keys written anew from the model itself, so not kept."""
LARGEST_COUNT = 2**31

_ACTIVATIONS: Mapping[str, str] = {  # the first name of each of ours is the one written
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def config_value(table: Mapping[str, Any], key: str, kind: type, absent: object) -> Any:
    """The value of a key, or `absent` where it is not there; with kind str our name of the activation that it names.

    None only where `absent` is None. A whole number is from 1 on. Raises FormatError for any other value.
    """
    value = table.get(key, absent)
    if value is None and absent is None:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < LARGEST_COUNT else math.inf
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise FormatError(
            f"config.json has {key}={short(value)}, where {_WORDS[kind]} belongs\n"
            "Mend the file, or get the folder again."
        )
    if kind is int and not 0 < value < LARGEST_COUNT:
        raise FormatError(
            f"config.json has {key}={short(value)}, where 1 to {LARGEST_COUNT - 1} is possible\n"
            "Mend the file, or get the folder again."
        )
    if kind is not str:
        return value
    if value not in _ACTIVATIONS:
        raise FormatError(
            f"config.json has {key}={short(value)}, which is not supported\nSupported are {', '.join(_ACTIVATIONS)}."
        )
    return _ACTIVATIONS[value]


def activation_name(ours: str) -> str:
    """What transformers calls an activation of ours."""
    return next(name for name, known in _ACTIVATIONS.items() if known == ours)


def check_graph(table: Mapping[str, Any], harmless: Mapping[str, tuple[object, ...]], family: str) -> None:
    """Raises FormatError where a key asks for another graph; harmless: the values that leave it as it is, by key."""
    for key, values in harmless.items():
        if key in table and table[key] not in values:
            raise FormatError(
                f"config.json has {key}={short(table[key])}, which asks for another graph than {family}'s here\n"
                f"Supported is {key}={values[0]!r} or none; such a model cannot be opened here."
            )


def short(value: object) -> str:
    """A value as messages show it, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
