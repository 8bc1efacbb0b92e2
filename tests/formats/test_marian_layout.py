"""Marian folders of transformers and ours: the same logits both ways, and every refusal named."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from headway.errors import FormatError
from headway.formats import marian
from headway.formats import transformer as own
from headway.formats.folder import load, save
from headway.formats.transformer import layout_for
from headway.models.transformer import PRESETS, Transformer, TransformerConfig

ACTIVATIONS = ("swish", "relu", "gelu", "silu", "gelu_new", "tanh")
SPECIAL = {"pad_token_id": 10, "eos_token_id": 3, "bos_token_id": None, "decoder_start_token_id": 10}


def random_config(seed: int) -> transformers.MarianConfig:
    chance = random.Random(seed)
    n_heads, width = chance.choice([(1, 6), (2, 10), (3, 18), (5, 20)])
    shared = chance.choice([True, False])
    source = chance.choice([31, 53])
    return transformers.MarianConfig(
        vocab_size=source,
        decoder_vocab_size=source if shared else chance.choice([29, 31, 47]),
        share_encoder_decoder_embeddings=shared,
        tie_word_embeddings=shared or chance.choice([True, False]),
        max_position_embeddings=chance.choice([17, 29]),
        d_model=width,
        encoder_layers=chance.choice([1, 3]),
        decoder_layers=chance.choice([1, 2]),
        encoder_attention_heads=n_heads,
        decoder_attention_heads=n_heads,
        encoder_ffn_dim=13,
        decoder_ffn_dim=13,
        activation_function=ACTIVATIONS[seed % len(ACTIVATIONS)],
        scale_embedding=chance.choice([True, False]),
        dropout=chance.choice([0.1, 0.3]),
        activation_dropout=chance.choice([0.0, 0.2]),
        forced_eos_token_id=3,
        **SPECIAL,
    )


def random_marian(config: transformers.MarianConfig, seed: int) -> Any:
    torch.manual_seed(seed)
    model = transformers.MarianMTModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.normal_(0.0, 0.4)
        model.final_logits_bias.normal_(0.0, 2.0)
    return model.eval()


def random_ours(config: TransformerConfig, seed: int = 5) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4)
    return model.eval()


def largest_difference(ours: Transformer, theirs: Any) -> float:
    config = ours.config
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(config.source_vocabulary or config.vocabulary, (3, 11), generator=generator)
    target = torch.randint(config.vocabulary, (3, 13), generator=generator)
    lengths = torch.tensor([11, 5, 7])
    seen = torch.arange(11) < lengths[:, None]
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=seen.long(), decoder_input_ids=target).logits
        return float((ours(source, lengths, target) - expected).abs().max())


@pytest.mark.parametrize("seed", range(12))
def test_a_folder_of_transformers_opens_here_with_equal_logits_and_goes_back(seed: int, tmp_path: Path) -> None:
    theirs = random_marian(random_config(seed), seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, tokenizer = load(tmp_path / "theirs")
    assert tokenizer is None and isinstance(ours, Transformer)
    assert largest_difference(ours, theirs) < 1e-4
    assert ours.output_bias is not None and not ours.output_bias.requires_grad
    save(ours, None, tmp_path / "ours")
    again = transformers.MarianMTModel.from_pretrained(tmp_path / "ours").eval()
    assert largest_difference(ours, again) < 1e-4
    before = json.loads((tmp_path / "theirs" / "config.json").read_text())
    after = json.loads((tmp_path / "ours" / "config.json").read_text())
    same = {"swish": "swish", "silu": "swish"}
    before["activation_function"] = same.get(before["activation_function"], before["activation_function"])
    assert after == before


@pytest.mark.parametrize("seed", range(4))
def test_our_folder_opens_in_transformers_with_equal_logits(seed: int, tmp_path: Path) -> None:
    shared, tied = seed % 2 == 0, seed != 3
    config = TransformerConfig(
        vocabulary=31,
        source_vocabulary=None if shared else 37,
        context=17,
        width=14,
        n_heads=7,
        encoder_layers=2,
        decoder_layers=3,
        feed_forward=19,
        shared=shared,
        tied=tied,
        output_bias=seed == 2,
        embedding_dropout=0.2,
        foreign=SPECIAL,
    )
    ours = random_ours(config)
    save(ours, None, tmp_path / "ours")
    theirs, report = transformers.MarianMTModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert largest_difference(ours, theirs.eval()) < 1e-4
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    assert theirs.generation_config.forced_eos_token_id is None
    again, _ = load(tmp_path / "ours")
    assert again.config == dataclasses.replace(config, foreign=again.config.foreign)
    for key, value in SPECIAL.items():
        assert again.config.foreign[key] == value


def test_the_special_ids_of_a_marian_folder_are_kept(tmp_path: Path) -> None:
    random_marian(random_config(1), 1).save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs")
    assert {key: ours.config.foreign[key] for key in SPECIAL} == SPECIAL


OWN_SETTINGS = [
    {"norm": "pre"},
    {"positions": "rotary"},
    {"positions": "relative", "shared": False, "source_vocabulary": 29},
    {"positions": "learned", "tied": False},
    {"positions": "none", "context": None},
    {"epsilon": 1e-6},
    {"tied": False, "output_bias": True},
]


@pytest.mark.parametrize("settings", OWN_SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_what_marian_cannot_say_is_kept_under_our_own_names(settings: dict[str, Any], tmp_path: Path) -> None:
    sizes = {"context": 17, "width": 20, "n_heads": 5, "encoder_layers": 2, "decoder_layers": 1, "feed_forward": 19}
    config = TransformerConfig(vocabulary=31, **{**sizes, **settings}, foreign={"eos_token_id": 3})  # type: ignore[arg-type]
    assert layout_for(config) is own.LAYOUT
    model = random_ours(config)
    save(model, None, tmp_path / "ours")
    table = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert table["model_type"] == "headway-transformer" and table["n_heads"] == 5
    assert set(load_file(tmp_path / "ours" / "model.safetensors")) == dict(model.named_parameters()).keys()
    again, _ = load(tmp_path / "ours")
    assert dataclasses.replace(again.config, foreign={}) == dataclasses.replace(config, foreign={})
    assert again.config.foreign["eos_token_id"] == 3
    source, target = torch.randint(29, (2, 7)), torch.randint(31, (2, 5))
    torch.testing.assert_close(again(source, None, target), model(source, None, target), rtol=0, atol=0)


def test_the_published_sizes_are_written_in_marians_layout() -> None:
    assert layout_for(PRESETS["base"]) is layout_for(PRESETS["big"]) is marian.LAYOUT
    assert layout_for(PRESETS["small"]) is own.LAYOUT


@pytest.mark.parametrize("wrong", [{"n_layers": 3}, {"foreign": {}}, {"norm": "both"}, {"width": 21}, {"context": "x"}])
def test_our_own_layout_refuses_what_it_does_not_know(wrong: dict[str, Any]) -> None:
    table = {**own.LAYOUT.write_config(PRESETS["small"]), **wrong}
    with pytest.raises(FormatError, match=next(iter(wrong))):
        own.LAYOUT.read_config(table)


@pytest.mark.parametrize(
    "wrong",
    [
        {"normalize_before": True},
        {"encoder_ffn_dim": 14},
        {"decoder_attention_heads": 4},
        {"activation_function": "mish"},
        {"d_model": "six"},
        {"vocab_size": 0},
        {"decoder_vocab_size": 30},
        {"scale_embedding": 1},
        {"static_position_embeddings": False},
        {"dropout": 1.5},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_marian_configuration_that_asks_for_another_graph_is_refused(wrong: dict[str, Any]) -> None:
    table = {**marian.write_config(TransformerConfig(vocabulary=31, width=12, n_heads=2, feed_forward=13)), **wrong}
    with pytest.raises(FormatError, match=next(iter(wrong))):
        marian.read_config(table)


def test_embeddings_that_are_stored_several_times_must_be_the_same(tmp_path: Path) -> None:
    config = TransformerConfig(
        vocabulary=31, context=7, width=6, n_heads=2, encoder_layers=1, decoder_layers=1, feed_forward=5
    )
    model = random_ours(config)
    save(model, None, tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    weights = load_file(file)
    copies = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    weights |= {name: weights["model.shared.weight"].clone() for name in copies}
    weights["model.encoder.embed_positions.weight"] = torch.zeros(7, 6)
    save_file(weights, file)
    again, _ = load(tmp_path / "ours")
    assert torch.equal(again.token_embedding.weight, model.token_embedding.weight)
    weights[copies[1]][2, 3] += 1.0
    save_file(weights, file)
    with pytest.raises(FormatError, match=copies[1]):
        load(tmp_path / "ours")


def test_a_head_of_its_own_that_differs_is_kept_and_said(tmp_path: Path) -> None:
    config = TransformerConfig(
        vocabulary=31, source_vocabulary=29, shared=False, context=7, width=6, n_heads=2, feed_forward=5
    )
    model = random_ours(config)
    save(model, None, tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"] = torch.randn(31, 6)
    save_file(weights, file)
    with pytest.warns(UserWarning, match=r"lm_head\.weight differs"):
        again, _ = load(tmp_path / "ours")
    assert torch.equal(again.output.weight, weights["lm_head.weight"]) and not again.config.tied
