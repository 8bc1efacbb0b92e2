"""BERT folders as they are found: old names, parts that are missing, and every refusal named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_readers import reconfigure, rewrite, tiny

from headway.errors import FormatError
from headway.formats.folder import load, save


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A saved tiny BERT with both heads of its pre-training."""
    save(tiny(head="pretraining"), None, tmp_path / "reader")
    return tmp_path / "reader"


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(folder)[0](torch.arange(7)[None])


def without(*beginnings: str) -> Callable[[dict[str, torch.Tensor]], None]:
    """Takes the tensors away whose names begin so."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if name.startswith(beginnings)]:
            del weights[name]

    return change


def test_names_without_prefix_old_names_of_norms_and_buffers_are_understood(reader: Path) -> None:
    before = logits(reader)

    def age(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            old = name.removeprefix("bert.").replace("LayerNorm.weight", "LayerNorm.gamma")
            weights[old.replace("LayerNorm.bias", "LayerNorm.beta")] = weights.pop(name)
        weights["embeddings.position_ids"] = torch.arange(13)[None]
        weights["bert.embeddings.position_ids"] = torch.arange(13)[None]

    rewrite(reader, age)
    assert torch.equal(logits(reader), before)


def test_what_is_tied_may_be_there_twice(reader: Path) -> None:
    before = logits(reader)

    def double(weights: dict[str, torch.Tensor]) -> None:
        weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
        weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]

    rewrite(reader, double)
    assert torch.equal(logits(reader), before)
    model, _ = load(reader)
    assert model.output.weight is model.token_embedding.weight


def test_an_output_matrix_that_differs_is_kept_and_said(reader: Path, tmp_path: Path) -> None:
    def untie(weights: dict[str, torch.Tensor]) -> None:
        weights["cls.predictions.decoder.weight"] = torch.zeros(31, 10)
        weights["cls.predictions.decoder.bias"] = torch.arange(31.0)

    rewrite(reader, untie)
    with pytest.warns(UserWarning, match="decoder.weight differs"):
        model, _ = load(reader)
    ids = torch.zeros(1, 2, dtype=torch.int64)
    assert not model.config.tied and torch.equal(model(ids)[0, 0], torch.arange(31.0))
    save(model, None, tmp_path / "again")
    assert torch.equal(load(tmp_path / "again")[0](ids), model(ids))


@pytest.mark.parametrize(
    ("saved", "beginnings", "found", "warned"),
    [
        ("pretraining", ("cls.seq_relationship", "bert.pooler"), "masked", True),
        ("pretraining", ("cls.",), "none", True),
        ("masked", ("cls.",), "none", True),
        ("classify", ("classifier", "bert.pooler"), "none", True),
        ("tag", ("classifier",), "none", True),
        ("answer", ("qa_outputs",), "none", True),
        ("tag", (), "tag", False),
    ],
)
def test_a_head_that_is_not_there_is_reported_and_never_made_up(
    tmp_path: Path, saved: str, beginnings: tuple[str, ...], found: str, warned: bool
) -> None:
    model = tiny(head=saved, n_labels=3 if saved in ("classify", "tag") else 0)
    save(model, None, tmp_path / "model")
    rewrite(tmp_path / "model", without(*beginnings) if beginnings else lambda weights: None)
    if warned:
        with pytest.warns(UserWarning, match=f"config.json names a head for {saved}"):
            opened, _ = load(tmp_path / "model")
    else:
        opened, _ = load(tmp_path / "model")
    assert opened.config.head == found and opened.config.n_labels == (3 if found == "tag" else 0)
    ids = torch.arange(7)[None]
    assert torch.equal(opened.encode(ids), model.encode(ids))


def test_a_body_alone_may_bring_a_pooler(tmp_path: Path) -> None:
    for pooler in (True, False):
        model = tiny(head="none", pooler=pooler)
        save(model, None, tmp_path / f"{pooler}")
        opened, _ = load(tmp_path / f"{pooler}")
        assert opened.config.pools == pooler and (opened.pooler is None) != pooler


def test_the_pooler_tells_a_classifier_from_a_tagger_where_config_json_does_not(tmp_path: Path) -> None:
    for head in ("classify", "tag"):
        save(tiny(head=head, n_labels=2), None, tmp_path / head)
        table = json.loads((tmp_path / head / "config.json").read_text())
        del table["architectures"]
        (tmp_path / head / "config.json").write_text(json.dumps(table))
        assert load(tmp_path / head)[0].config.head == head


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("cls.predictions.transform.dense.bias"), "only some of the masked-word head; missing: .*dense.bias"),
        (without("cls.seq_relationship.weight"), "only some of the next-sentence head; missing: .*weight"),
        (without("bert.pooler.dense.bias"), "only some of the pooler"),
        (without("bert.pooler"), "lack the pooler that a head for pretraining"),
        (without("cls.predictions"), "lack the masked-word head"),
        (lambda weights: weights.update({"classifier.weight": torch.zeros(2, 10)}), "only some of the classifier"),
        (
            lambda weights: weights.update(
                {"qa_outputs.weight": torch.zeros(2, 10), "qa_outputs.bias": torch.zeros(2)}
            ),
            "several heads: pretraining, answer",
        ),
        (lambda weights: weights.update({"cls.predictions.decoder.bias": torch.ones(31)}), "decoder.bias differs from"),
        (
            without("bert.encoder.layer.1.attention.self.key.bias"),
            "missing: bert.encoder.layer.1.attention.self.key.bias",
        ),
        (
            lambda weights: weights.update({"bert.encoder.layer.7.output.dense.bias": torch.zeros(10)}),
            "unexpected: bert",
        ),
        (
            lambda weights: weights.update({"bert.embeddings.word_embeddings.weight": torch.zeros(29, 10)}),
            "other shape: bert.embeddings.word_embeddings.weight is 29x10, expected 31x10",
        ),
        (lambda weights: weights.update({"embeddings.LayerNorm.bias": torch.zeros(10)}), "twice"),
        (lambda weights: weights["bert.pooler.dense.bias"].fill_(torch.nan), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(reader: Path, change: Any, message: str) -> None:
    rewrite(reader, change)
    with pytest.raises(FormatError, match=message) as caught:
        load(reader)
    assert len(str(caught.value).splitlines()) <= 6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {"1": [0]}),
        ("quantization_config", {"bits": 4}),
        ("auto_map", {"AutoModel": "modeling.Model"}),
        ("architectures", ["BertForMultipleChoice"]),
        ("architectures", ["BertForNextSentencePrediction"]),
        ("architectures", ["RobertaModel"]),
        ("architectures", [3]),
        ("hidden_act", "mish"),
        ("hidden_act", None),
        ("vocab_size", "31"),
        ("vocab_size", 31.5),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**12),
        ("hidden_size", 11),
        ("num_attention_heads", 3),
        ("type_vocab_size", 0),
        ("layer_norm_eps", -1.0),
        ("hidden_dropout_prob", 1.5),
        ("attention_probs_dropout_prob", None),
        ("max_position_embeddings", 2**20),
        ("tie_word_embeddings", "yes"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(reader: Path, key: str, value: object) -> None:
    reconfigure(reader, **{key: value})
    with pytest.raises(FormatError) as caught:
        load(reader)
    assert (
        key.removeprefix("max_")[:6] in str(caught.value)
        or "parameters" in str(caught.value)
        or "describe" in str(caught.value)
    )
    assert len(str(caught.value).splitlines()) <= 6


def test_relative_positions_are_refused_by_name(reader: Path) -> None:
    reconfigure(reader, position_embedding_type="relative_key")
    with pytest.raises(FormatError, match="position_embedding_type='relative_key'.*\nSupported is .*'absolute'"):
        load(reader)
