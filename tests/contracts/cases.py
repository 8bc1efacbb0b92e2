"""Tiny models of every family, one of each kind, for the contract suites; every size another prime where it can be."""

from collections.abc import Callable

import torch

from headway.models.gpt2 import GPT2, GPT2Config

VOCABULARY = 31


def _gpt2(**settings: object) -> GPT2:
    sizes = {"vocabulary": VOCABULARY, "context": 23, "width": 14, "n_layers": 3, "n_heads": 2, "feed_forward": 19}
    # Wider than the published 0.02: with it, attention hardly matters and a wrong mask would hardly show.
    return GPT2(GPT2Config(**{**sizes, "initial_deviation": 0.6, **settings}))  # type: ignore[arg-type]


DECODERS: dict[str, Callable[[], GPT2]] = {
    "gpt2": lambda: _gpt2(),
    "gpt2-one-head": lambda: _gpt2(n_heads=1, n_layers=1),
    "gpt2-untied": lambda: _gpt2(tied=False, activation="relu"),
    "gpt2-unscaled": lambda: _gpt2(scale_by_head_width=False, initial_deviation=0.2),
    "gpt2-scaled-by-layer": lambda: _gpt2(scale_by_layer=True, activation="silu", feed_forward=None),
}
FAMILY_OF = {name: name.partition("-")[0] for name in DECODERS}


def build(name: str) -> GPT2:
    """The model of that name, the same weights every time, in evaluation mode."""
    torch.manual_seed(3)
    return DECODERS[name]().eval()
