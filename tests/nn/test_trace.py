"""What a trace keeps of the sublayers adds up to the streams, and keeping it changes nothing."""

from typing import Any

import pytest
import torch

from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.nn.trace import Trace

SIZES: dict[str, Any] = {"vocabulary": 31, "context": 23, "width": 14, "n_layers": 3, "feed_forward": 19}
MODELS: dict[str, Any] = {
    "gpt2": lambda: GPT2(GPT2Config(**SIZES, n_heads=2, initial_deviation=0.6)),
    "laplace": lambda: Laplace(LaplaceConfig(**SIZES, modes=5, initial_deviation=0.6)),
    "bert-pre": lambda: BERT(BERTConfig(**SIZES, n_heads=2, norm="pre", initial_deviation=0.3)),
    "fnet-pre": lambda: BERT(BERTConfig(**SIZES, n_heads=2, norm="pre", mixer="fourier", initial_deviation=0.3)),
    "none-pre": lambda: BERT(BERTConfig(**SIZES, n_heads=2, norm="pre", mixer="none", initial_deviation=0.3)),
    "bert-post": lambda: BERT(BERTConfig(**SIZES, n_heads=2, initial_deviation=0.3)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_the_parts_of_a_layer_are_what_its_stream_gains(name: str) -> None:
    torch.manual_seed(3)
    model, ids, lengths = MODELS[name]().eval(), torch.randint(31, (3, 7)), torch.tensor([7, 2, 5])
    trace = Trace(residual=True, parts=True)
    states = model.encode(ids, lengths, trace=trace)
    torch.testing.assert_close(states, model.encode(ids, lengths), rtol=0.0, atol=1e-5)
    before = trace.found["embedding"]
    for layer, block in enumerate(model.blocks):
        mixed, changed = (trace.found[f"layers.{layer}.{part}_added"] for part in ("attention", "feed_forward"))
        after = trace.found[f"layers.{layer}.residual"]
        assert mixed.shape == changed.shape == after.shape == (3, 7, 14)
        gained = before + mixed + changed
        if name == "bert-post":
            gained = block.feed_forward_norm(block.attention_norm(before + mixed) + changed)
        inside = torch.arange(7) < lengths[:, None]
        torch.testing.assert_close(gained[inside], after[inside], rtol=0.0, atol=1e-5)
        before = after


@torch.no_grad()
def test_parts_are_kept_only_where_they_are_asked_for() -> None:
    for name, build in MODELS.items():
        trace = Trace(residual=True)
        build().eval().encode(torch.zeros(1, 5, dtype=torch.int64), None, trace=trace)
        assert not [found for found in trace.found if found.endswith("_added")], name
