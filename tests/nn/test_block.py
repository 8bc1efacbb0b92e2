import torch

from headway.nn.attention import SelfAttention
from headway.nn.block import PreNormBlock
from headway.nn.feed_forward import FeedForward


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
