import dataclasses

import pytest
import torch
from torch.nn import functional

from headway.errors import ConfigError, ContextError, UsageError
from headway.models.bert import BERT, PRESETS, BERTConfig, sized
from headway.models.gpt2 import GPT2, GPT2Config

SIZES = {"vocabulary": 31, "context": 17, "width": 20, "n_layers": 3, "n_heads": 5, "feed_forward": 19}
GPT2_BODY = {
    "norm": "pre",
    "segments": 0,
    "embedding_norm": False,
    "transform": False,
    "activation": "gelu_tanh",
    "epsilon": 1e-5,
}


def tiny(**settings: object) -> BERT:
    """Every parameter random, norms and biases too."""
    model = BERT(BERTConfig(**{**SIZES, **settings}))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(31, shape, generator=torch.Generator().manual_seed(3))


CHOICES = [
    {},
    {"feed_forward": None},
    {"gated": True},
    {"norm": "pre"},
    {"positions": "none", "segments": 0},
    {"positions": "rotary", "embedding_norm": False},
    {"embedding_projection": True},
    {"mixer": "fourier"},
    {"mixer": "hartley", "attention_layers": 1},
    {"mixer": "laplace", "attention_layers": 1},
    {"mixer": "none", "attention_layers": 2},
    {"tied": False},
    {"transform": False},
    {"head": "pretraining"},
    {"head": "classify", "n_labels": 7},
    {"head": "classify", "n_labels": 7, "pooler": False},
    {"head": "tag", "n_labels": 5, "pooler": True},
    {"head": "answer"},
    {"head": "none"},
    {"head": "none", "pooler": True, "mixer": "fourier", "n_heads": 3},
]


@pytest.mark.parametrize("settings", CHOICES, ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items()))
def test_parameters_are_counted_exactly_without_building(settings):
    config = BERTConfig(**{**SIZES, **settings})
    assert sum(parameter.numel() for parameter in BERT(config).parameters()) == config.n_parameters()


# The counts of transformers' BertModel of these sizes, and what its masked-word head adds.
PUBLISHED = {
    "tiny": 4_385_920 - 16_512 + 16_768 + 30_522,
    "base": 109_482_240 - 590_592 + 592_128 + 30_522,
    "large": 335_141_888 - 1_049_600 + 1_051_648 + 30_522,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_sizes(name):
    assert PRESETS[name].n_parameters() == PUBLISHED[name]


def test_every_preset_can_be_built_and_read():
    for preset in PRESETS.values():
        config = dataclasses.replace(preset, n_layers=1, vocabulary=31)
        states = BERT(config).eval().encode(random_ids(2, 5), torch.tensor([5, 2]))
        assert states.shape == (2, 5, config.width) and torch.isfinite(states).all()


@torch.no_grad()
def test_the_pre_norm_body_with_gpt2s_weights_says_what_gpt2_says_of_one_token():
    sizes = {"vocabulary": 31, "context": 17, "width": 20, "n_layers": 3, "n_heads": 5, "feed_forward": 19}
    torch.manual_seed(7)
    gpt2 = GPT2(GPT2Config(**sizes, initial_deviation=0.4)).eval()
    bert = BERT(BERTConfig(**sizes, **GPT2_BODY)).eval()
    weights = gpt2.state_dict()
    missing = bert.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ["output.bias"] and missing.unexpected_keys == []
    ids = random_ids(29, 1)
    torch.testing.assert_close(bert.encode(ids), gpt2(ids, hidden=True), rtol=0, atol=1e-5)
    torch.testing.assert_close(bert(ids), gpt2(ids) + bert.output.bias, rtol=0, atol=1e-5)
    assert sum(p.numel() for p in bert.parameters()) == sum(p.numel() for p in gpt2.parameters()) + 31
    longer = random_ids(3, 7)
    assert not torch.allclose(bert.encode(longer)[:, 0], gpt2(longer, hidden=True)[:, 0], atol=1e-2)  # but for the mask


@torch.no_grad()
def test_a_pre_norm_body_draws_its_weights_as_gpt2_does():
    sizes = {"vocabulary": 97, "context": 61, "width": 60, "n_layers": 3, "n_heads": 5, "feed_forward": 89}
    torch.manual_seed(3)
    gpt2 = dict(GPT2(GPT2Config(**sizes)).named_parameters())
    bert = BERT(BERTConfig(**sizes, **GPT2_BODY))
    for name, parameter in bert.named_parameters():
        known = gpt2.get(name, torch.zeros(1))
        if parameter.dim() == 2:
            assert float(parameter.std()) == pytest.approx(float(known.std()), rel=0.06), name
        else:
            assert torch.equal(parameter[:1], known[:1]), name


@torch.no_grad()
def test_a_post_norm_body_draws_normal_weights_and_leaves_norms_and_biases():
    for name, parameter in BERT(BERTConfig(vocabulary=97, width=60, n_layers=2, n_heads=5)).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert torch.equal(parameter, torch.ones_like(parameter)), name
        else:
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.15), name


