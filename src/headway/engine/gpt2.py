"""GPT-2 for the engine."""

from typing import Any

from headway.engine.decoder import CompiledDecoder
from headway.engine.extension import native
from headway.engine.packing import ACTIVATIONS, Asked, pack


def why_not(model: Any) -> str | None:
    """Why the engine cannot run this GPT-2, in a phrase; None where it can."""
    config = model.config
    if config.head != "write":
        return f"the engine runs a GPT-2 that writes, and this one's head is {config.head}"
    if config.activation not in ACTIVATIONS:
        return f"the engine has no activation {config.activation}"
    return None


def build(model: Any, asked: Asked) -> CompiledDecoder:
    """The model packed as asked for."""
    config = model.config
    sizes = {
        "vocabulary": config.vocabulary,
        "context": config.context,
        "width": config.width,
        "layers": config.n_layers,
        "heads": config.n_heads,
        "hidden": config.hidden,
        "epsilon": config.epsilon,
        "activation": ACTIVATIONS.index(config.activation),
        "tied": config.tied,
        "scale_by_head_width": config.scale_by_head_width,
        "scale_by_layer": config.scale_by_layer,
    }
    packed = pack(native().GPT2, sizes, model, asked)
    return CompiledDecoder(
        packed, vocabulary=config.vocabulary, context=config.context, bits=asked.bits, threads=asked.threads
    )
