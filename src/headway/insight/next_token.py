"""What may come next: the most probable tokens, how much of each the settings of a choice keep, and the rest's sums."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from headway.errors import UsageError
from headway.insight.anatomy import anatomy_of
from headway.insight.inspection import spelled_out
from headway.insight.one_pass import MOST_TOKENS, Fed, run_pass
from headway.insight.token_texts import TokenTexts
from headway.nn.trace import Ablation
from headway.tasks.next_token import Choice, fitting, next_token
from headway.text.tokenizer import Tokenizer

_MOST = 1000


# Six parameters: the model, what stands before, and what is shown.
def next_candidates(
    model: nn.Module,
    tokenizer: Tokenizer,
    ids: Sequence[int] | str,
    choice: Choice,
    *,
    top: int = 30,
    ablate: Ablation = frozenset(),
) -> dict[str, Any]:
    """The `top` most probable tokens after ids or a text, and what is left, as one object for JSON.

    {"candidates": [{"id", "text", "probability", "kept_probability"}], "rest": {"count", "probability",
    "kept_probability"}, "windowed"}: `probability` is the model's own, over its full vocabulary; `kept_probability`
    what the choice's temperature, top-k, top-p and min-p make of it, exactly that which is drawn from. No ids are the
    end-of-text token alone; ids past the context are cut to the last that fit, as a writer does, and "windowed" says
    so. ablate: as in `InspectionRequest`. Open the model in float32 and put it in evaluation mode.

    Raises UsageError for a model that does not write or that reads a source, and for a choice with bias or penalties.
    """
    anatomy = anatomy_of(model)
    if not anatomy.writes or anatomy.reads_source:
        raise UsageError(f"only a writer goes on from a text, but this is a {anatomy.family} model of another kind")
    if not 1 <= top <= _MOST:
        raise UsageError(f"top must be in 1..{_MOST}, but got {top}")
    given = tokenizer.encode(ids) if isinstance(ids, str) else list(ids)
    if not given and tokenizer.end_of_text is not None:
        given = [tokenizer.end_of_text]
    read = fitting(given, min(MOST_TOKENS, anatomy.model.context or MOST_TOKENS))
    with torch.no_grad():
        seen = run_pass(anatomy, Fed(ids=read), None, spelled_out(anatomy, ablate))
        found = next_token(seen.logits([len(read) - 1])[0], choice)
    best, texts = found.best(top), TokenTexts(tokenizer)
    rest = torch.ones(len(found.own), dtype=torch.bool)
    rest[best] = False
    return {
        "candidates": [
            {**texts.one(id), "probability": float(found.own[id]), "kept_probability": float(found.kept[id])}
            for id in best
        ],
        "rest": {
            "count": int(rest.sum()),
            "probability": float(found.own[rest].sum()),
            "kept_probability": float(found.kept[rest].sum()),
        },
        "windowed": len(read) < len(given),
    }


__all__ = ["Choice", "next_candidates"]