def test_a_post_norm_layer_by_hand():
    """Equations 1 and 2 of Vaswani et al. 2017 with one head, written out."""
    model = tiny(n_layers=1, n_heads=1, width=6, segments=3, head="none")
    ids, segments = random_ids(1, 5), torch.tensor([[0, 2, 1, 1, 0]])
    block, weights = model.blocks[0], model.state_dict()
    with torch.no_grad():
        x = weights["token_embedding.weight"][ids[0]] + weights["position_embedding.weight"][:5]
        x = model.embedding_norm(x + weights["segment_embedding.weight"][segments[0]])
        query, key, value = block.attention.qkv(x).chunk(3, dim=-1)
        mixed = torch.softmax(query @ key.T / 6**0.5, dim=-1) @ value
        x = block.attention_norm(x + block.attention.output(mixed))
        bent = functional.gelu(block.feed_forward.expand(x))
        x = block.feed_forward_norm(x + block.feed_forward.contract(bent))
        torch.testing.assert_close(model.encode(ids, None, segments)[0], x, rtol=0, atol=1e-5)


def test_each_head_answers_in_its_own_shape():
    ids, lengths = random_ids(3, 7), torch.tensor([7, 2, 5])
    shapes = {"masked": (3, 7, 31), "pretraining": (3, 7, 31), "answer": (3, 7, 2), "none": (3, 7, 20)}
    for head, shape in shapes.items():
        assert tiny(head=head)(ids, lengths).shape == shape
    assert tiny(head="classify", n_labels=11)(ids, lengths).shape == (3, 11)
    assert tiny(head="tag", n_labels=11)(ids, lengths).shape == (3, 7, 11)


def test_the_forward_pass_is_encode_and_the_head():
    ids, lengths = random_ids(3, 7), torch.tensor([7, 2, 5])
    for settings in ({"head": "classify", "n_labels": 11}, {"head": "tag", "n_labels": 5}, {"head": "answer"}):
        model = tiny(**settings)
        assert torch.equal(model(ids, lengths), model.read_head(model.encode(ids, lengths), lengths))
    model = tiny(head="pretraining")
    states = model.encode(ids, lengths)
    assert torch.equal(model(ids, lengths, hidden=True), model.before_output(states))
    expected = model.before_output(states) @ model.token_embedding.weight.T + model.output.bias
    torch.testing.assert_close(model(ids, lengths), expected, rtol=0, atol=1e-4)
    assert model.next_sentence(states).shape == (3, 2)


def test_places_asked_for_alone_get_the_logits_of_the_full_pass():
    model, ids = tiny(), random_ids(3, 7)
    wanted = torch.rand(3, 7, generator=torch.Generator().manual_seed(1)) < 0.3
    alone = model.output(model.before_output(model.encode(ids)[wanted]))
    torch.testing.assert_close(alone, model(ids)[wanted], rtol=0, atol=1e-5)


def test_segments_tell_texts_apart_and_none_means_the_first():
    model, ids = tiny(), random_ids(2, 5)
    zeros = torch.zeros_like(ids)
    torch.testing.assert_close(model.encode(ids), model.encode(ids, None, zeros), rtol=0, atol=1e-6)
    assert not torch.allclose(model.encode(ids), model.encode(ids, None, zeros + 1), atol=1e-2)
    with pytest.raises(UsageError, match="segments must be in 0..1 .* but got 0..2"):
        model.encode(ids, None, zeros + torch.tensor([0, 1, 2, 0, 0]))
    without = tiny(segments=0)
    assert torch.equal(without.encode(ids), without.encode(ids, None, zeros + 3))


def test_a_head_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="only head='pretraining'"):
        tiny().next_sentence(torch.zeros(2, 3, 20))
    with pytest.raises(ConfigError, match="gives no labels"):
        tiny().read_head(torch.zeros(2, 3, 20))


