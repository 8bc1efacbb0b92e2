"""GPT-2 for the engine."""

from collections.abc import Mapping
from typing import Any

from headway.engine.decoder import CompiledDecoder
from headway.engine.extension import native
from headway.engine.packing import ACTIVATIONS, Asked, no_activation, pack, sizes_of
from headway.errors import FormatError

_LARGEST = {"vocabulary": 2**24, "context": 2**20, "width": 2**16, "layers": 2**10, "heads": 2**16, "hidden": 2**18}


def why_not(model: Any) -> str | None:
    """Why the engine cannot run this GPT-2, in a phrase; None where it can."""
    config = model.config
    if config.head != "write":
        return f"the engine runs a GPT-2 that writes, and this one's head is {config.head}"
    return no_activation(config)


def sizes(config: Any) -> dict[str, object]:
    """What the extension takes beside the weights."""
    return {
        **sizes_of(config),
        "tied": config.tied,
        "scale_by_head_width": config.scale_by_head_width,
        "scale_by_layer": config.scale_by_layer,
    }


def build(model: Any, asked: Asked) -> CompiledDecoder:
    """The model packed as asked for."""
    made = sizes(model.config)
    return _decoder(pack(native().GPT2, made, model, asked), made, asked)


def from_parts(parts: Any, made: Mapping[str, Any], asked: Asked) -> CompiledDecoder:
    """The model of these sizes from parts that were packed before; they are no more trusted than a file is.

    Raises FormatError for sizes that no model has, and for parts that are not of these sizes.
    """
    for name, largest in _LARGEST.items():
        value = made.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            raise FormatError(f"{name} must be in 1..{largest}, but is {value!r:.40}")
    kinds = {"tied": bool, "scale_by_head_width": bool, "scale_by_layer": bool, "epsilon": float, "activation": int}
    wrong = [name for name, kind in kinds.items() if type(made.get(name)) is not kind]
    if wrong or set(made) != {*kinds, *_LARGEST}:
        raise FormatError(f"the sizes must be those of a GPT-2: see {', '.join(sorted(wrong or set(made)))[:80]}")
    if made["width"] % made["heads"] or made["activation"] not in range(len(ACTIVATIONS)):
        raise FormatError(f"heads={made['heads']} or activation={made['activation']} is not one that a GPT-2 has")
    try:
        packed = native().GPT2(dict(made), parts, asked.bits, asked.kernels)
    except ValueError as error:
        raise FormatError(str(error)) from None
    return _decoder(packed, made, asked)


def _decoder(packed: Any, made: Mapping[str, Any], asked: Asked) -> CompiledDecoder:
    return CompiledDecoder(
        packed, vocabulary=made["vocabulary"], context=made["context"], bits=asked.bits, threads=asked.threads
    )
