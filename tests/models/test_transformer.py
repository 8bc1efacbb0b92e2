"""The Transformer's sizes, settings and first weights, and the whole against torch.nn.Transformer."""

import dataclasses

import pytest
import torch
from torch import nn

from headway.errors import ConfigError, UsageError
from headway.models.transformer import PRESETS, Transformer, TransformerConfig, sized
from headway.nn.positions import SinusoidPositions

TINY = TransformerConfig(
    vocabulary=31, context=13, width=14, n_heads=7, encoder_layers=3, decoder_layers=2, feed_forward=19
)


@torch.no_grad()
def torchs(model: Transformer) -> nn.Transformer:
    """torch.nn.Transformer with the model's weights."""
    config, pre = model.config, model.config.norm == "pre"
    sizes = (config.encoder_layers, config.decoder_layers, config.feed_forward)
    theirs = nn.Transformer(config.width, config.n_heads, *sizes, dropout=0.0, batch_first=True, norm_first=pre)
    for ours, stack in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
        for block, layer in zip(ours.blocks, stack.layers, strict=True):
            attentions = [(layer.self_attn, block.attention, [block.attention.qkv])]
            norms = [block.attention_norm]
            if hasattr(block, "cross_attention"):
                cross = block.cross_attention
                attentions.append((layer.multihead_attn, cross, [cross.query, cross.key_value]))
                norms.append(block.cross_attention_norm)
            for target, attention, parts in attentions:
                target.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
                target.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
                target.out_proj.load_state_dict(attention.output.state_dict())
            for number, norm in enumerate([*norms, block.feed_forward_norm], 1):
                getattr(layer, f"norm{number}").load_state_dict(norm.state_dict())
            layer.linear1.load_state_dict(block.feed_forward.expand.state_dict())
            layer.linear2.load_state_dict(block.feed_forward.contract.state_dict())
        if pre:
            stack.norm.load_state_dict(ours.final_norm.state_dict())
        else:
            stack.norm = None  # the paper has none after the last layer, whose own sum is normalised
    return theirs.train()


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
def test_the_whole_equals_torch_nn_transformer(norm):
    torch.manual_seed(3)
    model = Transformer(dataclasses.replace(TINY, norm=norm)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.3)
    source, target = torch.randint(31, (3, 11)), torch.randint(31, (3, 5))
    lengths = torch.tensor([11, 2, 7])
    padding = torch.arange(11) >= lengths[:, None]

    def placed(ids):
        return SinusoidPositions().place(model.token_embedding(ids) * 14**0.5, torch.arange(ids.shape[1])[None])

    expected = torchs(model)(
        placed(source),
        placed(target),
        tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    torch.testing.assert_close(model(source, lengths, target, hidden=True), expected, rtol=0, atol=1e-5)


def test_the_published_sizes_have_the_published_parameters():
    base, big = PRESETS["base"], PRESETS["big"]
    assert (base.width, base.n_heads, base.feed_forward, base.encoder_layers, base.decoder_layers) == (
        512,
        8,
        2048,
        6,
        6,
    )
    assert (big.width, big.n_heads, big.feed_forward, big.residual_dropout) == (1024, 16, 4096, 0.3)
    # Table 3 says 65 and 213 million, with a vocabulary of about 37,000 that it does not give exactly.
    assert base.n_parameters() == pytest.approx(65e6, rel=0.04) and big.n_parameters() == pytest.approx(213e6, rel=0.01)
    for config in (base, big):
        assert (
            config.norm == "post" and config.positions == "sinusoid" and config.shared and config.tied and config.scaled
        )


def test_the_small_preset_is_pre_norm_and_has_about_3_6_million_parameters():
    assert PRESETS["small"].norm == "pre" and PRESETS["small"].vocabulary == 4096
    assert PRESETS["small"].n_parameters() == pytest.approx(3.6e6, rel=0.01)


@pytest.mark.parametrize("vocabulary", [512, 4096, 32000])
@pytest.mark.parametrize("per_id", [700, 1000, 3000, 7000])
def test_a_wanted_number_of_parameters_is_met_within_a_hundredth(vocabulary, per_id):
    config = sized(vocabulary * per_id, vocabulary)
    assert config.n_parameters() == pytest.approx(vocabulary * per_id, rel=0.01)
    assert config.vocabulary == vocabulary and 2 * config.width <= config.feed_forward <= 8 * config.width


def test_a_number_of_parameters_out_of_reach_gets_the_nearest_size():
    assert sized(1, 512).width == 16 and sized(10**10, 512).width == 1024


@pytest.mark.parametrize(
    "settings",
    [
        {"positions": "learned", "norm": "pre"},
        {"positions": "relative", "tied": False},
        {"shared": False, "source_vocabulary": 29, "output_bias": True},
        {"shared": False, "norm": "pre", "positions": "none"},
    ],
)
def test_counted_parameters_are_those_there_are(settings):
    config = dataclasses.replace(TINY, **settings)
    assert config.n_parameters() == sum(parameter.numel() for parameter in Transformer(config).parameters())


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"width": 15}, "multiple of n_heads"),
        ({"width": 7, "n_heads": 7}, "must be even for sinusoid"),
        ({"width": 21, "n_heads": 7, "positions": "rotary"}, "must be even for rotary"),
        ({"positions": "learned", "context": None}, "need a context"),
        ({"source_vocabulary": 29}, "shared=false"),
        ({"residual_dropout": 1.0}, "residual_dropout"),
        ({"vocabulary": 0}, "vocabulary"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"norm": "both"}, "norm must be one of post, pre"),
        ({"positions": "sinus"}, "positions must be one of sinusoid"),
        ({"activation": "bend"}, "activation must be one of"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, match):
    with pytest.raises(ConfigError, match=match):
        dataclasses.replace(TINY, **wrong)


