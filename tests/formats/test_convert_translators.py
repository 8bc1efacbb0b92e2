"""Encoder-decoders out and in: checked by transformers where it knows the layout, else by headway alone."""

import pytest
import torch

from headway.errors import FormatError, UsageError
from headway.formats.convert import export_model, import_model
from headway.formats.folder import load, load_target_tokenizer, save
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig
from headway.tasks.writer import Writer
from headway.text.byte_level_training import train_byte_level

SIZES = {"width": 14, "n_heads": 2, "encoder_layers": 2, "decoder_layers": 1, "feed_forward": 11}
TEXT = ["the man sings in the old house, and the old man sings of the sea"]


@pytest.fixture
def tokenizer():
    return train_byte_level(TEXT, 263)


def marian(tokenizer):
    torch.manual_seed(2)
    return Transformer(TransformerConfig(vocabulary=tokenizer.size, **SIZES)).eval()


def recurrent(tokenizer):
    torch.manual_seed(2)
    return RNNSearch(
        RNNSearchConfig(vocabulary=tokenizer.size, width=7, embedding=5, maxout=3, initial="modern")
    ).eval()


def test_a_translator_in_marians_layout_is_checked_by_transformers(tokenizer, tmp_path):
    save(marian(tokenizer), tokenizer, tmp_path / "model")
    done = export_model(tmp_path / "model", "huggingface", tmp_path / "out")
    assert "transformers" in done.checked_with and done.largest_difference < 1e-4


@pytest.mark.parametrize(
    "make", [recurrent, lambda t: Transformer(TransformerConfig(vocabulary=t.size, norm="pre", **SIZES))]
)
def test_a_translator_in_our_own_layout_is_checked_by_headway(tokenizer, tmp_path, make):
    save(make(tokenizer).eval(), tokenizer, tmp_path / "model")
    done = import_model(tmp_path / "model", tmp_path / "in")
    assert done.checked_with == "headway"
    again, _ = load(tmp_path / "in")
    for name, value in load(tmp_path / "model")[0].state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@pytest.mark.parametrize("kind", ["nanogpt", "tensorflow"])
def test_formats_of_gpt2_refuse_a_translator_with_the_way_out(tokenizer, tmp_path, kind):
    save(marian(tokenizer), tokenizer, tmp_path / "model")
    with pytest.raises(FormatError, match="holds GPT-2 alone, but model is a transformer"):
        export_model(tmp_path / "model", kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_with_its_own_vocabulary_keeps_its_tokenizer(tokenizer, tmp_path):
    target = train_byte_level(["la mer chante dans la vieille maison"], 259)
    config = TransformerConfig(vocabulary=target.size, source_vocabulary=tokenizer.size, shared=False, **SIZES)
    save(Transformer(config).eval(), tokenizer, tmp_path / "model", target_tokenizer=target)
    export_model(tmp_path / "model", "huggingface", tmp_path / "out")
    found = load_target_tokenizer(tmp_path / "out")
    assert found is not None and found.encode("maison") == target.encode("maison")
    assert load(tmp_path / "out")[1].encode("house") == tokenizer.encode("house")


def test_a_writer_refuses_a_model_that_reads_a_source_and_names_the_verb(tokenizer, tmp_path):
    save(recurrent(tokenizer), tokenizer, tmp_path / "model")
    with pytest.raises(UsageError, match="headway translate"):
        Writer(tmp_path / "model")
