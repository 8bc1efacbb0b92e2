"""What each part of a model adds to the logit of the token that follows: direct logit attribution.

The stream is a sum of what the embedding and each sublayer added (Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"); with the scale of every norm held as it was in this pass, each part goes to the logit by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from headway.errors import UsageError
from headway.insight.anatomy import Anatomy
from headway.insight.token_texts import TokenTexts

_SUBLAYERS = ("attention", "cross_attention", "feed_forward")
_BIAS = "bias"


def contributions(
    anatomy: Anatomy, found: Mapping[str, Tensor], ids: Sequence[int], last: int, texts: TokenTexts
) -> dict[str, Any]:
    """Each part's share of a logit by position: "layers", "attention" [L][T], "feed_forward" [L][T], "embedding" [T].

    The logit at position t is that of the token that does follow, ids[t + 1]; at the last position of `last`, which the
    caller takes to be the most probable one. All is relative to the mean over the vocabulary: a part's share is its
    vector, through the norms that come after it with their scales as they were, times (the token's row of the output
    matrix minus the mean row). "attention" is what whatever mixes added, its output bias included; "embedding" the
    token's and the position's together; "bias" what the norms' and the output's own biases give, which depends on the
    token alone where only one norm stands at the end. The parts and "bias" add up to "logit", the model's logit of the
    token minus its mean logit; this is float64, so the model's own float32 is off in the last digits. With norms after
    each sum (Vaswani et al. 2017) each part passes all the later ones. A decoder that reads a source has
    "cross_attention" [L][T] too. "targets" are the tokens meant.

    Raises UsageError for a reader: what stands before its output is not linear, so nothing adds up.
    """
    if not anatomy.writes or not anatomy.blocks:
        raise UsageError(
            "contributions are of models that write by layers on one stream: GPT-2, Laplace, the Transformer's decoder"
        )
    targets = [*ids[1:], last]
    parts = _at_the_output(anatomy, found)
    direction, constant = _direction(anatomy, targets)
    shares = {name: (part * direction).sum(dim=1) for name, part in parts.items()}  # (T,) each
    shares[_BIAS] = shares.get(_BIAS, torch.zeros_like(constant)) + constant
    n_layers = len(anatomy.blocks)
    result: dict[str, Any] = {"layers": [str(layer) for layer in range(n_layers)]}
    for sublayer in _SUBLAYERS:
        if f"{sublayer}.0" in shares:
            result[sublayer] = [shares[f"{sublayer}.{layer}"].tolist() for layer in range(n_layers)]
    result["embedding"], result[_BIAS] = shares["embedding"].tolist(), shares[_BIAS].tolist()
    result["logit"] = torch.stack(list(shares.values())).sum(dim=0).tolist()
    result["targets"] = [texts.one(id) for id in targets]
    return result


def _at_the_output(anatomy: Anatomy, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each part (T, D) as the output matrix reads it; together they are the normed stream."""
    parts = {"embedding": found["embedding"][0].double()}
    for layer, block in enumerate(anatomy.blocks):
        for sublayer in _SUBLAYERS:
            added = found.get(f"layers.{layer}.{sublayer}_added")
            if added is None:
                continue
            parts[f"{sublayer}.{layer}"] = added[0].double()
            if anatomy.post:
                _through(cast(nn.LayerNorm, block.get_submodule(f"{sublayer}_norm")), parts)
    if anatomy.final_norm is not None:
        _through(cast(nn.LayerNorm, anatomy.final_norm), parts)
    return parts


def _through(norm: nn.LayerNorm, parts: dict[str, Tensor]) -> None:
    """Take every part through a norm whose scale is that of their sum; its bias becomes a part of its own."""
    whole = torch.stack(list(parts.values())).sum(dim=0)  # (T, D)
    scale = (whole.var(dim=1, keepdim=True, unbiased=False) + norm.eps).rsqrt()
    for name, part in parts.items():
        parts[name] = (part - part.mean(dim=1, keepdim=True)) * scale * norm.weight.double()
    if norm.bias is not None:
        parts[_BIAS] = parts.get(_BIAS, torch.zeros_like(whole)) + norm.bias.double()


def _direction(anatomy: Anatomy, targets: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Each target's row of the output matrix minus the mean row (T, D), and the same of the output's bias (T,)."""
    weight = anatomy.model.output.weight
    at = torch.tensor(targets, device=weight.device)
    direction = weight[at].double() - weight.mean(dim=0, dtype=torch.float64)
    bias = getattr(anatomy.model, "output_bias", None)
    if bias is None:
        return direction, direction.new_zeros(len(targets))
    return direction, bias[at].double() - bias.double().mean()
