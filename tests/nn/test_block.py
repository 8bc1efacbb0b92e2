import pytest
import torch
from torch import Tensor, nn

from headway.nn.attention import CrossAttention, SelfAttention, SourceView
from headway.nn.block import PostNormBlock, PreNormBlock
from headway.nn.feed_forward import FeedForward

BLOCKS = {True: PreNormBlock, False: PostNormBlock}


def block(dropout: float) -> PreNormBlock:
    torch.manual_seed(5)
    return PreNormBlock(SelfAttention(14, 2), FeedForward(14, 19, "relu"), width=14, epsilon=1e-5, dropout=dropout)


def test_a_block_adds_to_the_stream_what_each_sublayer_reads_from_its_normalised_copy():
    layer, x = block(0.0).eval(), torch.randn(3, 5, 14)
    middle = x + layer.attention(layer.attention_norm(x))
    torch.testing.assert_close(layer(x), middle + layer.feed_forward(layer.feed_forward_norm(middle)))


def test_dropout_acts_on_both_sublayers_in_training_alone():
    layer, x = block(0.999999), torch.randn(3, 5, 14)
    torch.testing.assert_close(layer.train()(x), x)  # all that the sublayers add is dropped
    torch.testing.assert_close(layer.eval()(x), block(0.0).eval()(x), rtol=0, atol=0)


def test_a_post_norm_block_normalises_each_sum():
    torch.manual_seed(5)
    parts = SelfAttention(14, 2), FeedForward(14, 19, "relu")
    layer, x = PostNormBlock(*parts, width=14, epsilon=1e-5, dropout=0.0).eval(), torch.randn(3, 5, 14)
    middle = layer.attention_norm(x + layer.attention(x))
    torch.testing.assert_close(layer(x), layer.feed_forward_norm(middle + layer.feed_forward(middle)))
    torch.testing.assert_close(layer(x).mean(-1), torch.zeros(3, 5), rtol=0, atol=1e-6)


def copy_attention(ours: SelfAttention | CrossAttention, theirs: nn.MultiheadAttention) -> None:
    parts = [ours.qkv] if isinstance(ours, SelfAttention) else [ours.query, ours.key_value]
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


@torch.no_grad()
def copied(ours: nn.Module, theirs: nn.Module) -> None:
    """Gives one of torch's layers the weights of ours, norms and biases random as well."""
    torch.manual_seed(7)
    for parameter in ours.parameters():
        parameter.normal_(0.0, 0.4)
    copy_attention(ours.attention, theirs.self_attn)
    norms = [ours.attention_norm]
    if hasattr(ours, "cross_attention"):
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        norms.append(ours.cross_attention_norm)
    for number, norm in enumerate([*norms, ours.feed_forward_norm], 1):
        getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.expand.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.contract.state_dict())


def layers(pre: bool, *, reads: bool) -> tuple[nn.Module, nn.Module]:
    ours = BLOCKS[pre](
        SelfAttention(14, 7),
        FeedForward(14, 19, "relu"),
        width=14,
        epsilon=1e-5,
        dropout=0.0,
        cross_attention=CrossAttention(14, 7) if reads else None,
    )
    kind = nn.TransformerDecoderLayer if reads else nn.TransformerEncoderLayer
    theirs = kind(14, 7, 19, dropout=0.0, batch_first=True, norm_first=pre)
    copied(ours, theirs)
    return ours.train(), theirs.train()  # in evaluation torch may take another path


def gradients(module: nn.Module, result: Tensor, x: Tensor) -> list[Tensor]:
    torch.manual_seed(9)
    return list(torch.autograd.grad((result * torch.randn_like(result)).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("pre", [True, False])
def test_an_encoder_layer_equals_torchs_with_its_gradients(pre: bool):
    ours, theirs = layers(pre, reads=False)
    x = torch.randn(3, 5, 14, requires_grad=True)
    own = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]
    result = ours(x, mask=own[:, None, None])
    expected = theirs(x, src_key_padding_mask=~own)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    found, wanted = gradients(ours, result, x), gradients(theirs, expected, x)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-4)
    total, known = (sum(float(part.square().sum()) for part in parts) for parts in (found, wanted))
    assert total == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("pre", [True, False])
def test_a_decoder_layer_equals_torchs_with_its_gradients(pre: bool):
    ours, theirs = layers(pre, reads=True)
    x, annotations = torch.randn(3, 5, 14, requires_grad=True), torch.randn(3, 7, 14)
    own = torch.arange(7) < torch.tensor([7, 1, 3])[:, None]
    key, value = ours.cross_attention.read(annotations)
    result = ours(x, causal=True, source=SourceView(key=key, value=value, mask=own[:, None, None]))
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, annotations, tgt_mask=later, memory_key_padding_mask=~own)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    found, wanted = gradients(ours, result, x), gradients(theirs, expected, x)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-4)
    total, known = (sum(float(part.square().sum()) for part in parts) for parts in (found, wanted))
    assert total == pytest.approx(known, rel=1e-4)
