"""Contracts 1, 2, 3, 5 and 6 of the design, over every decoder of the registry."""

import random

import pytest
import torch
from cases import DECODERS, FAMILY_OF, IN_ENGINE, VOCABULARY, build
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from headway.engine.extension import is_built
from headway.errors import ContextError, UsageError
from headway.models.registry import FAMILIES
from headway.nn.trace import Trace

CLOSE = {"rtol": 0.0, "atol": 1e-4}


def random_ids(*shape: int) -> Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(5))


def feed(model, state, rows, *, every=False, **asked):
    """One step of rows of unequal length; padding is the largest id, so that reading it would show."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), VOCABULARY - 1)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    return model.step(ids, torch.tensor([len(row) for row in rows]), state, every=every, **asked)


def test_every_decoder_family_has_a_case():
    assert {name for name, family in FAMILIES.items() if family.decoder} == set(FAMILY_OF.values())


# Contract 1


def test_single_steps_equal_the_full_pass(decoder):
    ids = random_ids(3, 11)
    full = decoder.full(ids)
    state = decoder.start(rows=3)
    for position in range(11):
        logits, state = feed(decoder, state, ids[:, position : position + 1])
        torch.testing.assert_close(logits, full[:, position], **CLOSE)
    assert state.lengths.tolist() == [11, 11, 11]


def test_a_prefill_at_once_equals_the_full_pass_at_every_position(decoder):
    ids = random_ids(3, 11)
    logits, _ = feed(decoder, decoder.start(rows=3), ids, every=True)
    torch.testing.assert_close(logits, decoder.full(ids), **CLOSE)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(DECODERS) + (sorted(IN_ENGINE) if is_built() else [])),
    lengths=st.lists(st.integers(1, 13), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_any_chunks_of_unequal_rows_equal_the_full_pass(name, lengths, seed):
    decoder, chance = build(name), random.Random(seed)
    rows = [random_ids(13)[:length].tolist() for length in lengths]
    state, fed = decoder.start(rows=len(rows)), [0] * len(rows)
    while any(done < length for done, length in zip(fed, lengths, strict=True)):
        counts = [chance.randint(0, min(7, length - done)) for done, length in zip(fed, lengths, strict=True)]
        chunks = [row[done : done + count] for row, done, count in zip(rows, fed, counts, strict=True)]
        logits, state = feed(decoder, state, chunks)
        fed = [done + count for done, count in zip(fed, counts, strict=True)]
        for at, count in enumerate(counts):
            if count:
                alone = decoder.full(torch.tensor([rows[at][: fed[at]]]), of=[at])[0, -1]
                torch.testing.assert_close(logits[at], alone, **CLOSE)
    assert state.lengths.tolist() == lengths


def test_a_count_of_zero_leaves_the_row_exactly_as_it_was(decoder):
    ids = random_ids(2, 7)
    _, plain = feed(decoder, decoder.start(rows=2), ids[:, :5])
    _, paused = feed(decoder, decoder.start(rows=2), ids[:, :5])
    for _ in range(3):
        _, paused = feed(decoder, paused, [[], [1, 2]])
    assert paused.lengths.tolist() == [5, 11]
    expected, _ = feed(decoder, plain.select([0]), ids[:1, 5:])
    got, _ = feed(decoder, paused.select([0]), ids[:1, 5:])
    # A recurrent state is a part of its step's tensor, and products round by where in memory it begins.
    torch.testing.assert_close(got, expected, rtol=0.0, atol=0.0 if decoder.has_capacity else 2e-6)


def test_a_step_of_no_tokens_at_all_changes_nothing(decoder):
    _, state = feed(decoder, decoder.start(rows=2), random_ids(2, 5))
    logits, state = decoder.step(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), state)
    assert logits.shape == (2, VOCABULARY) and state.lengths.tolist() == [5, 5]


def test_joined_rows_go_on_as_if_alone(decoder):
    first, second = random_ids(2, 7), random_ids(3, 3)
    _, left = feed(decoder, decoder.start(rows=2), first)
    _, right = feed(decoder, decoder.start(rows=3, of=[1, 3, 4]), second)
    logits, state = feed(decoder, left.join(right), [[1], [2, 3], [4], [], [5, 6, 7]])
    assert state.lengths.tolist() == [8, 9, 4, 3, 6]
    torch.testing.assert_close(
        logits[1], decoder.full(torch.tensor([[*first[1].tolist(), 2, 3]]), of=[1])[0, -1], **CLOSE
    )
    torch.testing.assert_close(
        logits[4], decoder.full(torch.tensor([[*second[2].tolist(), 5, 6, 7]]), of=[4])[0, -1], **CLOSE
    )


def test_rewind_takes_back_up_to_the_whole_latest_step(decoder):
    ids = random_ids(3, 5)
    _, state = feed(decoder, decoder.start(rows=3), ids)
    _, state = feed(decoder, state, [[7, 8, 9], [7, 8], [7]])
    with pytest.raises(UsageError, match="at most the latest step"):
        state.rewind([1, 3, 0])
    state = state.rewind([2, 2, 0]).rewind([1, 0, 1])
    assert state.lengths.tolist() == [5, 5, 5]
    logits, _ = feed(decoder, state, [[1], [2], [3]])
    for at, token in enumerate((1, 2, 3)):
        torch.testing.assert_close(
            logits[at], decoder.full(torch.tensor([[*ids[at].tolist(), token]]), of=[at])[0, -1], **CLOSE
        )


def test_a_copy_and_its_parent_do_not_disturb_each_other(decoder):
    ids = random_ids(2, 5)
    _, parent = feed(decoder, decoder.start(rows=2, capacity=17), ids)
    child = parent.copy()
    _, child = feed(decoder, child, [[1, 2, 3], [4]])
    logits, parent = feed(decoder, parent, [[9], [9]])
    for at in range(2):
        torch.testing.assert_close(
            logits[at], decoder.full(torch.tensor([[*ids[at].tolist(), 9]]), of=[at])[0, -1], **CLOSE
        )
    logits, _ = feed(decoder, child, [[5], [6]])
    torch.testing.assert_close(logits[0], decoder.full(torch.tensor([[*ids[0].tolist(), 1, 2, 3, 5]]))[0, -1], **CLOSE)
    assert parent.lengths.tolist() == [6, 6]


def test_a_consumed_state_cannot_be_used_again(decoder):
    uses = (
        lambda state: feed(decoder, state, [[1], [1]]),
        lambda state: state.select([0]),
        lambda state: state.rewind([1, 1]),
        lambda state: state.join(decoder.start(rows=1)),
        lambda state: decoder.start(rows=1).join(state),
        lambda state: state.copy(),
        lambda state: state.lengths,
    )
    for consume in uses[:5]:
        _, state = feed(decoder, decoder.start(rows=2), random_ids(2, 3))
        consume(state)
        for use in uses:
            with pytest.raises(RuntimeError, match="consumed"):
                use(state)


def test_a_step_past_the_context_is_refused_and_leaves_the_state_usable(decoder):
    ids = random_ids(1, decoder.context)
    _, state = feed(decoder, decoder.start(rows=1), ids[:, :-1])
    with pytest.raises(ContextError, match=str(decoder.context)):
        feed(decoder, state, [[1, 2]])
    logits, state = feed(decoder, state, ids[:, -1:])
    torch.testing.assert_close(logits, decoder.full(ids)[:, -1], **CLOSE)
    _, state = feed(decoder, state.join(decoder.start(rows=1)), [[], [1]])
    assert state.lengths.tolist() == [decoder.context, 1]
    with pytest.raises(ContextError, match=str(decoder.context)):
        decoder.start(rows=1, capacity=decoder.context + 1)


# Contract 2


def test_a_row_does_not_depend_on_its_batch_or_padding(decoder):
    rows = [random_ids(13)[:length].tolist() for length in (13, 2, 7, 1, 5)]
    logits, _ = feed(decoder, decoder.start(rows=5), rows)
    padded = torch.full((5, 13), VOCABULARY - 1)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = torch.tensor(row)
    whole = decoder.full(padded, torch.tensor([len(row) for row in rows]))
    for at, row in enumerate(rows):
        alone = decoder.full(torch.tensor([row]), of=[at])[0]
        torch.testing.assert_close(logits[at], alone[-1], **CLOSE)
        torch.testing.assert_close(whole[at, : len(row)], alone, **CLOSE)


# Contract 3


def test_no_gradient_flows_from_a_later_input_to_an_earlier_output(torch_decoder):
    ids = random_ids(1, 11)
    embedding, embedded = torch_decoder.embedding, []

    def remember(given: Tensor) -> Tensor:
        embedded.append(functional.embedding(given, embedding.weight).detach().requires_grad_())
        return embedded[-1]  # the latest is the target's, where one embedding serves the source too

    embedding.forward = remember
    for position in range(11):
        logits = torch_decoder.full(ids)
        (gradient,) = torch.autograd.grad(logits[0, position].sum(), embedded[-1])
        seen = gradient.reshape(11, -1).abs().sum(-1)
        assert bool((seen[position + 1 :] == 0.0).all()) and bool((seen[: position + 1] > 0.0).all())


# Contract 5


def test_select_commutes_with_step(decoder):
    ids, order = random_ids(3, 7), [2, 0, 2, 1]
    _, state = feed(decoder, decoder.start(rows=3), ids[:, :5])
    after, stepped = feed(decoder, state.copy(), ids[:, 5:6])
    before, chosen = feed(decoder, state.select(order), ids[order, 5:6])
    torch.testing.assert_close(before, after[order], **CLOSE)
    assert chosen.lengths.tolist() == stepped.select(order).lengths.tolist() == [6, 6, 6, 6]


def test_two_interleaved_generations_do_not_disturb_each_other(decoder):
    first, second = random_ids(2, 11), random_ids(3, 11).flip(1)
    one, two = decoder.start(rows=2), decoder.start(rows=3)
    for position in range(11):
        here, one = feed(decoder, one, first[:, position : position + 1])
        there, two = feed(decoder, two, second[:, position : position + 1])
    torch.testing.assert_close(here, decoder.full(first)[:, -1], **CLOSE)
    torch.testing.assert_close(there, decoder.full(second)[:, -1], **CLOSE)


def test_a_state_may_end_empty_and_start_again(decoder):
    _, state = feed(decoder, decoder.start(rows=2), random_ids(2, 3))
    empty = state.select([])
    assert empty.lengths.tolist() == []
    _, fresh = feed(decoder, decoder.start(rows=1), [[1, 2]])
    logits, _ = feed(decoder, empty.join(fresh), [[3]])
    torch.testing.assert_close(logits[0], decoder.full(torch.tensor([[1, 2, 3]]))[0, -1], **CLOSE)


# Contract 6


def test_trace_on_and_off_give_the_same_outputs_and_rows_sum_to_one(torch_decoder):
    rows = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]
    for chunks in ([rows], [[row[:1] for row in rows], [row[1:] for row in rows]]):
        plain, traced = torch_decoder.start(rows=3), torch_decoder.start(rows=3)
        for chunk in chunks:
            trace = Trace(residual=True)
            expected, plain = feed(torch_decoder, plain, chunk)
            logits, traced = feed(torch_decoder, traced, chunk, trace=trace)
            torch.testing.assert_close(logits, expected, **CLOSE)
            maps = {name: value for name, value in trace.found.items() if name.endswith("attention")}
            assert {name: value.shape[1] for name, value in maps.items()} == torch_decoder.maps
            for probabilities in maps.values():
                assert probabilities.shape[0] == 3 and probabilities.shape[2] == max(map(len, chunk))
                torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:3]))
                assert not probabilities.requires_grad


def test_a_silenced_head_changes_the_outputs_and_silencing_all_leaves_the_bias(torch_decoder):
    ids = random_ids(1, 7)
    with pytest.raises(UsageError, match="ablate"):
        feed(torch_decoder, torch_decoder.start(rows=1), ids, ablate=frozenset({(97, 0)}))
    if not torch_decoder.heads:
        return
    expected, _ = feed(torch_decoder, torch_decoder.start(rows=1), ids)
    silenced, _ = feed(torch_decoder, torch_decoder.start(rows=1), ids, ablate=frozenset({torch_decoder.heads[0]}))
    assert float((silenced - expected).abs().max()) > 1e-3
    every = frozenset(torch_decoder.heads)
    apart, _ = feed(torch_decoder, torch_decoder.start(rows=1), ids, ablate=every)
    last, _ = torch_decoder.step(ids[:, -1:], torch.tensor([1]), _at(torch_decoder, 6), ablate=every)
    assert torch.allclose(apart, last, **CLOSE) is torch_decoder.alone


def _at(decoder, position):
    """A state of one row that holds `position` tokens, other ones than any test feeds."""
    _, state = feed(decoder, decoder.start(rows=1), [[29] * position])
    return state


def test_capacity_does_not_change_results_and_memory_grows_as_needed(torch_decoder):
    ids = random_ids(1, 19)
    expected, _ = feed(torch_decoder, torch_decoder.start(rows=1, capacity=torch_decoder.context), ids)
    state = torch_decoder.start(rows=1, capacity=3)
    assert not torch_decoder.has_capacity or state.capacity == 3
    for position in range(19):
        logits, state = feed(torch_decoder, state, ids[:, position : position + 1])
    torch.testing.assert_close(logits, expected, **CLOSE)
    assert not torch_decoder.has_capacity or 19 <= state.capacity <= torch_decoder.context


def test_the_hidden_vectors_are_what_the_output_matrix_reads(torch_decoder):
    ids = random_ids(3, 5)
    logits = torch_decoder.full(ids, hidden=True) @ torch_decoder.model.output.weight.t()
    bias = getattr(torch_decoder.model, "output_bias", None)
    torch.testing.assert_close(logits if bias is None else logits + bias, torch_decoder.full(ids), **CLOSE)
