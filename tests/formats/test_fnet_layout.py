"""FNet folders of transformers and ours: the same states and logits both ways, for rows of one length."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from headway.formats.fnet import LAYOUT
from headway.formats.folder import load, save
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig

HEADS = {
    "none": "Model",
    "masked": "ForMaskedLM",
    "pretraining": "ForPreTraining",
    "classify": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
}


def random_model(seed: int) -> Any:
    """An FNet of transformers with a random configuration and head, every parameter random."""
    chance = random.Random(seed)
    head = list(HEADS)[seed % len(HEADS)]
    config = transformers.FNetConfig(
        vocab_size=chance.choice([11, 53, 101]),
        max_position_embeddings=chance.choice([13, 17, 29]),
        hidden_size=chance.choice([7, 10, 15, 22]),
        num_hidden_layers=chance.choice([1, 2, 3]),
        intermediate_size=chance.choice([5, 13, 41]),
        hidden_act=chance.choice(["gelu_new", "gelu", "relu"]),
        type_vocab_size=chance.choice([1, 3, 4]),
        layer_norm_eps=chance.choice([1e-12, 1e-5]),
        tie_word_embeddings=chance.choice([True, False]),
        use_tpu_fourier_optimizations=False,
        num_labels=chance.choice([3, 5]) if head in ("classify", "tag") else 2,
    )
    torch.manual_seed(seed)
    model = getattr(transformers, f"FNet{HEADS[head]}")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def largest_difference(ours: Any, theirs: Any, length: int) -> float:
    """Over states and logits of rows of one length: there transformers transforms no padding either."""
    config = ours.config
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(config.vocabulary, (3, length), generator=generator)
    segments = torch.randint(config.segments, (3, length), generator=generator)
    with torch.no_grad():
        out = theirs(input_ids=ids, token_type_ids=segments, output_hidden_states=True, return_dict=True)
        states = ours.encode(ids, None, segments)
        pairs = [(states, out.hidden_states[-1])]
        if config.head == "answer":
            pairs.append((ours(ids, None, segments), torch.stack([out.start_logits, out.end_logits], dim=-1)))
        elif config.head == "pretraining":
            pairs.append((ours(ids, None, segments), out.prediction_logits))
            pairs.append((ours.next_sentence(states), out.seq_relationship_logits))
        elif config.head != "none":
            pairs.append((ours(ids, None, segments), out.logits))
    return max(float((found - expected).abs().max()) for found, expected in pairs)


@pytest.mark.parametrize("seed", range(24))
def test_a_random_configuration_gives_the_states_and_logits_of_transformers_both_ways(
    tmp_path: Path, seed: int
) -> None:
    theirs = random_model(seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, tokenizer = load(tmp_path / "theirs")
    assert tokenizer is None and not ours.training
    assert ours.config.head == list(HEADS)[seed % len(HEADS)] and ours.config.mixer == "fourier"
    for length in (1, 2, ours.context):
        assert largest_difference(ours, theirs, length) < 1e-4
    save(ours, None, tmp_path / "ours")
    reopened = type(theirs).from_pretrained(tmp_path / "ours")
    assert largest_difference(ours, reopened, 11) < 1e-4
    written, original = load_file(tmp_path / "ours/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors")
    if ours.config.head == "none":
        original = {f"fnet.{name}": value for name, value in original.items()}
    twice = {"cls.predictions.decoder.bias" if ours.config.tied else "cls.predictions.bias"}
    assert written.keys() == original.keys() - twice
    assert all(torch.equal(written[name], original[name]) for name in written)
    assert load(tmp_path / "ours")[0].config == ours.config


def test_rows_of_unequal_length_equal_transformers_one_at_a_time(tmp_path: Path) -> None:
    theirs = random_model(1)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load(tmp_path / "theirs")
    ids = torch.randint(ours.config.vocabulary, (5, 11), generator=torch.Generator().manual_seed(2))
    lengths = [3, 11, 1, 7, 3]
    with torch.no_grad():
        states = ours.encode(ids, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = theirs.fnet(input_ids=ids[row : row + 1, :length]).last_hidden_state
            torch.testing.assert_close(states[row, :length], alone[0], rtol=0, atol=1e-4)


def test_an_absent_key_means_what_it_means_in_transformers() -> None:
    config = LAYOUT.read_config({"model_type": "fnet"})
    theirs = transformers.FNetConfig()
    ours = LAYOUT.write_config(config)
    extra = {
        "num_attention_heads",
        "attention_probs_dropout_prob",
        "classifier_dropout",
    }  # transformers has none of these
    for name in ours.keys() - {"architectures", *extra}:
        assert ours[name] == getattr(theirs, name), name


@pytest.mark.parametrize("head", HEADS)
def test_the_table_has_the_shapes_of_transformers_at_the_published_size(head: str) -> None:
    labels = 3 if head in ("classify", "tag") else 0
    config = BERTConfig(
        vocabulary=32000,
        mixer="fourier",
        embedding_projection=True,
        segments=4,
        activation="gelu_tanh",
        head=head,
        n_labels=labels,
        pooler=True,
    )
    table = {
        name: value
        for name, value in LAYOUT.write_config(config).items()
        if name not in ("architectures", "model_type")
    }
    with torch.device("meta"):
        theirs = getattr(transformers, f"FNet{HEADS[head]}")(transformers.FNetConfig(**table))
        ours = BERT(config)
    expected = {name: tuple(value.shape) for name, value in theirs.named_parameters()}
    if head == "none":
        expected = {f"fnet.{name}": shape for name, shape in expected.items()}
    found = {name.foreign: name.shape for name in LAYOUT.tensors(config)}
    assert found == {name: shape for name, shape in expected.items() if "decoder." not in name}
    assert {name.ours for name in LAYOUT.tensors(config)} == {name for name, _ in ours.named_parameters()}
    assert sum(value.numel() for value in theirs.parameters()) == config.n_parameters()
