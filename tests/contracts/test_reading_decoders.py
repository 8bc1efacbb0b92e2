"""Contracts 1, 2, 5 and 6 of the design where a decoder reads a source, over every such decoder of the registry."""

import pytest
import torch
from cases import FAMILY_OF, READING, SOURCE_LENGTHS, SOURCE_VOCABULARY, VOCABULARY
from test_decoders import CLOSE, feed, random_ids

from headway.errors import ContextError, UsageError
from headway.models.registry import FAMILIES
from headway.nn.trace import Trace


def test_every_family_that_reads_a_source_has_a_case():
    assert {name for name, family in FAMILIES.items() if family.reads_source} == {FAMILY_OF[name] for name in READING}
    assert all(FAMILIES[FAMILY_OF[name]].encoder for name in READING)


def numbers_of(memory):
    return sum(tensor.numel() for tensor in memory.tensors)


def test_rows_read_the_sources_they_were_given_in_any_order_and_number(reader):
    ids, of = random_ids(7, 5), [2, 0, 0, 4, 2, 1, 0]
    _, state = feed(reader, reader.start(rows=7, of=of), [row[: 1 + at % 5] for at, row in enumerate(ids.tolist())])
    logits, _ = feed(reader, state, [[3]] * 7)
    for at, row in enumerate(ids.tolist()):
        alone = reader.full(torch.tensor([[*row[: 1 + at % 5], 3]]), of=[of[at]])[0, -1]
        torch.testing.assert_close(logits[at], alone, **CLOSE)


def test_the_source_matters(reader):
    ids = random_ids(1, 5)
    first, second = (reader.full(ids, of=[number])[0, -1].detach() for number in (0, 1))
    assert float((first - second).abs().max()) > 1e-3


def test_a_source_stands_once_however_many_rows_read_it(reader):
    ids = random_ids(2, 3)
    _, state = feed(reader, reader.start(rows=2, of=[0, 1]), ids)
    once = numbers_of(state.memory)
    state = state.select([0, 0, 0, 1, 0, 1, 1, 1])
    assert numbers_of(state.memory) == once and state.memory.lengths.tolist() == [7, 3]
    logits, state = feed(reader, state, [[4]] * 8)
    assert numbers_of(state.memory) == once
    for at, number in enumerate((0, 0, 0, 1, 0, 1, 1, 1)):
        alone = reader.full(torch.tensor([[*ids[number].tolist(), 4]]), of=[number])[0, -1]
        torch.testing.assert_close(logits[at], alone, **CLOSE)


def test_a_source_that_no_row_reads_any_more_is_let_go(reader):
    _, state = feed(reader, reader.start(rows=3), random_ids(3, 3))
    state = state.select([1, 1])
    assert state.memory.lengths.tolist() == [3]
    assert all(tensor.shape[0] == 1 and tensor.shape[-2] in (1, 3) for tensor in state.memory.tensors)
    logits, _ = feed(reader, state, [[4], [5]])
    alone = reader.full(torch.tensor([[*random_ids(3, 3)[1].tolist(), 5]]), of=[1])[0, -1]
    torch.testing.assert_close(logits[1], alone, **CLOSE)


def test_rewind_and_copy_leave_the_source_as_it_is(reader):
    _, state = feed(reader, reader.start(rows=2, of=[1, 0]), random_ids(2, 3))
    kept = state.copy()
    expected, _ = feed(reader, state, [[4], [5]])
    _, state = feed(reader, kept.select([1, 0]), [[9], [8]])
    logits, _ = feed(reader, state.rewind([1, 1]), [[5], [4]])
    torch.testing.assert_close(logits, expected[[1, 0]], **CLOSE)


def test_a_source_does_not_depend_on_its_padding_in_the_full_pass(reader):
    ids = random_ids(5, 5)
    together = reader.full(ids)
    for at in range(5):
        torch.testing.assert_close(together[at], reader.full(ids[at : at + 1], of=[at])[0], **CLOSE)
    source, lengths = reader.sources([1])
    wider = torch.nn.functional.pad(source, (0, 4), value=7)
    torch.testing.assert_close(reader.model(wider, lengths, ids[1:2])[0], together[1], **CLOSE)
    narrow = source[:, :3]
    torch.testing.assert_close(reader.model(narrow, None, ids[1:2])[0], together[1], **CLOSE)


