"""Readers for the engine: BERT with attention, and a GPT-2 that reads in place of writing."""

from collections.abc import Mapping
from typing import Any

from headway.engine.encoder import CompiledEncoder, Reading
from headway.engine.extension import native
from headway.engine.packing import Asked, no_activation, pack, sizes_of


def why_not(model: Any) -> str | None:
    """Why the engine cannot run this reader, in a phrase; None where it can."""
    config = model.config
    others = sorted({config.mixer_of(layer) for layer in range(config.n_layers)} - {"attention"})
    if others:
        return f"the engine mixes tokens by attention alone, and this model has layers that mix by {', '.join(others)}"
    return no_activation(config)


def build(model: Any, asked: Asked) -> CompiledEncoder:
    """The model packed as asked for."""
    config = model.config
    reading = Reading(
        width=config.width,
        context=config.context,
        head=config.head,
        row=config.pooling,
        pooler=config.pools,
        transform=config.writes_words and config.transform,
    )
    choices = {
        "segments": config.segments,
        "scales": [(config.width // config.n_heads) ** -0.5] * config.n_layers,
        "pre_norm": config.norm == "pre",
        "causal": False,
        "learned_positions": config.positions == "learned",
        "rotary": config.positions == "rotary",
        "gated": config.gated,
        "embedding_norm": config.embedding_norm,
        "embedding_projection": config.embedding_projection,
        "tied": config.tied,
        "head_bias": True,
    }
    return _packed(model, asked, reading, choices)


class ReadingGPT2:
    """A GPT-2 as a reader: its states, and a head that reads them where it has one."""

    @staticmethod
    def why_not(model: Any) -> str | None:
        """Why the engine cannot run this GPT-2, in a phrase; None where it can."""
        return no_activation(model.config)

    @staticmethod
    def build(model: Any, asked: Asked) -> CompiledEncoder:
        """The model packed as asked for; an output matrix is left out."""
        config = model.config
        reading = Reading(
            width=config.width,
            context=config.context,
            head="none" if config.head == "write" else config.head,
            row="last",
            pooler=False,
            transform=False,
        )
        scale = (config.width // config.n_heads) ** -0.5 if config.scale_by_head_width else 1.0
        choices = {
            "segments": 0,
            "scales": [scale / (layer + 1 if config.scale_by_layer else 1) for layer in range(config.n_layers)],
            "pre_norm": True,
            "causal": True,
            "learned_positions": True,
            "rotary": False,
            "gated": False,
            "embedding_norm": False,
            "embedding_projection": False,
            "tied": False,
            "head_bias": config.head != "classify",
        }
        return _packed(model, asked, reading, choices)


def _packed(model: Any, asked: Asked, reading: Reading, choices: Mapping[str, object]) -> CompiledEncoder:
    config = model.config
    sizes = {
        **sizes_of(config),
        "scores": config.n_scores,
        "words": reading.words,
        "pooler": reading.pooler,
        "transform": reading.transform,
        **choices,
    }
    made = pack(native().BERT, sizes, model, asked)
    return CompiledEncoder(made, reading=reading, bits=asked.bits, threads=asked.threads)
