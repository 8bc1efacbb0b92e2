import math

import pytest
import torch

from headway.nn.attention import SelfAttention, attend_plainly, causal_mask, merge_heads, split_heads
from headway.nn.trace import Trace, watch


def test_attention_of_hand_worked_numbers():
    # Scores 0 and ln 3: probabilities 1/4 and 3/4, so the output is a quarter of the one value and three of the other.
    query = torch.tensor([[[[1.0]]]])
    key = torch.tensor([[[[0.0], [math.log(3.0)]]]])
    value = torch.tensor([[[[8.0], [16.0]]]])
    output, probabilities = attend_plainly(query, key, value, None, 1.0)
    torch.testing.assert_close(probabilities, torch.tensor([[[[0.25, 0.75]]]]))
    torch.testing.assert_close(output, torch.tensor([[[[14.0]]]]))


def test_a_masked_key_gets_no_attention():
    query = torch.ones(1, 1, 2, 3)
    output, probabilities = attend_plainly(query, query, query * 5, causal_mask(2, 2, query.device), 1.0)
    assert probabilities[0, 0, 0].tolist() == [1.0, 0.0]
    torch.testing.assert_close(output, query * 5)


def test_the_last_query_of_a_causal_mask_sees_every_key():
    assert causal_mask(2, 5, torch.device("cpu")).tolist() == [[True] * 4 + [False], [True] * 5]


def test_splitting_and_merging_heads_are_inverse_and_heads_are_neighbours():
    x = torch.arange(2 * 3 * 10.0).view(2, 3, 10)
    heads = split_heads(x, 5)
    assert heads.shape == (2, 5, 3, 2)
    assert heads[0, 1, 0].tolist() == [2.0, 3.0]
    torch.testing.assert_close(merge_heads(heads), x)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.37])
def test_watched_and_fused_attention_are_equal(causal, scale):
    torch.manual_seed(1)
    attention = SelfAttention(21, 3, scale=scale).eval()
    x = torch.randn(2, 5, 21)
    trace = Trace()
    watched = attention(x, causal=causal, watch=watch(4, trace, None))
    torch.testing.assert_close(watched, attention(x, causal=causal))
    assert trace.found["layers.4.attention"].shape == (2, 3, 5, 5)


def test_self_attention_equals_torch_multihead_attention():
    torch.manual_seed(2)
    ours, theirs = SelfAttention(22, 2).eval(), torch.nn.MultiheadAttention(22, 2, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    x = torch.randn(3, 7, 22)
    mask = causal_mask(7, 7, x.device)
    expected, _ = theirs(x, x, x, attn_mask=~mask, need_weights=False)
    torch.testing.assert_close(ours(x, causal=True), expected)
    torch.testing.assert_close(ours(x, mask=mask), expected)


def test_attention_dropout_applies_in_training_only():
    torch.manual_seed(3)
    attention = SelfAttention(10, 2, dropout=0.5)
    x = torch.randn(2, 7, 10)
    assert not torch.equal(attention(x, causal=True), attention(x, causal=True))
    attention.eval()
    torch.testing.assert_close(attention(x, causal=True), attention(x, causal=True), rtol=0.0, atol=0.0)


def test_no_watch_is_kept_where_nobody_asks():
    assert watch(1, None, None) is None
    assert watch(1, None, frozenset({(0, 3)})) is None
    seen = watch(1, None, frozenset({(1, 3), (1, 0), (2, 1)}))
    assert seen is not None and seen.silenced == (0, 3)