def test_a_source_does_not_depend_on_its_padding_in_steps(reader):
    ids = random_ids(1, 5)
    source, lengths = reader.sources([1])
    wider = torch.nn.functional.pad(source, (0, 4), value=7)
    expected = reader.full(ids, of=[1])[:, -1]
    for given in ((wider, lengths), (source[:, :3], None)):
        logits, _ = feed(reader, reader.model.start(*given, rows=1), ids)
        torch.testing.assert_close(logits, expected, **CLOSE)


def test_no_gradient_flows_from_padding_of_the_source(reader):
    ids, (source, lengths) = random_ids(2, 3), reader.sources([0, 1])
    if source.shape[1] == int(lengths.min()):
        return
    annotations = reader.model.encode(source, lengths)
    other = source.clone()
    other[1, 3:] = 2
    torch.testing.assert_close(reader.model.encode(other, lengths)[1, :3], annotations[1, :3], **CLOSE)
    torch.testing.assert_close(reader.model(other, lengths, ids), reader.model(source, lengths, ids), **CLOSE)


def test_annotations_do_not_depend_on_batch_padding_or_trace(reader):
    source, lengths = reader.sources(range(5))
    trace = Trace()
    annotations, traced = reader.model.encode(source, lengths), reader.model.encode(source, lengths, trace=trace)
    assert annotations.shape[:2] == source.shape
    for at, length in enumerate(SOURCE_LENGTHS):
        alone = reader.model.encode(source[at : at + 1, :length], lengths[at : at + 1])
        torch.testing.assert_close(annotations[at, :length], alone[0], **CLOSE)
        torch.testing.assert_close(traced[at, :length], alone[0], **CLOSE)
    assert {name: value.shape[1] for name, value in trace.found.items()} == reader.encoder_maps
    for probabilities in trace.found.values():
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:3]))
        assert float(probabilities[3, :, :, 1:].abs().max()) == 0.0


def test_a_trace_of_one_forced_pass_shows_what_single_steps_read_of_the_source(reader):
    ids, of = random_ids(3, 5), [1, 0, 1]
    trace = Trace()
    feed(reader, reader.start(rows=3, of=of), ids, every=True, trace=trace)
    maps = {name: value for name, value in trace.found.items() if name.endswith("cross_attention")}
    assert maps.keys() == {name for name in reader.maps if name.endswith("cross_attention")}
    state = reader.start(rows=3, of=of)
    for position in range(5):
        single = Trace()
        _, state = feed(reader, state, ids[:, position : position + 1], trace=single)
        for name, value in maps.items():
            assert value.shape[2:] == (5, 7) and float(value[0, :, :, 3:].abs().max()) == 0.0
            torch.testing.assert_close(value[:, :, position], single.found[name][:, :, 0], **CLOSE)


def test_what_cannot_be_read_is_refused(reader):
    source, lengths = reader.sources([0, 1])
    empty = torch.tensor([7, 0])
    for refused in (
        lambda: reader.model.start(rows=1),
        lambda: reader.model.start(source, lengths, rows=2),
        lambda: reader.model.start(source, lengths, rows=[0, 2]),
        lambda: reader.model.start(source, empty, rows=[0, 1]),
        lambda: reader.model.encode(source, empty),
        lambda: reader.model.encode(source, lengths, segments=source),
        lambda: reader.model(source, empty, random_ids(2, 3)),
    ):
        with pytest.raises(UsageError):
            refused()
    long = torch.zeros(1, reader.context + 1, dtype=torch.int64)
    for refused in (
        lambda: reader.model(long, None, long[:, :3]),
        lambda: reader.model(long[:, :3], None, long),
        lambda: reader.model.encode(long, None),
        lambda: reader.model.start(long, None, rows=1),
    ):
        with pytest.raises(ContextError, match=str(reader.context)):
            refused()


def test_gradients_reach_every_weight(reader):
    source, lengths = reader.sources(range(5))
    for name, parameter in reader.model.named_parameters():
        assert parameter.requires_grad is (name != "output_bias")
    reader.model(source, lengths, random_ids(5, 7)).square().sum().backward()
    for name, parameter in reader.model.named_parameters():
        if parameter.requires_grad and not name.endswith("key_value.bias"):
            assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0.0, name


def test_the_counted_parameters_are_those_there_are(reader):
    assert reader.model.config.n_parameters() == sum(part.numel() for part in reader.model.parameters())
    assert SOURCE_VOCABULARY < VOCABULARY
