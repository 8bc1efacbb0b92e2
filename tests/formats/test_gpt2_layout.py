"""GPT-2 folders of transformers and ours: the same logits both ways, and every refusal named."""

import importlib.util
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from headway.errors import FormatError
from headway.formats.folder import load, read_config, save
from headway.formats.gpt2 import LAYOUT, tensors, write_config
from headway.formats.gpt2 import read_config as read_gpt2
from headway.formats.weights import materialise
from headway.models.gpt2 import GPT2, SIZES, GPT2Config

PUBLISHED = Path(str(importlib.util.find_spec("iglm").origin)).parent / "trained_models"  # type: ignore[union-attr]
ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh", "gelu", "relu", "silu", "swish", "tanh", "gelu_fast")


def random_config(seed: int) -> transformers.GPT2Config:
    chance = random.Random(seed)
    n_heads, width = chance.choice([(1, 7), (2, 10), (3, 15), (5, 35), (7, 77)])
    return transformers.GPT2Config(
        vocab_size=chance.choice([11, 53, 101]),
        n_positions=chance.choice([5, 17, 29]),
        n_embd=width,
        n_layer=chance.choice([1, 2, 3]),
        n_head=n_heads,
        n_inner=chance.choice([None, 13, 41]),
        activation_function=chance.choice(ACTIVATIONS),
        layer_norm_epsilon=chance.choice([1e-5, 1e-3]),
        tie_word_embeddings=chance.choice([True, False]),
        scale_attn_weights=chance.choice([True, False]),
        scale_attn_by_inverse_layer_idx=chance.choice([True, False]),
        reorder_and_upcast_attn=chance.choice([True, False]),
        bos_token_id=None,
        eos_token_id=None,
    )


def random_transformer(config: transformers.GPT2Config, seed: int) -> Any:
    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def largest_difference(ours: Any, theirs: Any) -> float:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(ours.config.vocabulary, (2, min(ours.context, 41)), generator=generator)
    with torch.no_grad():
        return float((ours(ids) - theirs(ids).logits).abs().max())


@pytest.mark.parametrize("seed", range(20))
def test_a_random_configuration_gives_the_logits_of_transformers_both_ways(tmp_path: Path, seed: int) -> None:
    theirs = random_transformer(random_config(seed), seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, tokenizer = load(tmp_path / "theirs")
    assert tokenizer is None and not ours.training
    assert largest_difference(ours, theirs) < 1e-4
    save(ours, None, tmp_path / "ours")
    reopened = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    assert largest_difference(ours, reopened) < 1e-4
    written, original = load_file(tmp_path / "ours/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors")
    assert written.keys() == original.keys()
    assert all(torch.equal(written[name], original[name]) for name in original)


@pytest.mark.parametrize("name", ["IgLM", "IgLM-S"])
def test_published_weights_give_the_logits_of_transformers(tmp_path: Path, name: str) -> None:
    ours, _ = load(PUBLISHED / name)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(PUBLISHED / name)
    assert largest_difference(ours, theirs.eval()) < 1e-4
    save(ours, None, tmp_path / name)
    assert largest_difference(ours, transformers.GPT2LMHeadModel.from_pretrained(tmp_path / name)) < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_the_table_has_the_shapes_of_transformers_for_every_published_size(size: str) -> None:
    config = SIZES[size]
    table = {key: value for key, value in write_config(config).items() if key != "architectures"}
    with torch.device("meta"):
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**table))
        ours = GPT2(config)
    expected = {name: tuple(value.shape) for name, value in theirs.named_parameters()}
    assert {name.foreign: name.shape for name in tensors(config)} == expected
    assert {name.ours for name in tensors(config)} == {name for name, _ in ours.named_parameters()}
    assert sum(value.numel() for value in theirs.parameters()) == config.n_parameters()


@pytest.mark.night
@pytest.mark.parametrize("size", ["124M", "355M", "774M"])
def test_a_published_size_gives_the_logits_of_transformers(tmp_path: Path, size: str) -> None:
    with torch.device("meta"):
        ours = GPT2(SIZES[size])
    materialise(ours, torch.float32, torch.device("cpu"))
    torch.manual_seed(5)
    ours.initialise()
    save(ours.eval(), None, tmp_path / size)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / size).eval()
    assert largest_difference(ours, theirs) < 1e-4
    assert largest_difference(load(tmp_path / size)[0], theirs) < 1e-4


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = {name: value.clone() for name, value in load_file(path).items()}
    change(weights)
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, path, {"format": "pt"})


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(folder)[0](torch.arange(7)[None])


