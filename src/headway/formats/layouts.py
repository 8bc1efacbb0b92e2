"""Every layout there is, and the one that a model is written in."""

from collections.abc import Callable
from typing import Any

from headway.formats import bert, fnet, gpt2, laplace, marian, rnn_search, transformer
from headway.formats.layout import Layout
from headway.models.bert import BERT
from headway.models.gpt2 import GPT2
from headway.models.laplace import Laplace
from headway.models.registry import family_of
from headway.models.rnn_search import RNNSearch
from headway.models.transformer import Transformer

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout
    for layout in (
        gpt2.LAYOUT,
        bert.LAYOUT,
        fnet.LAYOUT,
        bert.OWN,
        laplace.LAYOUT,
        marian.LAYOUT,
        transformer.LAYOUT,
        rnn_search.LAYOUT,
    )
}
"""The layouts there are, by the `model_type` of config.json."""

_WRITTEN: dict[str, Callable[[Any], Layout]] = {
    "gpt2": lambda config: gpt2.LAYOUT,
    "bert": bert.layout_for,
    "laplace": lambda config: laplace.LAYOUT,
    "transformer": transformer.layout_for,
    "rnnsearch": lambda config: rnn_search.LAYOUT,
}
"""The layout that a family's model of certain settings is written in."""

Model = GPT2 | BERT | Laplace | Transformer | RNNSearch
"""What a folder can hold: one class a family."""


def layout_of(model: Model) -> Layout:
    """The layout that the model is written in."""
    return _WRITTEN[family_of(model).name](model.config)
