"""GPT-2 with a head that reads: the same answers as transformers, both ways, and every refusal named."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from headway.errors import ConfigError, FormatError, UsageError
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2, GPT2Config
from headway.nn.trace import Trace

HEADS = {
    "classify": transformers.GPT2ForSequenceClassification,
    "tag": transformers.GPT2ForTokenClassification,
    "answer": transformers.GPT2ForQuestionAnswering,
}
LENGTHS = [11, 2, 7, 1]
PADDING = 52


def theirs_of(head: str, seed: int) -> Any:
    chance = random.Random(seed)
    n_heads, width = chance.choice([(1, 7), (2, 10), (5, 35)])
    config = transformers.GPT2Config(
        vocab_size=PADDING + 1,
        n_positions=17,
        n_embd=width,
        n_layer=chance.choice([1, 2, 3]),
        n_head=n_heads,
        n_inner=chance.choice([None, 13]),
        num_labels=chance.choice([1, 3, 5]) if head != "answer" else 2,
        pad_token_id=PADDING,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(seed)
    model = HEADS[head](config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def largest_difference(ours: GPT2, theirs: Any) -> float:
    """Over the tokens there are, in rows of unequal length."""
    lengths = torch.tensor(LENGTHS)
    ids = torch.randint(PADDING, (4, 11), generator=torch.Generator().manual_seed(3))
    inside = torch.arange(11) < lengths[:, None]
    ids[~inside] = PADDING
    with torch.no_grad():
        found, answer = ours(ids, lengths), theirs(ids, attention_mask=inside.long())
    if ours.config.head == "answer":
        expected = torch.stack([answer.start_logits, answer.end_logits], dim=-1)
    else:
        expected = answer.logits
    assert found.shape == expected.shape
    off = (found - expected).abs()
    return float(off.max() if ours.config.head == "classify" else off[inside].max())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_a_head_answers_as_transformers_both_ways(tmp_path: Path, head: str, seed: int) -> None:
    theirs = theirs_of(head, seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs")
    assert ours.config.head == head
    assert largest_difference(ours, theirs) < 1e-4
    assert sum(value.numel() for value in ours.parameters()) == ours.config.n_parameters()
    save(ours, None, tmp_path / "ours")
    reopened = HEADS[head].from_pretrained(tmp_path / "ours")
    assert largest_difference(ours, reopened) < 1e-4
    written, original = load_file(tmp_path / "ours/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors")
    assert written.keys() == original.keys() and all(torch.equal(written[name], original[name]) for name in original)


def test_the_names_of_labels_and_the_kind_of_problem_come_back(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "bad", "1": "fair", "2": "good"}, "label2id": {"bad": 0, "fair": 1, "good": 2}}
    config = GPT2Config(
        vocabulary=11,
        context=7,
        width=6,
        n_layers=1,
        n_heads=2,
        head="tag",
        n_labels=3,
        head_dropout=0.3,
        foreign={**labels, "problem_type": "multi_label_classification"},
    )
    save(GPT2(config), None, tmp_path / "model")
    found = load(tmp_path / "model")[0].config
    assert (found.head, found.n_labels, found.head_dropout) == ("tag", 3, 0.3)
    assert {key: found.foreign[key] for key in labels} == labels
    assert found.foreign["problem_type"] == "multi_label_classification"
    assert HEADS["tag"].from_pretrained(tmp_path / "model").config.id2label[2] == "good"


def test_labels_without_names_get_those_of_transformers(tmp_path: Path) -> None:
    config = GPT2Config(vocabulary=11, context=7, width=6, n_layers=1, n_heads=2, head="classify", n_labels=3)
    save(GPT2(config), None, tmp_path / "model")
    table = json.loads((tmp_path / "model/config.json").read_text())
    assert table["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert table["architectures"] == ["GPT2ForSequenceClassification"]


def change(folder: Path, *, drop: str = "", add: dict[str, torch.Tensor] | None = None) -> None:
    path = folder / "model.safetensors"
    weights = {name: value.clone() for name, value in load_file(path).items() if name != drop}
    save_file({**weights, **(add or {})}, path, {"format": "pt"})


def test_a_head_under_another_ones_class_is_refused(tmp_path: Path) -> None:
    theirs_of("tag", 1).save_pretrained(tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    for name, message in (("GPT2LMHeadModel", "unexpected"), ("GPT2ForQuestionAnswering", "missing: qa_outputs")):
        (tmp_path / "config.json").write_text(json.dumps({**table, "architectures": [name]}))
        with pytest.raises(FormatError, match=message):
            load(tmp_path)


def test_an_output_matrix_beside_a_head_that_reads_is_left_out_only_where_it_is_the_embedding(tmp_path: Path) -> None:
    theirs = theirs_of("tag", 1)
    theirs.save_pretrained(tmp_path)
    tokens = load_file(tmp_path / "model.safetensors")["transformer.wte.weight"]
    change(tmp_path, add={"lm_head.weight": tokens.clone()})
    assert largest_difference(load(tmp_path)[0], theirs) < 1e-4
    change(tmp_path, add={"lm_head.weight": tokens + 1.0})
    with pytest.raises(FormatError, match=r"unexpected: lm_head\.weight"):
        load(tmp_path)


def test_half_a_head_or_none_where_one_is_named_is_refused(tmp_path: Path) -> None:
    theirs_of("tag", 1).save_pretrained(tmp_path)
    change(tmp_path, drop="classifier.bias")
    with pytest.raises(FormatError, match=r"classifier\.bias"):
        load(tmp_path)
    change(tmp_path, drop="classifier.weight")
    with pytest.raises(FormatError, match=r"classifier\.weight"):
        load(tmp_path)


def test_several_heads_are_refused(tmp_path: Path) -> None:
    theirs_of("tag", 1).save_pretrained(tmp_path)
    width = load(tmp_path)[0].config.width
    change(tmp_path, add={"score.weight": torch.zeros(3, width)})
    with pytest.raises(FormatError, match=r"unexpected: score\.weight"):
        load(tmp_path)


def tiny(**settings: Any) -> GPT2:
    sizes = {"vocabulary": 13, "context": 11, "width": 10, "n_layers": 2, "n_heads": 2, "initial_deviation": 0.4}
    torch.manual_seed(3)
    return GPT2(GPT2Config(**{**sizes, **settings})).eval()


def test_states_are_zero_past_a_rows_end_and_do_not_depend_on_its_neighbours() -> None:
    model, ids = tiny(), torch.randint(13, (3, 7), generator=torch.Generator().manual_seed(5))
    states = model.encode(ids, torch.tensor([7, 2, 5]), segments=torch.ones_like(ids))
    assert states.shape == (3, 7, 10) and bool((states[1, 2:] == 0.0).all())
    torch.testing.assert_close(states[1, :2], model.encode(ids[1:2, :2])[0])
    torch.testing.assert_close(states[0], model(ids, hidden=True)[0])


def test_states_can_be_traced_and_heads_silenced() -> None:
    model, ids, trace = tiny(), torch.tensor([[1, 2, 3, 4, 5]]), Trace(residual=True)
    torch.testing.assert_close(model.encode(ids, trace=trace), model.encode(ids))
    torch.testing.assert_close(trace.found["layers.1.attention"].sum(-1), torch.ones(1, 2, 5))
    assert trace.found["layers.1.residual"].shape == (1, 5, 10)
    assert not torch.allclose(model.encode(ids, ablate=frozenset({(0, 1)})), model.encode(ids), atol=1e-3)


def test_a_model_that_reads_does_not_write_and_one_that_writes_gives_no_labels() -> None:
    with pytest.raises(UsageError, match="head='classify'"):
        tiny(head="classify", n_labels=3).start(rows=1)
    with pytest.raises(ConfigError, match="head='write' gives no labels"):
        tiny().read_head(torch.zeros(1, 2, 10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "judge"}, "head must be one of write, classify, tag, answer"),
        ({"head": "tag"}, "n_labels must be in 1"),
        ({"n_labels": 3}, "has no labels"),
        ({"head": "answer", "n_labels": 2}, "has no labels"),
        ({"head_dropout": 1.0}, "head_dropout must be in 0..1"),
    ],
)
def test_heads_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GPT2Config(**settings)
