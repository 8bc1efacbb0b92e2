"""A layer over packed rows against the same layer over padded ones."""

import pytest
import torch
from torch import nn

from headway.nn.attention import SelfAttention
from headway.nn.block import PostNormBlock, PreNormBlock
from headway.nn.feed_forward import FeedForward, GatedFeedForward
from headway.nn.heads import Pooler, Transform
from headway.nn.mixing_block import MixingBlock, PackedAttention, packed_rotation
from headway.nn.packing import Packing
from headway.nn.positions import RotaryPositions
from headway.nn.trace import Trace, Watch

LENGTHS = [7, 3, 1, 7, 5]
PADDED = {"pre": PreNormBlock, "post": PostNormBlock}


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return module.eval()


def layers(norm: str) -> tuple[MixingBlock, nn.Module]:
    """A packed layer and a padded one with the same parameters, by the same names."""
    packed = MixingBlock(
        PackedAttention(14, 2), FeedForward(14, 19, "gelu"), width=14, norm=norm, epsilon=1e-5, dropout=nn.Dropout(0.1)
    )
    padded = PADDED[norm](SelfAttention(14, 2), FeedForward(14, 19, "gelu"), width=14, epsilon=1e-5, dropout=0.1)
    padded.load_state_dict(randomise(packed).state_dict())
    return packed, padded.eval()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_packed_layer_equals_the_padded_one_with_its_gradients(norm):
    packed, padded = layers(norm)
    packing = Packing(LENGTHS, width=7)
    own = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    x = torch.randn(5, 7, 14, generator=torch.Generator().manual_seed(2), requires_grad=True)
    found = packing.unpack(packed(packing.pack(x), packing))
    expected = padded(x, mask=own[:, None, None]) * own[:, :, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), [x, *packed.parameters()])
    wanted = torch.autograd.grad((expected * weights).sum(), [x, *padded.parameters()])
    by_name = dict(zip([name for name, _ in padded.named_parameters()], wanted[1:], strict=True))
    torch.testing.assert_close(gradients[0], wanted[0], rtol=1e-4, atol=1e-4)
    for (name, _), gradient in zip(packed.named_parameters(), gradients[1:], strict=True):
        torch.testing.assert_close(gradient, by_name[name], rtol=1e-4, atol=1e-4)


def test_turned_queries_and_keys_are_those_of_each_rows_own_positions():
    attention = randomise(PackedAttention(12, 3))
    plain = SelfAttention(12, 3)
    plain.load_state_dict(attention.state_dict())
    packing, positions = Packing(LENGTHS, width=7), RotaryPositions(4)
    x = torch.randn(5, 7, 12, generator=torch.Generator().manual_seed(2))
    found = packing.unpack(attention(packing.pack(x), packing, rotate=packed_rotation(positions, packing)))
    for row, length in enumerate(LENGTHS):
        expected = plain(x[row : row + 1, :length], rotate=positions.rotation(torch.arange(length)[None]))
        torch.testing.assert_close(found[row, :length], expected[0], rtol=0, atol=1e-5)


def test_the_gradient_of_turning_is_turning_back():
    packing = Packing([3, 2])
    parts = torch.randn(5, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    rotate = packed_rotation(RotaryPositions(6), packing)
    assert torch.equal(rotate(parts)[:, 2], parts[:, 2])
    assert torch.autograd.gradcheck(rotate, parts)


def test_a_watch_shows_each_rows_own_attention_and_changes_nothing():
    attention, packing, trace = randomise(PackedAttention(14, 7)), Packing(LENGTHS, width=11), Trace()
    x = packing.pack(torch.randn(5, 11, 14))
    watched = attention(x, packing, watch=Watch(layer=2, trace=trace, silenced=()))
    torch.testing.assert_close(watched, attention(x, packing), rtol=0, atol=1e-5)
    seen = trace.found["layers.2.attention"]
    assert seen.shape == (5, 7, 11, 11)
    own = (torch.arange(11) < torch.tensor(LENGTHS)[:, None]).float()
    torch.testing.assert_close(seen.sum(dim=-1), own[:, None].expand(5, 7, 11))
    assert not (seen * (1 - own[:, None, None])).any()


def test_a_silenced_head_adds_nothing():
    attention, packing = randomise(PackedAttention(14, 2)), Packing(LENGTHS)
    x = torch.randn(packing.n_tokens, 14)
    silenced = attention(x, packing, watch=Watch(layer=0, trace=None, silenced=(1,)))
    with torch.no_grad():
        attention.output.weight[:, 7:] = 0.0  # what reads the second head
    torch.testing.assert_close(silenced, attention(x, packing), rtol=0, atol=1e-5)


def test_dropout_acts_on_both_sublayers_in_training_alone():
    def built(dropout: float) -> MixingBlock:
        parts = PackedAttention(14, 2), FeedForward(14, 19, "relu")
        return randomise(MixingBlock(*parts, width=14, norm="pre", epsilon=1e-5, dropout=nn.Dropout(dropout)))

    packing = Packing(LENGTHS)
    x = torch.randn(packing.n_tokens, 14)
    torch.testing.assert_close(built(0.999999).train()(x, packing), x)
    assert torch.equal(built(0.999999)(x, packing), built(0.0)(x, packing))


def test_the_gated_network_multiplies_the_bent_half_by_the_other():
    network = randomise(GatedFeedForward(5, 7, "silu"))
    x = torch.randn(3, 5)
    gate, passed = network.expand.weight[:7], network.expand.weight[7:]
    first, second = x @ gate.T + network.expand.bias[:7], x @ passed.T + network.expand.bias[7:]
    expected = (first * torch.sigmoid(first) * second) @ network.contract.weight.T + network.contract.bias
    torch.testing.assert_close(network(x), expected)


def test_dropout_of_the_gated_network_falls_on_the_product_in_training_alone():
    network = randomise(GatedFeedForward(5, 7, "silu", dropout=0.999999))
    x = torch.randn(3, 5)
    assert not torch.allclose(network(x), network.contract.bias.expand(3, 5))
    torch.testing.assert_close(network.train()(x), network.contract.bias.expand(3, 5))


def test_the_pooler_is_a_matrix_and_tanh():
    pooler = randomise(Pooler(5))
    rows = torch.randn(3, 5)
    torch.testing.assert_close(pooler(rows), torch.tanh(rows @ pooler.dense.weight.T + pooler.dense.bias))


def test_the_transform_bends_before_it_norms():
    transform = randomise(Transform(5, "relu", epsilon=1e-5))
    x = torch.randn(3, 7, 5)
    bent = torch.relu(x @ transform.dense.weight.T + transform.dense.bias)
    expected = nn.functional.layer_norm(bent, (5,), transform.norm.weight, transform.norm.bias, 1e-5)
    torch.testing.assert_close(transform(x), expected)
