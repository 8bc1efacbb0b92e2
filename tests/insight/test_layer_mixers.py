"""By which means each layer of a model mixes its tokens, as the page names it."""

from typing import Any

import pytest
import torch

from headway.errors import UsageError
from headway.insight.spectrum_model import mixers_of
from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig


def reader(mixer: Any, attention_layers: int = 0) -> BERT:
    torch.manual_seed(1)
    config = BERTConfig(
        vocabulary=31,
        context=13,
        width=12,
        n_layers=3,
        n_heads=3,
        head="none",
        mixer=mixer,
        attention_layers=attention_layers,
    )
    return BERT(config).eval()


@pytest.mark.parametrize("mixer", ["attention", "fourier", "hartley", "none"])
def test_every_mixer_of_a_reader_has_its_name(mixer: str) -> None:
    assert mixers_of(reader(mixer)) == (mixer,) * 3


def test_attention_in_the_last_layers_of_a_fourier_reader_is_named() -> None:
    assert mixers_of(reader("fourier", attention_layers=1)) == ("fourier", "fourier", "attention")


def test_writers_attend_or_keep_a_bank() -> None:
    torch.manual_seed(1)
    assert mixers_of(GPT2(GPT2Config(vocabulary=31, context=13, width=10, n_layers=2, n_heads=2))) == ("attention",) * 2
    assert mixers_of(Laplace(LaplaceConfig(vocabulary=31, width=10, n_layers=2))) == ("laplace",) * 2


def test_a_model_without_mixing_layers_is_refused() -> None:
    torch.manual_seed(1)
    with pytest.raises(UsageError, match="no layers that mix tokens"):
        mixers_of(RNNSearch(RNNSearchConfig(vocabulary=31, width=7)))