def test_first_weights_have_the_deviations_of_glorot_and_embeddings_of_one_when_scaled():
    torch.manual_seed(3)
    model = Transformer(dataclasses.replace(TINY, width=112, feed_forward=224, vocabulary=211))
    query, key, value = model.encoder.blocks[1].attention.qkv.weight.chunk(3)
    for matrix in (query, key, value, model.decoder.blocks[0].cross_attention.query.weight):
        assert float(matrix.detach().std()) == pytest.approx((1 / 112) ** 0.5, rel=0.05)
    assert float(model.decoder.blocks[0].feed_forward.expand.weight.detach().std()) == pytest.approx(
        (2 / 336) ** 0.5, rel=0.05
    )
    assert float(model.token_embedding.weight.detach().std()) * 112**0.5 == pytest.approx(1.0, rel=0.05)
    assert not bool(model.encoder.blocks[0].attention.qkv.bias.any())
    torch.manual_seed(3)
    again = Transformer(dataclasses.replace(TINY, width=112, feed_forward=224, vocabulary=211))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_three_embeddings_are_one_matrix_when_shared_and_tied():
    model = Transformer(TINY)
    assert model.output.weight is model.token_embedding.weight is model.source_embedding.weight
    apart = Transformer(dataclasses.replace(TINY, shared=False, tied=False))
    assert len({id(m.weight) for m in (apart.output, apart.token_embedding, apart.source_embedding)}) == 3


def test_dropout_falls_where_it_is_set_and_in_training_alone():
    source, target = torch.randint(31, (2, 7)), torch.randint(31, (2, 5))
    for name in ("embedding_dropout", "attention_dropout", "residual_dropout", "activation_dropout"):
        settings = dict.fromkeys(("embedding_dropout", "residual_dropout"), 0.0) | {name: 0.3}
        torch.manual_seed(3)
        model = Transformer(dataclasses.replace(TINY, **settings))
        assert not torch.equal(model(source, None, target), model(source, None, target)), name
        model.eval()
        torch.testing.assert_close(model(source, None, target), model(source, None, target), rtol=0, atol=0)


def test_an_output_bias_is_added_and_does_not_learn():
    model = Transformer(dataclasses.replace(TINY, output_bias=True)).eval()
    source, target = torch.randint(31, (2, 7)), torch.randint(31, (2, 5))
    before = model(source, None, target)
    with torch.no_grad():
        model.output_bias += torch.arange(31.0)
    torch.testing.assert_close(model(source, None, target), before + torch.arange(31.0))
    assert not model.output_bias.requires_grad


def test_a_model_without_a_context_goes_past_any_length():
    model = Transformer(dataclasses.replace(TINY, context=None)).eval()
    ids = torch.randint(31, (1, 67))
    state = model.start(ids, rows=1, capacity=5)
    logits, _ = model.step(ids, torch.tensor([67]), state, every=True)
    torch.testing.assert_close(logits, model(ids, None, ids), rtol=0, atol=1e-4)
    assert model.context is None


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_copying_task_is_learnt_in_a_few_steps(norm):
    torch.manual_seed(3)
    config = TransformerConfig(
        vocabulary=11, context=13, width=32, n_heads=2, encoder_layers=1, decoder_layers=1, feed_forward=64, norm=norm
    )
    model = Transformer(dataclasses.replace(config, embedding_dropout=0.0, residual_dropout=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(120):
        source = torch.randint(1, 11, (32, 5))
        inputs = torch.cat([torch.zeros(32, 1, dtype=torch.int64), source[:, :-1]], dim=1)
        loss = nn.functional.cross_entropy(model(source, None, inputs).flatten(0, 1), source.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3  # to begin with about ln 11 = 2.4


def test_lengths_that_do_not_fit_the_source_are_refused():
    model, ids = Transformer(TINY), torch.randint(31, (2, 5))
    for lengths in ([5], [5, 6], [5, 0]):
        with pytest.raises(UsageError, match=r"one length in 1\.\.5 for each of 2 sources"):
            model(ids, torch.tensor(lengths), ids)
