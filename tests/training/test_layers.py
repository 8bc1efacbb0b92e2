"""Learning rates by layer, and layers that are frozen: by hand, and in runs."""

import hashlib

import pytest
import torch
from start_models import save_start
from torch import nn

from headway.errors import ConfigError, FormatError, Interrupted
from headway.formats.folder import load
from headway.models.gpt2 import GPT2, GPT2Config
from headway.training.layers import FROZEN, freeze, layer_rates, read_frozen, write_frozen
from headway.training.recipe import recipe_from
from headway.training.run import train
from headway.training.trainer import Trainer


def model_of(n_layers: int = 3, tied: bool = True) -> GPT2:
    torch.manual_seed(5)
    return GPT2(GPT2Config(vocabulary=31, context=13, width=6, n_layers=n_layers, n_heads=2, tied=tied))


def frozen_names(model: nn.Module) -> set[str]:
    return {".".join(name.split(".")[:2]) for name, p in model.named_parameters() if not p.requires_grad}


@pytest.fixture
def start(tmp_path):
    """A model folder to begin with."""
    return save_start(tmp_path / "start")


@pytest.fixture
def tuned(texts, tmp_path, start):
    """A run that goes on from it."""

    def build(*assignments, output="tuned", steps=7):
        quiet = ("train.sample_tokens=0", "train.batch_size=6", "train.validation_tokens=100", "train.save_every=4")
        return recipe_from(
            texts, tmp_path / output, start=start, budget={"steps": steps}, assignments=(*quiet, *assignments)
        )

    return build


def test_rates_fall_by_the_decay_from_the_output_to_the_embeddings():
    rates = layer_rates(model_of(tied=False), 0.5)
    by_part = {".".join(name.split(".")[:2]): rate for name, rate in rates.items()}
    assert by_part == {
        "token_embedding.weight": 0.125,
        "position_embedding.weight": 0.125,
        "blocks.0": 0.25,
        "blocks.1": 0.5,
        "blocks.2": 1.0,
        "final_norm.weight": 1.0,
        "final_norm.bias": 1.0,
        "output.weight": 1.0,
    }


def test_a_tied_output_has_the_rate_of_the_embedding():
    rates = layer_rates(model_of(), 0.5)
    assert rates["token_embedding.weight"] == 0.125 and "output.weight" not in rates


def test_a_decay_of_one_leaves_every_rate_and_asks_for_no_order():
    assert set(layer_rates(model_of(), 1.0).values()) == {1.0}
    assert layer_rates(nn.Linear(2, 3), 1.0) == {"weight": 1.0, "bias": 1.0}
    with pytest.raises(ConfigError, match="train.layer_decay needs a model of one stack of layers"):
        layer_rates(nn.Linear(2, 3), 0.9)


@pytest.mark.parametrize(
    ("n_layers", "expected"),
    [
        (0, set()),
        (1, {"token_embedding.weight", "position_embedding.weight", "blocks.0"}),
        (2, {"token_embedding.weight", "position_embedding.weight", "blocks.0", "blocks.1"}),
        (3, {"token_embedding.weight", "position_embedding.weight", "blocks.0", "blocks.1", "blocks.2"}),
    ],
)
def test_the_embeddings_and_the_lowest_layers_freeze(n_layers, expected):
    model = model_of()
    freeze(model, n_layers)
    assert frozen_names(model) == expected


def test_more_frozen_layers_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="at most the model's 3 layers, but got 4"):
        freeze(model_of(), 4)


def test_frozen_weights_come_back_from_their_folder_and_others_do_not(tmp_path):
    model, other = model_of(), model_of()
    freeze(model, 1)
    freeze(other, 1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    write_frozen(tmp_path, model)
    read_frozen(tmp_path, other)
    before, after = dict(model.named_parameters()), dict(other.named_parameters())
    assert {name for name in before if torch.equal(before[name], after[name])} == {
        name for name, parameter in before.items() if not parameter.requires_grad
    }
    freeze(other, 2)
    with pytest.raises(FormatError, match="not those that this run keeps frozen"):
        read_frozen(tmp_path, other)


def test_a_run_keeps_frozen_layers_bit_for_bit_and_moves_the_others(tuned, start, tmp_path):
    train(tuned("train.freeze=1", "train.learning_rate=0.01"))
    before, after = (dict(load(folder)[0].named_parameters()) for folder in (start, tmp_path / "tuned"))
    same = {".".join(name.split(".")[:2]) for name in before if torch.equal(before[name], after[name])}
    moved = {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}
    assert same == {"token_embedding.weight", "position_embedding.weight", "blocks.0"}
    assert moved == {"blocks.1", "final_norm.weight", "final_norm.bias"}
    assert not (tmp_path / "tuned/training" / FROZEN).exists()


def test_a_run_with_more_frozen_layers_than_there_are_leaves_nothing_behind(tuned, tmp_path):
    with pytest.raises(ConfigError, match="train.freeze must be at most the model's 2 layers, but got 3"):
        train(tuned("train.freeze=3"))
    assert not list(tmp_path.glob("*tuned*"))


def test_an_interrupted_run_with_frozen_layers_ends_bit_for_bit_the_same(tuned, tmp_path, monkeypatch):
    settings = ("train.freeze=1", "train.layer_decay=0.7")
    train(tuned(*settings))
    take = Trainer._save_if_due

    def stop(self, state, request):
        if state.step == 5:
            request.signal_number = 15
        take(self, state, request)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_if_due", stop)
        with pytest.raises(Interrupted):
            train(tuned(*settings, output="stopped"))
    assert (tmp_path / "stopped/training" / FROZEN).exists()
    assert train(tuned(*settings, output="stopped")).resumed_from == 5
    digests = {
        hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest()
        for name in ("tuned", "stopped")
    }
    assert len(digests) == 1


def test_the_first_step_moves_each_layer_by_its_share_of_the_rate(tuned, start, tmp_path):
    # The first step of AdamW moves a weight by the rate whatever its gradient, where that is not next to nothing.
    train(tuned("train.layer_decay=0.5", "train.weight_decay=0.0", "train.learning_rate=0.001", steps=1))
    before, after = (dict(load(folder)[0].named_parameters()) for folder in (start, tmp_path / "tuned"))
    moved = {name: float((before[name] - after[name]).detach().abs().max()) for name in before}
    top = moved["blocks.1.feed_forward.contract.weight"]
    assert top > 0
    assert moved["final_norm.weight"] == pytest.approx(top, rel=0.01)
    assert moved["blocks.0.feed_forward.contract.weight"] == pytest.approx(0.5 * top, rel=0.01)
    assert moved["token_embedding.weight"] == pytest.approx(0.25 * top, rel=0.01)
