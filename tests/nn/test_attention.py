import math

import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from headway.nn.attention import (
    CrossAttention,
    SelfAttention,
    SourceView,
    attend_plainly,
    causal_mask,
    merge_heads,
    split_heads,
)
from headway.nn.source_memory import SourceMemory
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


def test_numbers_in_a_mask_are_added_to_the_scores_watched_or_not():
    torch.manual_seed(4)
    attention, x = SelfAttention(21, 3).eval(), torch.randn(2, 5, 21)
    allowed = torch.rand(2, 1, 5, 5) > 0.4
    allowed[..., 0] = True
    added = torch.zeros(2, 1, 5, 5).masked_fill(~allowed, -math.inf)
    expected = attention(x, mask=allowed)
    torch.testing.assert_close(attention(x, mask=added), expected)
    torch.testing.assert_close(attention(x, mask=added, watch=watch(0, Trace(), None)), expected)
    shifted = attention(x, mask=added + torch.linspace(0.0, 3.0, 5))
    assert float((shifted - expected).detach().abs().max()) > 1e-3


def test_rotation_turns_queries_and_new_keys_but_not_values():
    torch.manual_seed(5)
    attention, x, seen = SelfAttention(10, 2).eval(), torch.randn(2, 3, 10), []

    def extend(key, value):
        seen.extend([key, value])
        return key, value

    attention(x, rotate=lambda part: part * 2, extend=extend)
    query, key, value = (split_heads(part, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    torch.testing.assert_close(seen, [key * 2, value])
    mixed, _ = attend_plainly(query * 2, key * 2, value, None, attention.scale)
    torch.testing.assert_close(attention(x, rotate=lambda part: part * 2), attention.output(merge_heads(mixed)))


def cross(dropout=0.0):
    torch.manual_seed(6)
    return CrossAttention(22, 2, dropout=dropout).eval()


def view(attention, source, lengths=None, rows=None):
    """What is read of sources of these lengths, by these rows."""
    key, value = attention.read(source)
    lengths = torch.full((source.shape[0],), source.shape[1]) if lengths is None else torch.tensor(lengths)
    memory = SourceMemory.build([key, value], lengths, list(range(len(lengths))) if rows is None else rows)
    mask = None if memory.mask is None else memory.mask[:, None, None]
    return SourceView(key=memory.tensors[0], value=memory.tensors[1], mask=mask, memory=memory)


def test_cross_attention_equals_torch_multihead_attention():
    ours, theirs = cross(), torch.nn.MultiheadAttention(22, 2, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    x, source = torch.randn(3, 7, 22), torch.randn(3, 5, 22)
    padding = torch.arange(5) >= torch.tensor([5, 2, 3])[:, None]
    expected, weights = theirs(x, source, source, key_padding_mask=padding, average_attn_weights=False)
    given, trace = view(ours, source, [5, 2, 3]), Trace()
    torch.testing.assert_close(ours(x, given), expected)
    torch.testing.assert_close(ours(x, given, watch=watch(1, trace, None)), expected)
    torch.testing.assert_close(trace.found["layers.1.cross_attention"], weights)


@pytest.mark.parametrize("rows", [[0, 0, 0, 1, 1, 1], [1, 0, 1, 1], [1, 0]])
def test_rows_of_one_source_read_it_together_as_if_alone(rows):
    attention, source = cross(), torch.randn(2, 5, 22)
    x, trace = torch.randn(len(rows), 3, 22), Trace()
    given = view(attention, source, [5, 2], rows)
    plain, traced = attention(x, given), attention(x, given, watch=watch(0, trace, None))
    for at, number in enumerate(rows):
        length, own = [5, 2][number], Trace()
        alone = view(attention, source[number : number + 1, :length])
        expected = attention(x[at : at + 1], alone, watch=watch(0, own, None))[0]
        torch.testing.assert_close(plain[at], expected)
        torch.testing.assert_close(traced[at], expected)
        found = trace.found["layers.0.cross_attention"][at]
        torch.testing.assert_close(found[..., :length], own.found["layers.0.cross_attention"][0])
        assert float(found[..., length:].abs().sum()) == 0.0


def test_silencing_is_of_self_attention_and_leaves_cross_attention_alone():
    attention, x, source = cross(), torch.randn(1, 3, 22), torch.randn(1, 5, 22)
    given = view(attention, source)
    torch.testing.assert_close(attention(x, given, watch=watch(0, None, frozenset({(0, 1)}))), attention(x, given))


def test_cross_attentions_dropout_applies_in_training_only():
    attention, x, source = cross(dropout=0.5), torch.randn(1, 3, 22), torch.randn(1, 5, 22)
    given = view(attention, source)
    torch.testing.assert_close(attention(x, given), attention(x, given), rtol=0.0, atol=0.0)
    attention.train()
    assert not torch.equal(attention(x, given), attention(x, given))


def test_the_mask_of_padding_keeps_the_processors_fused_kernel():
    query = torch.randn(3, 2, 7, 11)
    key, mask = torch.randn(3, 2, 5, 11, requires_grad=True), (torch.arange(5) < torch.tensor([[5], [2], [3]]))
    with profile(activities=[ProfilerActivity.CPU]) as found:
        mixed = functional.scaled_dot_product_attention(query, key, key, attn_mask=mask[:, None, None])
        mixed.sum().backward()
    names = {event.key for event in found.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in names
    assert "aten::_scaled_dot_product_flash_attention_for_cpu_backward" in names
