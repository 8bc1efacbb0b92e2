"""The families there are: one line each, so that nobody asks for a type or a name elsewhere."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from headway.errors import ConfigError
from headway.models.gpt2 import GPT2, GPT2Config


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family's name, the class of its settings, the class of its model, and which protocols it keeps."""

    name: str
    config: type[Any]
    model: type[nn.Module]
    decoder: bool
    encoder: bool


FAMILIES: dict[str, Family] = {
    "gpt2": Family(name="gpt2", config=GPT2Config, model=GPT2, decoder=True, encoder=False),
}


def family(name: str) -> Family:
    """The family of that name. Raises ConfigError, naming those there are, where there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"there is no model family {name!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def family_of(model: nn.Module) -> Family:
    """The family a model belongs to."""
    for known in FAMILIES.values():
        if type(model) is known.model:
            return known
    raise ConfigError(f"{type(model).__name__} is not a model of a known family; known are {', '.join(FAMILIES)}")
