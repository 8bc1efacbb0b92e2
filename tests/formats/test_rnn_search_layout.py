"""Folders of RNNsearch and of the RNN encoder-decoder: out and in again exactly, and every refusal named."""

import dataclasses
import json
import re

import pytest
import torch

from headway.errors import FormatError
from headway.formats.folder import load, read_config, save
from headway.formats.rnn_search import LAYOUT
from headway.models.rnn_search import PRESETS, RNNSearch, RNNSearchConfig

TINY = RNNSearchConfig(vocabulary=31, source_vocabulary=29, width=7, embedding=5, alignment=11, maxout=3, context=13)
KINDS = {
    "additive": TINY,
    "fixed": dataclasses.replace(TINY, attention="fixed", bidirectional=False),
    "tied": dataclasses.replace(TINY, maxout=5, tied=True, layer_norm=True),
    "shared": dataclasses.replace(TINY, maxout=5, tied=True, shared=True, source_vocabulary=None, initial="modern"),
}


def build(config):
    torch.manual_seed(1)
    model = RNNSearch(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


@pytest.fixture(params=sorted(KINDS))
def config(request):
    return KINDS[request.param]


def test_a_saved_model_comes_back_exactly(config, tmp_path):
    model = build(config)
    save(model, None, tmp_path / "model")
    again, _ = load(tmp_path / "model")
    assert dataclasses.replace(again.config, foreign={}) == config
    source, target = torch.randint(29, (2, 3)), torch.randint(31, (2, 5))
    assert torch.equal(again(source, None, target), model(source, None, target))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "headway-rnnsearch"


def test_the_table_of_a_configuration_comes_back_as_it_was(config):
    assert LAYOUT.read_config(json.loads(json.dumps(LAYOUT.write_config(config)))) == config


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_parameter_has_a_tensor_of_its_own_name(preset):
    with torch.device("meta"):
        model = RNNSearch(PRESETS[preset])
    names = LAYOUT.tensors(model.config)
    assert {name.ours: name.shape for name in names} == {k: tuple(p.shape) for k, p in model.named_parameters()}
    assert all(name.foreign == name.ours and not name.transposed for name in names)


def test_the_folders_own_keys_are_kept():
    kept = {"decoder_start_token_id": 0, "eos_token_id": 7, "pad_token_id": 7, "transformers_version": "5.0"}
    table = {**LAYOUT.write_config(TINY), **kept, "torch_dtype": "float32", "dtype": "float32"}
    found = LAYOUT.read_config(table)
    assert found.foreign == kept
    assert {key: LAYOUT.write_config(found)[key] for key in kept} == kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layers": 2}, "n_layers is not a setting"),
        ({"widht": 7}, "did you mean width?"),
        ({"foreign": {}}, "foreign is not a setting"),
        ({"width": "7"}, "width must be a whole number"),
        ({"width": 0}, "width must be in 1..65536"),
        ({"attention": "dot"}, "attention must be one of"),
        ({"tied": True}, "tied needs maxout equal to embedding"),
    ],
)
def test_what_is_no_setting_is_refused(changes, message):
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        LAYOUT.read_config({**LAYOUT.write_config(TINY), **changes})
    assert len(str(caught.value).splitlines()) <= 6


def test_weights_of_the_other_kind_are_refused(tmp_path):
    save(build(TINY), None, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention": "fixed"}))
    assert read_config(tmp_path / "model").attention == "fixed"
    with pytest.raises(FormatError, match="unexpected: attention"):
        load(tmp_path / "model")
