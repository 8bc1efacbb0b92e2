"""The families there are: one line each, so that nobody asks for a type or a name elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from headway.errors import ConfigError
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family's name, the class of its settings, the class of its model, and which protocols it keeps.

    reads_source: it is an encoder-decoder, which learns from pairs.
    """

    name: str
    config: type[Any]
    model: type[nn.Module]
    decoder: bool
    encoder: bool
    reads_source: bool


FAMILIES: dict[str, Family] = {
    "gpt2": Family(name="gpt2", config=GPT2Config, model=GPT2, decoder=True, encoder=True, reads_source=False),
    "bert": Family(name="bert", config=BERTConfig, model=BERT, decoder=False, encoder=True, reads_source=False),
    "laplace": Family(
        name="laplace", config=LaplaceConfig, model=Laplace, decoder=True, encoder=True, reads_source=False
    ),
    "transformer": Family(
        name="transformer", config=TransformerConfig, model=Transformer, decoder=True, encoder=True, reads_source=True
    ),
    "rnnsearch": Family(
        name="rnnsearch", config=RNNSearchConfig, model=RNNSearch, decoder=True, encoder=True, reads_source=True
    ),
}

VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "rnn-fixed": ("rnnsearch", {"attention": "fixed"}),
    "fnet": ("bert", {"mixer": "fourier", "embedding_projection": True, "activation": "gelu_tanh"}),
    "hartley": ("bert", {"mixer": "hartley"}),
}
"""Names of their own for a family with certain settings."""


def spelled_out(model: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's model table in which a variant's name is replaced by its family and settings.

    Raises ConfigError for a setting that contradicts the variant's.
    """
    name = model.get("family")
    if name not in VARIANTS:
        return dict(model)
    of, settings = VARIANTS[name]
    for key, value in settings.items():
        if model.get(key, value) != value:
            raise ConfigError(f"the family {name} has model.{key}={value!r}, but got {model[key]!r}; leave it out")
    return {**model, **settings, "family": of}


def family(name: str) -> Family:
    """The family of that name. Raises ConfigError, naming those there are, where there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"there is no model family {name!r}; there are {', '.join([*FAMILIES, *VARIANTS])}")
    return FAMILIES[name]


def family_of(model: nn.Module) -> Family:
    """The family a model belongs to."""
    for known in FAMILIES.values():
        if type(model) is known.model:
            return known
    raise ConfigError(f"{type(model).__name__} is not a model of a known family; known are {', '.join(FAMILIES)}")
