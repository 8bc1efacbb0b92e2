"""Counted arithmetic against what torch counts in a real pass, and against numbers worked by hand."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from headway.errors import ConfigError
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer
from headway.models.transformer_sizes import TransformerConfig
from headway.studies.arithmetic import (
    bert_products,
    gpt2_products,
    laplace_products,
    reading_flops,
    rnn_search_products,
    training_flops,
    transformer_products,
)

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


def counted_rows(model: torch.nn.Module) -> int:
    """Operations of the products of a forward pass over B rows of S tokens."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.zeros(B, S, dtype=torch.int64), torch.full((B,), S))
    return counter.get_total_flops()


def test_gpt2s_products_are_those_that_run() -> None:
    config = GPT2Config(vocabulary=23, context=11, width=22, n_heads=2, n_layers=3, feed_forward=13)
    whole_square = config.n_layers * config.width * S * (S - 1)
    assert counted_rows(GPT2(config)) == 2 * B * (gpt2_products(config, S, 1.0) + whole_square)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("transform", [True, False])
def test_berts_products_are_those_that_run(gated: bool, transform: bool) -> None:
    config = BERTConfig(
        vocabulary=23, context=11, width=22, n_heads=2, n_layers=3, feed_forward=13, gated=gated, transform=transform
    )
    assert counted_rows(BERT(config)) == 2 * B * bert_products(config, S, 1.0)


def test_a_reader_is_asked_for_its_hidden_tokens_alone() -> None:
    config = BERTConfig(vocabulary=23, context=11, width=22, n_heads=2, n_layers=3, transform=False)
    apart = bert_products(config, S, 1.0) - bert_products(config, S, 0.3)
    assert apart == pytest.approx(0.7 * S * config.width * config.vocabulary)
    assert reading_flops("bert", config, row=S, asked=0.3) == 6 * bert_products(config, S, 0.3) / S


def test_a_transform_costs_less_than_attention_and_its_cost_grows_slower_with_length() -> None:
    attention, fourier = (
        BERTConfig(vocabulary=23, context=1024, width=64, n_heads=2, n_layers=3, mixer=mixer)
        for mixer in ("attention", "fourier")
    )
    assert bert_products(fourier, 64, 1.0) < bert_products(attention, 64, 1.0)
    growth = [
        bert_products(config, 1024, 0.0) / 1024 - bert_products(config, 64, 0.0) / 64 for config in (attention, fourier)
    ]
    assert growth[1] < growth[0] / 100


def test_a_laplace_layer_costs_each_token_the_same_however_long_the_row() -> None:
    config = LaplaceConfig(vocabulary=23, width=22, n_layers=3)
    assert laplace_products(config, 7, 1.0) / 7 == laplace_products(config, 700, 1.0) / 700


def test_a_family_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="rnnsearch is not counted; it is of gpt2, bert, laplace"):
        reading_flops("rnnsearch", None, row=1.0, asked=1.0)
