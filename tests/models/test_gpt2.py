import pytest
import torch

from headway.errors import ConfigError, ContextError, UsageError
from headway.models.gpt2 import GPT2, SIZES, GPT2Config
from headway.models.registry import FAMILIES, family, family_of


def tiny(**settings):
    torch.manual_seed(1)
    return GPT2(GPT2Config(vocabulary=29, context=13, width=14, n_layers=2, n_heads=7, **settings))


def test_the_published_sizes_have_the_published_parameter_counts():
    counts = {name: config.n_parameters() for name, config in SIZES.items()}
    assert counts == {"124M": 124_439_808, "355M": 354_823_168, "774M": 774_030_080, "1558M": 1_557_611_200}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_the_published_sizes_are_built_without_memory_on_the_meta_device(name):
    with torch.device("meta"):
        model = GPT2(SIZES[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == SIZES[name].n_parameters()
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("settings", [{}, {"tied": False}, {"feed_forward": 11}])
def test_the_counted_parameters_are_those_the_model_has(settings):
    model = tiny(**settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == model.config.n_parameters()


def test_a_tied_output_is_the_token_embedding():
    model = tiny()
    assert model.output.weight is model.token_embedding.weight
    assert tiny(tied=False).output.weight.shape == (29, 14)


def test_fresh_weights_have_the_papers_deviations():
    torch.manual_seed(5)
    model = GPT2(GPT2Config(vocabulary=499, context=101, width=128, n_layers=8, n_heads=2))
    assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.position_embedding.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for matrix in (model.blocks[3].attention.output, model.blocks[3].feed_forward.contract):
        assert matrix.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)
        assert not matrix.bias.any()
    assert bool((model.final_norm.weight == 1).all())


def test_a_fresh_model_is_close_to_undecided():
    loss = torch.nn.functional.cross_entropy(tiny()(torch.arange(13)[None])[0], torch.arange(13) + 1)
    assert loss.item() == pytest.approx(torch.log(torch.tensor(29.0)).item(), abs=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 15, "n_heads": 2}, "width must be a multiple of n_heads, but got width=15, n_heads=2"),
        ({"n_heads": 0}, "width must be a multiple"),
        ({"n_layers": 0}, "n_layers must be in 1..1024, but got n_layers=0"),
        ({"context": 10**12}, "context must be in"),
        ({"vocabulary": -5}, "vocabulary must be in"),
        ({"residual_dropout": 1.0}, "residual_dropout must be in 0..1"),
        ({"epsilon": float("nan")}, "epsilon must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused_with_rule_and_value(settings, message):
    with pytest.raises(ConfigError) as caught:
        GPT2Config(**settings)
    assert message in str(caught.value)


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ContextError, match="at most 13 tokens"):
        tiny()(torch.zeros(1, 14, dtype=torch.int64))


def test_gpt2_reads_no_source():
    with pytest.raises(UsageError, match="no source"):
        tiny().start(torch.zeros(1, 3), rows=1)
    with pytest.raises(UsageError, match="number of rows"):
        tiny().start(rows=[0, 0])


def test_a_family_is_found_by_name_and_by_model():
    assert family("gpt2") is FAMILIES["gpt2"] is family_of(tiny())
    with pytest.raises(ConfigError, match="no model family 'gpt3'; there are gpt2"):
        family("gpt3")
    with pytest.raises(ConfigError, match="known family"):
        family_of(torch.nn.Linear(2, 3))
