"""The logit lens (nostalgebraist 2020): what a model would say if it stopped after a layer.

The stream after each layer goes through the norm and the output matrix that are trained to read the last one; for a
masked-word reader through its whole masked-word head.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from headway.errors import UsageError
from headway.insight.anatomy import Anatomy
from headway.insight.token_texts import TokenTexts

MOST = 50
_AT_ONCE = 64


def logit_lens(anatomy: Anatomy, found: Mapping[str, Tensor], texts: TokenTexts, count: int) -> dict[str, Any]:
    """The `count` most probable tokens after each layer at each position: {"layers", "top": [layer][position][k]}.

    found: a trace with the streams of one row. Of the last layer it is what the model itself says. Raises UsageError
    where there are no streams or no output over words, or for a count past 50.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"logit_lens must be in 1..{MOST} (or 0: none), but got {count}")
    names = ["embedding", *(f"layers.{layer}.residual" for layer in range(len(anatomy.blocks)))]
    if not anatomy.has_words or names[-1] not in found:
        raise UsageError("a logit lens needs layers with a stream, and an output over words: this model has not both")
    layers = []
    for name in names:
        states = anatomy.normed(found[name][0])  # (T, D)
        layer: list[Any] = []
        for begin in range(0, states.shape[0], _AT_ONCE):
            layer += most_probable(anatomy.logits(states[begin : begin + _AT_ONCE]), texts, count)
        layers.append(layer)
    return {"layers": ["embedding", *(str(layer) for layer in range(len(anatomy.blocks)))], "top": layers}


def most_probable(logits: Tensor, texts: TokenTexts, count: int) -> list[list[dict[str, Any]]]:
    """logits (N, V) -> of each row the `count` most probable tokens with their probabilities, highest first."""
    logits = logits.float()
    best = logits.topk(min(count, logits.shape[1]), dim=1)
    probabilities = (best.values - logits.logsumexp(dim=1, keepdim=True)).exp()
    return [
        [{**texts.one(id), "probability": probability} for id, probability in zip(ids, values, strict=True)]
        for ids, values in zip(best.indices.tolist(), probabilities.tolist(), strict=True)
    ]
