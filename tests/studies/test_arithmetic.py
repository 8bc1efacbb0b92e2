"""Counted arithmetic against what torch counts in a real pass, and against numbers worked by hand."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headway.errors import ConfigError
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer
from headway.models.transformer_sizes import TransformerConfig
from headway.studies.arithmetic import rnn_search_products, training_flops, transformer_products

B, S, T = 3, 7, 5


def counted(model: torch.nn.Module) -> int:
    """Operations of the products of a forward pass over B pairs, as torch counts them, fused kernels taken apart."""
    source, target = torch.zeros(B, S, dtype=torch.int64), torch.zeros(B, T, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(source, None, target)
    return counter.get_total_flops()


def test_the_transformers_products_are_those_that_run() -> None:
    config = TransformerConfig(
        vocabulary=23, width=22, n_heads=2, encoder_layers=3, decoder_layers=2, feed_forward=13, norm="pre"
    )
    # torch counts causal attention as the whole square; the half that is counted here is what has to be computed.
    whole_square = config.decoder_layers * config.width * T * (T - 1)
    assert counted(Transformer(config)) == 2 * B * (transformer_products(config, S, T) + whole_square)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_fixed_rnns_products_are_those_that_run(bidirectional: bool) -> None:
    config = RNNSearchConfig(
        vocabulary=23, width=11, embedding=7, maxout=5, attention="fixed", bidirectional=bidirectional
    )
    # The state after the last input is read by nobody, and its unit does not run.
    unread = 3 * config.width**2 + 3 * config.width * config.embedding
    found = counted(RNNSearch(config)) / (2 * B)
    assert found == pytest.approx(rnn_search_products(config, S, T), abs=unread + 1)


def test_rnn_searchs_products_are_nearly_those_that_run() -> None:
    config = RNNSearchConfig(vocabulary=23, width=11, embedding=7, maxout=5, alignment=13)
    found = counted(RNNSearch(config)) / (2 * B)
    assert found == pytest.approx(rnn_search_products(config, S, T), rel=0.05)


def test_training_is_three_passes_for_each_target_token() -> None:
    config = RNNSearchConfig(vocabulary=23, width=11, embedding=7, maxout=5)
    assert training_flops("rnnsearch", config, source=S, target=T) == 6 * rnn_search_products(config, S, T) / T


def test_longer_sources_cost_attention_more_than_the_fixed_context() -> None:
    fixed = RNNSearchConfig(vocabulary=23, width=11, embedding=7, maxout=5, attention="fixed")
    attending = RNNSearchConfig(vocabulary=23, width=11, embedding=7, maxout=5)
    growth = [rnn_search_products(config, 40, T) - rnn_search_products(config, 10, T) for config in (fixed, attending)]
    assert growth[1] > growth[0]


def test_a_family_without_arithmetic_is_refused() -> None:
    with pytest.raises(ConfigError, match="gpt2 is not counted; it is of transformer, rnnsearch"):
        training_flops("gpt2", None, source=1.0, target=1.0)
