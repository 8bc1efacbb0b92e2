"""Laplace by hand, over long rows, and next to GPT-2; the decoder's protocol is held by tests/contracts."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.errors import ConfigError, FormatError, UsageError
from headway.formats.folder import load, save
from headway.formats.laplace import LAYOUT
from headway.models.laplace import Laplace, LaplaceConfig, sized
from headway.nn.trace import Trace


def tiny(**settings: Any) -> Laplace:
    torch.manual_seed(3)
    sizes = {"vocabulary": 13, "width": 10, "n_layers": 2, "modes": 7, "feed_forward": 11, "initial_deviation": 0.4}
    return Laplace(LaplaceConfig(**{**sizes, **settings})).eval()


@pytest.mark.parametrize("singly", [100, pytest.param(10_000, marks=pytest.mark.night)])
def test_ten_thousand_tokens_equal_the_full_pass_in_a_state_that_does_not_grow(singly: int) -> None:
    model = tiny(n_layers=1)
    ids = torch.randint(13, (1, 10_000), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        full = model(ids)[0]
    state, at_once = model.start(rows=1), 10_000 - singly
    _, state = model.step(ids[:, :at_once], torch.tensor([at_once]), state)
    for at in range(at_once, 10_000):
        logits, state = model.step(ids[:, at : at + 1], torch.tensor([1]), state)
        torch.testing.assert_close(logits[0], full[at], rtol=0.0, atol=1e-4)
        assert state.hidden.numel() == 1 * 7 * 2
    assert bool(logits.isfinite().all()) and state.lengths.tolist() == [10_000]


def test_a_prefill_in_chunks_goes_on_exactly_where_it_stopped() -> None:
    model, ids = tiny(), torch.randint(13, (2, 101), generator=torch.Generator().manual_seed(5))
    state, found = model.start(rows=2), []
    for begin, end in ((0, 1), (1, 54), (54, 101)):
        logits, state = model.step(ids[:, begin:end], torch.tensor([end - begin] * 2), state, every=True)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), model(ids), rtol=0.0, atol=1e-4)


def test_states_are_zero_past_a_rows_end_and_do_not_depend_on_its_neighbours() -> None:
    model, ids = tiny(), torch.randint(13, (3, 7), generator=torch.Generator().manual_seed(5))
    states = model.encode(ids, torch.tensor([7, 2, 5]), segments=torch.ones_like(ids))
    assert states.shape == (3, 7, 10) and bool((states[1, 2:] == 0.0).all())
    torch.testing.assert_close(states[1, :2], model.encode(ids[1:2, :2])[0], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(states[0], model(ids, hidden=True)[0], rtol=0.0, atol=1e-5)


def test_the_stream_can_be_traced_and_heads_there_are_none() -> None:
    model, ids, trace = tiny(), torch.tensor([[1, 2, 3]]), Trace(residual=True)
    torch.testing.assert_close(model.encode(ids, trace=trace), model.encode(ids))
    assert sorted(trace.found) == ["embedding", "layers.0.residual", "layers.1.residual"]
    with pytest.raises(UsageError, match="no heads"):
        model.encode(ids, ablate=frozenset({(0, 0)}))


def test_it_reads_no_source() -> None:
    with pytest.raises(UsageError, match="reads no source"):
        tiny().start(torch.zeros(1, 2, dtype=torch.int64), rows=1)


@pytest.mark.parametrize(
    "settings", [{}, {"tied": False}, {"modes": None, "width": 11}, {"feed_forward": None, "n_layers": 3}]
)
def test_parameters_are_counted_without_building(settings: dict[str, Any]) -> None:
    model = tiny(**settings)
    assert model.config.n_parameters() == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("wanted", [1_000_000, 20_000_000, 124_000_000])
def test_a_model_of_a_wanted_size_is_within_two_percent_and_keeps_what_is_given(wanted: int) -> None:
    assert sized(wanted, 257).n_parameters() == pytest.approx(wanted, rel=0.02)
    given = sized(wanted, 257, {"n_layers": 2, "tied": False})
    assert (given.n_layers, given.tied) == (2, False)


def test_a_few_steps_of_learning_from_a_repeating_text_lower_the_loss() -> None:
    model = tiny(embedding_dropout=0.0, residual_dropout=0.0, initial_deviation=0.02).train()
    ids = torch.arange(5).repeat(7)[None].expand(3, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    model = tiny(context=19)
    save(model, None, tmp_path / "model")
    table = json.loads((tmp_path / "model/config.json").read_text())
    assert table["model_type"] == "headway-laplace" and table["modes"] == 7
    again, _ = load(tmp_path / "model")
    assert dataclasses.replace(again.config, foreign={}) == model.config
    ids = torch.randint(13, (2, 5), generator=torch.Generator().manual_seed(5))
    assert torch.equal(again(ids), model(ids))


def test_every_parameter_has_a_tensor_of_its_own_name() -> None:
    with torch.device("meta"):
        model = Laplace(LaplaceConfig())
    names = LAYOUT.tensors(model.config)
    assert {name.ours: name.shape for name in names} == {k: tuple(p.shape) for k, p in model.named_parameters()}


def test_a_folder_of_another_shape_is_refused() -> None:
    with pytest.raises(FormatError, match="n_heads is not a setting"):
        LAYOUT.read_config({**LAYOUT.write_config(LaplaceConfig()), "n_heads": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modes": 0}, "modes must be in 1"),
        ({"width": 0}, "width must be in 1"),
        ({"context": 0}, "context must be in 1"),
        ({"activation": "sine"}, "activation must be one of"),
        ({"residual_dropout": 1.0}, "residual_dropout must be in 0..1"),
        ({"epsilon": 0.0}, "epsilon must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LaplaceConfig(**settings)