def test_names_without_prefix_and_old_masks_are_understood(folder: Path) -> None:
    before = logits(folder)

    def age(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        for layer, prefix in itertools.product(range(3), ("", "transformer.")):
            weights[f"{prefix}h.{layer}.attn.bias"] = torch.ones(1, 1, 13, 13, dtype=torch.uint8)
            weights[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)

    rewrite(folder, age)
    assert torch.equal(logits(folder), before)


def test_a_head_equal_to_the_embedding_is_the_tied_one(folder: Path) -> None:
    before = logits(folder)
    rewrite(folder, lambda weights: weights.update({"lm_head.weight": weights["transformer.wte.weight"]}))
    assert torch.equal(logits(folder), before)
    model, _ = load(folder)
    assert model.output.weight is model.token_embedding.weight


def test_a_head_that_differs_is_kept_and_said(folder: Path, tmp_path: Path) -> None:
    rewrite(folder, lambda weights: weights.update({"lm_head.weight": torch.zeros(31, 10)}))
    with pytest.warns(UserWarning, match="lm_head.weight differs"):
        model, _ = load(folder)
    assert not model.config.tied and not model(torch.zeros(1, 2, dtype=torch.int64)).any()
    save(model, None, tmp_path / "again")
    assert not load(tmp_path / "again")[0].config.tied


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("transformer.ln_f.bias"), "missing: transformer.ln_f.bias"),
        (lambda weights: weights.update({"score.weight": torch.zeros(2, 10)}), "unexpected: score.weight"),
        (
            lambda weights: weights.update({"transformer.wpe.weight": torch.zeros(11, 10)}),
            "other shape: transformer.wpe.weight is 11x10, expected 13x10",
        ),
        (lambda weights: weights.update({"transformer.wte.weight": torch.tensor(1.0)}), "other shape"),
        (lambda weights: weights.update({"lm_head.weight": torch.zeros(3, 10)}), "unexpected|other shape"),
        (lambda weights: weights.update({"wpe.weight": torch.zeros(13, 10)}), "twice"),
        (
            lambda weights: weights["transformer.ln_f.bias"].fill_(torch.nan),
            "transformer.ln_f.bias holds .* not finite",
        ),
        (lambda weights: weights["transformer.wte.weight"].view(-1)[-1:].fill_(torch.inf), "not finite"),
        (
            lambda weights: weights.update({"transformer.ln_f.bias": torch.zeros(10, dtype=torch.int8)}),
            "transformer.ln_f.bias is stored as torch.int8",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:lm_head.weight differs")
def test_weights_that_do_not_fit_are_named(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(FormatError, match=message) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) <= 6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "llama"),
        ("model_type", None),
        ("model_type", ["gpt2"]),
        ("add_cross_attention", True),
        ("is_encoder_decoder", True),
        ("is_causal", False),
        ("quantization_config", {"bits": 4}),
        ("auto_map", {"AutoModel": "modeling.Model"}),
        ("activation_function", "mish"),
        ("activation_function", 3),
        ("tie_word_embeddings", "yes"),
        ("vocab_size", "31"),
        ("vocab_size", True),
        ("vocab_size", 31.0),
        ("n_layer", 0),
        ("n_layer", -3),
        ("n_layer", 10**12),
        ("n_layer", 1000),
        ("n_embd", 10**12),
        ("n_embd", 60_000),
        ("n_embd", 11),
        ("hidden_size", 12),
        ("n_head", 3),
        ("n_inner", 10**9),
        ("n_inner", 0),
        ("n_positions", 2**20),
        ("vocab_size", 2**24),
        ("layer_norm_epsilon", -1.0),
        ("layer_norm_epsilon", 10**400),
        ("resid_pdrop", 1.5),
        ("attn_pdrop", None),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_before_anything_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    def build(*_: object) -> None:
        raise AssertionError("memory was asked for")

    monkeypatch.setattr("headway.formats.folder._build", build)
    table = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**table, key: value}))
    with pytest.raises(FormatError) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) <= 6


def test_other_keys_are_kept_and_written_back(folder: Path, tmp_path: Path) -> None:
    table = json.loads((folder / "config.json").read_text())
    added = {"reorder_and_upcast_attn": True, "summary_type": "mean", "is_decoder": True, "eos_token_id": [3, 5]}
    (folder / "config.json").write_text(json.dumps({**table, **added, "torch_dtype": "float16"}))
    model, _ = load(folder)
    save(model, None, tmp_path / "again")
    again = json.loads((tmp_path / "again/config.json").read_text())
    assert {key: again[key] for key in added} == added
    assert again["dtype"] == "float32" and "torch_dtype" not in again


def test_an_absent_key_means_what_it_means_in_transformers() -> None:
    config = read_gpt2({"model_type": "gpt2"})
    theirs = transformers.GPT2Config()
    for name, value in write_config(config).items():
        if name != "architectures":
            assert value == getattr(theirs, name), name


def test_the_other_names_of_transformers_are_understood() -> None:
    sizes = {"hidden_size": 15, "num_hidden_layers": 2, "num_attention_heads": 5, "max_position_embeddings": 7}
    config = read_gpt2({"vocab_size": 11, **sizes})
    assert (config.width, config.n_layers, config.n_heads, config.context) == (15, 2, 5, 7)
    assert config.foreign == {}


def test_a_configuration_comes_back_as_it_was(folder: Path) -> None:
    assert read_config(folder).n_layers == 3
    for changes in ({"activation": "silu"}, {"tied": False}, {"feed_forward": None}, {"scale_by_layer": True}):
        config = GPT2Config(**changes)  # type: ignore[arg-type]
        foreign = {**LAYOUT.write_config(config)}
        assert LAYOUT.read_config(foreign) == config