def test_no_rows_give_no_states():
    assert tiny().encode(torch.zeros(0, 5, dtype=torch.int64)).shape == (0, 5, 20)
    with pytest.raises(UsageError, match="never empty"):
        tiny().encode(torch.zeros(2, 0, dtype=torch.int64))
    with pytest.raises(ContextError, match="at most 17 tokens"):
        tiny().encode(random_ids(1, 18))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 21}, "width must be a multiple of n_heads"),
        ({"n_heads": 0}, "multiple of n_heads"),
        ({"mixer": "wavelet"}, "mixer must be one of attention, fourier"),
        ({"norm": "rms"}, "norm must be one of post, pre"),
        ({"positions": "relative"}, "positions must be one of"),
        ({"head": "judge"}, "head must be one of"),
        ({"activation": "mish"}, "activation must be one of"),
        ({"positions": "rotary", "width": 15}, "width of a head must be even"),
        ({"positions": "rotary", "mixer": "fourier"}, "which mixer='fourier' has none of"),
        ({"attention_layers": 4}, "attention_layers must be in 0..3"),
        ({"segments": -1}, "segments must be in 0.."),
        ({"head": "classify"}, "n_labels must be in 1.."),
        ({"head": "tag", "n_labels": 0}, "n_labels must be in 1.."),
        ({"head": "answer", "n_labels": 3}, "has no labels, but got n_labels=3"),
        ({"n_labels": 3}, "has no labels"),
        ({"head_dropout": 1.0}, "head_dropout must be in 0..1"),
        ({"epsilon": 0.0}, "epsilon must be above 0"),
        ({"vocabulary": 0}, "vocabulary must be in 1.."),
        ({"feed_forward": 0}, "feed_forward must be in 1.."),
        ({"context": 2**30}, "context must be in 1.."),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        BERTConfig(**{**SIZES, **settings})
    assert len(str(caught.value).splitlines()) <= 6


def test_a_model_that_does_not_attend_may_have_any_width():
    assert BERT(BERTConfig(**{**SIZES, "width": 21, "mixer": "fourier"})).encode(random_ids(2, 5)).shape == (2, 5, 21)


@pytest.mark.parametrize("wanted", [300_000, 1_000_000, 2_700_000, 12_000_000, 110_000_000])
@pytest.mark.parametrize(
    "given",
    [{}, {"mixer": "fourier"}, {"gated": True, "norm": "pre"}, {"context": 128}],
    ids=lambda given: "-".join(given),
)
def test_a_wanted_number_of_parameters_is_met(wanted, given):
    config = sized(wanted, 2048, given)
    assert config.n_parameters() == pytest.approx(wanted, rel=0.02)
    assert 2 <= config.hidden / config.width <= 8
    assert all(getattr(config, name) == value for name, value in given.items())


def test_what_is_given_to_sized_stands():
    config = sized(1_000_000, 2048, {"width": 96, "n_heads": 3, "n_layers": 2, "feed_forward": 100})
    assert (config.width, config.n_heads, config.n_layers, config.feed_forward) == (96, 3, 2, 100)
    assert sized(1_000_000, 2048, {"width": 90}).width == 90
    with pytest.raises(ConfigError, match="attention_layers=99"):
        sized(1_000_000, 2048, {"mixer": "fourier", "attention_layers": 99})


def test_every_mixer_can_have_the_parameters_of_attention():
    attention = sized(2_700_000, 4096, {"context": 128})
    for mixer in ("fourier", "hartley", "none"):
        config = sized(attention.n_parameters(), 4096, {"context": 128, "mixer": mixer})
        assert config.n_parameters() == pytest.approx(attention.n_parameters(), rel=0.01)


def test_the_mean_is_of_a_rows_own_states_whatever_its_batch() -> None:
    torch.manual_seed(3)
    sizes = {"vocabulary": 31, "context": 11, "width": 12, "n_layers": 2, "n_heads": 3, "feed_forward": 17}
    model = BERT(BERTConfig(**sizes, head="classify", n_labels=5, pooling="mean", pooler=False)).eval()
    ids = torch.randint(31, (3, 7))
    lengths = torch.tensor([7, 2, 5])
    found = model(ids, lengths)
    states = model.encode(ids, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = model.head(states[row, :length].mean(dim=0))
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(ids[row : row + 1, :length])[0], expected, rtol=1e-4, atol=1e-5)
