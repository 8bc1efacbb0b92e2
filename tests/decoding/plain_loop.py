"""What decoding must equal: one row, the full pass over its whole text for every token, no cache, no batch."""

from collections.abc import Sequence

import torch

from headway.decoding.choice import Choice, choose
from headway.models.gpt2 import GPT2, GPT2Config

VOCABULARY = 31


def tiny_gpt2(context: int = 53) -> GPT2:
    """Random weights, large enough that the most probable tokens vary with the text."""
    torch.manual_seed(3)
    config = GPT2Config(vocabulary=VOCABULARY, context=context, width=14, n_layers=2, n_heads=2, initial_deviation=0.6)
    return GPT2(config).eval()


@torch.no_grad()
def plain_loop(
    model: GPT2, prompt: Sequence[int], choice: Choice, *, max_new_tokens: int, sample: int = 0
) -> tuple[list[int], list[float]]:
    """The continuation and its log-probabilities, by the documented window where the context is too short."""
    ids = list(prompt)
    seen = ids[-model.context :]
    logprobs = []
    for position in range(max_new_tokens):
        logits = model(torch.tensor([seen]))[:, -1]
        token = choose(logits, [choice], [ids], [sample], [position])[0]
        logprobs.append(float(logits[0].double().log_softmax(-1)[token]))
        ids.append(token)
        seen = [*seen, token] if len(seen) < model.context else ids[-max(1, model.context // 2) :]
    return ids[len(prompt) :], logprobs
