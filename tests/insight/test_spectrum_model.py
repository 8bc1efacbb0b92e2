"""What a model does with a signal: which places are measured, and that the figures are those of the model."""

import math
from typing import Any

import pytest
import torch

from headway.errors import UsageError
from headway.insight.spectrum_model import (
    bank_spectrum,
    cut_windows,
    head_spectrum,
    position_spectrum,
    spectrum_of,
)
from headway.insight.spectrum_tables import spectrum_html, spectrum_text, tables_of
from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig
from headway.nn.trace import Trace

VOCABULARY = 31


def windows(rows: int = 40, length: int = 11) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(5))


def reader(mixer: Any = "attention", positions: Any = "learned") -> BERT:
    torch.manual_seed(1)
    config = BERTConfig(
        vocabulary=VOCABULARY,
        context=13,
        width=12,
        n_layers=2,
        n_heads=3,
        head="none",
        mixer=mixer,
        positions=positions,
    )
    return BERT(config).eval()


def writer() -> GPT2:
    torch.manual_seed(1)
    return GPT2(GPT2Config(vocabulary=VOCABULARY, context=13, width=10, n_layers=3, n_heads=2)).eval()


def test_every_head_is_measured_on_the_traced_weights() -> None:
    model = writer()
    found = spectrum_of(model, "gpt2", windows(rows=3))
    assert [(one.layer, one.head) for one in found.heads] == [(layer, head) for layer in range(3) for head in range(2)]
    trace = Trace()
    model.encode(windows(rows=3), None, trace=trace)
    assert found.heads[3] == head_spectrum(1, 1, trace.found["layers.1.attention"][:, 1])
    assert found.readings == () and found.tokens == 33 and found.positions is not None


def test_uniform_weights_are_an_average_and_a_shift_is_not() -> None:
    average = head_spectrum(0, 0, torch.full((1, 64, 64), 1 / 64))
    assert average.low == pytest.approx(1.0) and average.passed == pytest.approx(0.0, abs=1e-9)
    assert average.entropy == pytest.approx(6.0) and average.effective_rank == pytest.approx(1.0, abs=1e-6)
    assert average.condition == math.inf and average.with_residual == pytest.approx(2.0)
    shift = head_spectrum(0, 0, torch.eye(64).roll(1, 1)[None])
    assert shift.passed == pytest.approx(1.0) and shift.effective_rank == pytest.approx(64.0)
    assert shift.entropy == 0.0 and shift.distance == pytest.approx((63 + 63) / 64)


def test_a_wave_in_the_positions_is_found() -> None:
    places = torch.arange(96.0)[:, None]
    found = position_spectrum(torch.cos(2 * math.pi * places / 24 + torch.arange(5.0)) + 3.0)
    assert found.leading[0] == (24.0, pytest.approx(1.0)) and len(found.shares) == 48
    assert found.positions == 96 and found.low == pytest.approx(0.0, abs=1e-9)


def test_a_bank_is_told_by_its_times() -> None:
    found = bank_spectrum(4, torch.tensor([0.0, -math.log(10.0), -math.log(200.0)]), torch.tensor([1.0, 0.0, 2.0]))
    assert found.decay == pytest.approx((1.0, 10.0, 200.0)) and found.slow == pytest.approx(1 / 3)
    assert found.period[0] == pytest.approx(2 * math.pi) and found.bound == pytest.approx(400.0, rel=1e-3)


@pytest.mark.parametrize("mixer", ["attention", "fourier", "hartley", "laplace", "none"])
def test_every_mixer_of_a_reader_is_read_back(mixer: str) -> None:
    found = spectrum_of(reader(mixer=mixer), "bert", windows(), probe_tokens=100)
    wheres = {one.where for one in found.readings}
    assert len(found.heads) == (6 if mixer == "attention" else 0) and len(found.banks) == (mixer == "laplace") * 2
    assert ("mixer, turned back" in wheres) == (mixer in ("fourier", "hartley", "none"))
    assert found.readings[0].where == "embedding" and found.readings[0].input > 0.99
    by_place = {(one.where, one.layer): one for one in found.readings}
    if mixer == "hartley":
        assert by_place["mixer, turned back", 0].input > 0.99 > 0.5 > by_place["mixer", 0].input
    if mixer == "fourier":  # every other number of the even half stands at two places, so half is read back at most
        assert by_place["mixer, turned back", 0].input < 0.8
    if mixer == "none":
        assert by_place["mixer", 0].input < 0.1 < 0.9 < by_place["stream", 0].input


def test_decoders_and_sources_are_measured_too() -> None:
    torch.manual_seed(1)
    laplace = Laplace(LaplaceConfig(vocabulary=VOCABULARY, width=10, n_layers=2)).eval()
    found = spectrum_of(laplace, "laplace", windows(), probe_tokens=100)
    assert len(found.banks) == 2 and {one.layer for one in found.readings if one.where == "mixer"} == {0, 1}
    config = TransformerConfig(
        vocabulary=VOCABULARY, width=12, n_heads=3, encoder_layers=2, decoder_layers=1, feed_forward=17
    )
    found = spectrum_of(Transformer(config).eval(), "transformer", windows(), probe_tokens=100)
    assert len(found.heads) == 6 and len(found.readings) == 5


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = reader()
    before = model.encode(windows(rows=2))
    spectrum_of(model, "bert", windows(), probe_tokens=100)
    assert torch.equal(model.encode(windows(rows=2)), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_mixing_layers_is_refused() -> None:
    model = RNNSearch(RNNSearchConfig(vocabulary=VOCABULARY, width=7))
    with pytest.raises(UsageError, match="spectrum"):
        spectrum_of(model, "rnnsearch", None)


def test_windows_hold_the_texts_tokens_in_order() -> None:
    assert cut_windows(range(7), 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert cut_windows(range(7), 5, begin=91, end=92).tolist() == [[91, 0, 1, 2, 92], [91, 3, 4, 5, 92]]
    assert cut_windows(range(2), 9, begin=91, end=92).tolist() == [[91, 0, 1, 92]]
    assert not cut_windows([], 9).numel()


def test_tables_and_pages_show_every_figure_and_say_what_is_missing() -> None:
    found = spectrum_of(writer(), "gpt2", windows(), probe_tokens=100)
    text, page = spectrum_text(found), spectrum_html(found, title="<b>", figures=["<svg></svg>"])
    assert len(tables_of(found)) == 3 and "period in tokens" in text and "mixer" in text
    assert "<b>" not in page and "&lt;b&gt;" in page and "<svg></svg>" in page and page.count("<table>") == 3
    nothing = spectrum_text(spectrum_of(reader(mixer="fourier", positions="none"), "bert", None))
    assert "no learned position" in nothing and "Without a text" in nothing
    assert "too few" in spectrum_text(spectrum_of(writer(), "gpt2", windows(rows=1)))
