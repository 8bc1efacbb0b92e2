"""GPT-2 for the engine."""

from typing import Any

from headway.engine.decoder import CompiledDecoder
from headway.engine.extension import native
from headway.engine.packing import Asked, no_activation, pack, sizes_of


def why_not(model: Any) -> str | None:
    """Why the engine cannot run this GPT-2, in a phrase; None where it can."""
    config = model.config
    if config.head != "write":
        return f"the engine runs a GPT-2 that writes, and this one's head is {config.head}"
    return no_activation(config)


def build(model: Any, asked: Asked) -> CompiledDecoder:
    """The model packed as asked for."""
    config = model.config
    sizes = {
        **sizes_of(config),
        "tied": config.tied,
        "scale_by_head_width": config.scale_by_head_width,
        "scale_by_layer": config.scale_by_layer,
    }
    packed = pack(native().GPT2, sizes, model, asked)
    return CompiledDecoder(
        packed, vocabulary=config.vocabulary, context=config.context, bits=asked.bits, threads=asked.threads
    )
