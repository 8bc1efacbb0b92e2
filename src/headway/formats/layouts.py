"""Every layout there is, and the one that a model is written in."""

from collections.abc import Callable
from typing import Any

from headway.formats import gpt2, marian, rnn_search, transformer
from headway.formats.layout import Layout
from headway.models.gpt2 import GPT2
from headway.models.registry import family_of
from headway.models.rnn_search import RNNSearch
from headway.models.transformer import Transformer

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout for layout in (gpt2.LAYOUT, marian.LAYOUT, transformer.LAYOUT, rnn_search.LAYOUT)
}
"""The layouts there are, by the `model_type` of config.json."""

_WRITTEN: dict[str, Callable[[Any], Layout]] = {
    "gpt2": lambda config: gpt2.LAYOUT,
    "transformer": transformer.layout_for,
    "rnnsearch": lambda config: rnn_search.LAYOUT,
}
"""The layout that a family's model of certain settings is written in."""

Model = GPT2 | Transformer | RNNSearch
"""What a folder can hold: one class a family."""


def layout_of(model: Model) -> Layout:
    """The layout that the model is written in."""
    return _WRITTEN[family_of(model).name](model.config)
