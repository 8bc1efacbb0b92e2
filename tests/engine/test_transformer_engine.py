"""The Transformer in the engine: PyTorch's numbers, the same bits from all kernels and schedules, clear refusals."""

import random
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_transformer import CONTEXT, VOCABULARY, feed, in_engine, padded, tiny
from torch import Tensor

from headway.decoding.beam import Search, beam_search
from headway.engine.extension import native
from headway.errors import ContextError, FormatError, ResourceError, UsageError

BITS = (32, 16, 8, 4)
SOURCES = [[(3 * at * at + 7 * row) % VOCABULARY for at in range(length)] for row, length in enumerate((19, 1, 11, 17))]
TARGETS = [[(5 * at * at + 3 * row) % VOCABULARY for at in range(23)] for row in range(4)]


def full(model: Any) -> Tensor:
    """Logits of every target over its source."""
    return model(*padded(SOURCES), torch.tensor(TARGETS))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_float32_logits_equal_pytorch_s(data: st.DataObject) -> None:
    heads = data.draw(st.sampled_from([1, 2, 3, 5]))
    vocabulary = data.draw(st.sampled_from([1, 15, 16, 17, 97]))
    shared = data.draw(st.booleans())
    width = heads * data.draw(st.sampled_from([2, 14, 16, 38])) * (2 if heads % 2 else 1)
    model = tiny(
        width=width,
        n_heads=heads,
        encoder_layers=data.draw(st.integers(1, 3)),
        decoder_layers=data.draw(st.integers(1, 3)),
        vocabulary=vocabulary,
        source_vocabulary=None if shared else data.draw(st.sampled_from([None, 13, 31])),
        context=data.draw(st.sampled_from([CONTEXT, 23])),
        feed_forward=data.draw(st.sampled_from([1, 13, 64])),
        activation=data.draw(st.sampled_from(["gelu_tanh", "gelu", "relu", "silu"])),
        norm=data.draw(st.sampled_from(["post", "pre"])),
        positions=data.draw(st.sampled_from(["none", "sinusoid", "learned", "rotary", "relative"])),
        shared=shared,
        tied=data.draw(st.booleans()),
        scaled=data.draw(st.booleans()),
        output_bias=data.draw(st.booleans()),
        initial_deviation=width**-0.5,
    )
    sources, lengths = padded([[id % (model.config.source_vocabulary or vocabulary) for id in ids] for ids in SOURCES])
    targets = torch.tensor(TARGETS) % vocabulary
    with torch.inference_mode():
        expected = model(sources.clamp(max=0) + sources * (sources < 10**6), lengths, targets)
        torch.testing.assert_close(in_engine(model, 32, 2)(sources, lengths, targets), expected, rtol=0.0, atol=1e-4)


def test_past_every_table_positions_are_still_pytorch_s() -> None:
    """Sinusoids and turns are tabled up to 512, relative distances up to 128."""
    ids = torch.tensor([[(7 * at * at + at) % VOCABULARY for at in range(600)]])
    for positions in ("sinusoid", "rotary", "relative"):
        width = 12 if positions == "relative" else 24
        model = tiny(context=None, positions=positions, width=width, encoder_layers=1, decoder_layers=1, norm="pre")
        with torch.inference_mode():
            found = in_engine(model, 32)(ids, None, ids[:, 3:])
            torch.testing.assert_close(found, model(ids, None, ids[:, 3:]), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize(("bits", "lost"), [(16, 0.008), (8, 0.04), (4, 0.3)])
def test_fewer_bits_lose_little_but_something(bits: int, lost: float) -> None:
    """Of the logits' own spread, in the mean over all of them."""
    model = tiny(width=128, n_heads=4, feed_forward=256, initial_deviation=None)
    sources = torch.tensor([SOURCES[0]])
    with torch.inference_mode():
        exact = model(sources, None, torch.tensor(TARGETS[:1]))
        apart = (in_engine(model, bits)(sources, None, torch.tensor(TARGETS[:1])) - exact).abs().mean() / exact.std()
    assert lost / 20 < float(apart) < lost


@pytest.mark.parametrize("bits", BITS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_all_kernels_and_threads_give_the_same_bits(bits: int, data: st.DataObject) -> None:
    heads, size = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.sampled_from([1e-3, 0.2, 3.0]))
    positions = data.draw(st.sampled_from(["sinusoid", "rotary", "relative"]))
    model = tiny(width=heads * 34, n_heads=heads, feed_forward=data.draw(st.sampled_from([3, 37])), positions=positions)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(size)
    plain = full(in_engine(model, bits, kernels="plain"))
    for kernels in native().kernels_here():
        assert torch.equal(full(in_engine(model, bits, 3, kernels)), plain)


# However the tokens come into the rows


@cache
def engine(bits: int) -> Any:
    return in_engine(tiny(positions="relative" if bits == 16 else "rotary" if bits == 4 else "sinusoid"), bits)


@cache
def alone(bits: int, source: int, ids: tuple[int, ...]) -> Tensor:
    """Logits after these ids, read one by one, by one row over one source, on one thread."""
    model = engine(bits)
    model.threads = 1
    state = model.start(torch.tensor([SOURCES[source]]), None, rows=1)
    for token in ids:
        logits, state = feed(model, state, [[token]])
    return logits[0]


def run(bits: int, chance: random.Random, moves: int) -> int:
    """Rows of several sources that grow, fork, leave, are taken back and meet; how many logits were checked."""
    model, checked = engine(bits), 0
    state, rows = model.start(*padded(SOURCES[:1]), rows=[]), list[tuple[int, list[int]]]()
    for _ in range(moves):
        model.threads = chance.randint(1, 4)
        some = sorted(chance.sample(range(4), chance.randint(1, 3)))
        begun = [chance.choice(some) for _ in range(chance.randint(1, 3))]
        fresh = model.start(*padded([SOURCES[at] for at in some]), rows=[some.index(at) for at in begun])
        state, rows = state.join(fresh), rows + [(at, []) for at in begun]
        kept = [chance.randrange(len(rows)) for _ in range(chance.randint(1, 7))]
        kept = sorted(kept) if chance.random() < 0.5 else kept
        state, rows = state.select(kept), [rows[at] for at in kept]
        chunks = [chance.choice(TARGETS)[: min(chance.choice((0, 1, 1, 2, 17)), CONTEXT - len(ids))] for _, ids in rows]
        every, parent = chance.random() < 0.3, state.copy()
        logits, state = feed(model, state, chunks, every=every)
        rows = [(source, ids + chunk) for (source, ids), chunk in zip(rows, chunks, strict=True)]
        for at, ((source, ids), chunk) in enumerate(zip(rows, chunks, strict=True)):
            if chunk:
                last = logits[at, len(chunk) - 1] if every else logits[at]
                assert torch.equal(last, alone(bits, source, tuple(ids)))
                checked += 1
        if chance.random() < 0.3:
            state = parent
            rows = [(source, ids[: len(ids) - len(chunk)]) for (source, ids), chunk in zip(rows, chunks, strict=True)]
        else:
            back = [chance.randint(0, len(chunk)) for chunk in chunks]
            state = state.rewind(back)
            rows = [(source, ids[: len(ids) - n]) for (source, ids), n in zip(rows, back, strict=True)]
    return checked


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bits=st.sampled_from(BITS), seed=st.integers(0, 2**32))
def test_logits_do_not_depend_on_the_schedule(bits: int, seed: int) -> None:
    run(bits, random.Random(seed), 5)


@pytest.mark.night
@pytest.mark.parametrize("bits", BITS)
def test_logits_do_not_depend_on_a_thousand_schedules(bits: int) -> None:
    assert sum(run(bits, random.Random(seed), 12) for seed in range(250)) > 5_000


def test_a_source_does_not_depend_on_those_beside_it() -> None:
    """More tokens of sources than are computed together, in any order."""
    model = in_engine(tiny(context=400), 8, threads=3)
    sources = [[(at * at + row) % VOCABULARY for at in range(length)] for row, length in enumerate((130, 300, 120, 7))]
    together, _ = feed(model, model.start(*padded(sources), rows=[3, 1, 2, 0, 1]), [[5]] * 5)
    for logits, source in zip(together, (3, 1, 2, 0, 1), strict=True):
        one, _ = feed(model, model.start(torch.tensor([sources[source]]), None, rows=1), [[5]])
        assert torch.equal(logits, one[0])


def test_a_source_is_kept_once_and_let_go_with_its_last_row() -> None:
    model = in_engine(tiny(), 8)
    state = model.start(*padded(SOURCES), rows=[0, 2, 2, 2])
    assert model.sources_out == 2
    _, state = feed(model, state.select([1] * 9), [[1]] * 9)
    assert model.sources_out == 1 and state.pages_out == 9
    kept = state.copy()
    state = state.join(model.start(*padded(SOURCES[:1]), rows=5)).select([9])
    assert model.sources_out == 2
    del kept
    assert model.sources_out == 1
    state.select([])
    assert model.sources_out == 0


# Beam search


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_beam_search_finds_what_it_finds_in_pytorch(norm: str) -> None:
    model = tiny(norm=norm, initial_deviation=0.15)
    search = Search(beam=4, n_best=3, max_ratio=3.0, max_extra=5)
    given = {"sources": SOURCES, "end_ids": frozenset({0}), "vocabulary": VOCABULARY - 2}
    expected = beam_search(model, [[1]] * 4, search, **given)
    found = beam_search(in_engine(model, 32), [[1]] * 4, search, **given)
    for mine, theirs in zip(found, expected, strict=True):
        assert [one.ids for one in mine] == [one.ids for one in theirs]
        torch.testing.assert_close([one.score for one in mine], [one.score for one in theirs], rtol=0.0, atol=1e-5)


def test_a_beam_search_gives_the_same_bits_alone_and_in_a_batch() -> None:
    model = in_engine(tiny(initial_deviation=0.15), 8, threads=2)
    search = Search(beam=3, max_ratio=2.0, max_extra=5)
    together = beam_search(model, [[1]] * 4, search, sources=SOURCES, end_ids=frozenset({0}))
    for source, found in zip(SOURCES, together, strict=True):
        assert beam_search(model, [[1]], search, sources=[source], end_ids=frozenset({0})) == [found]


# Bad input


def test_sources_that_cannot_be_read_are_refused() -> None:
    model = in_engine(tiny(shared=False, source_vocabulary=7), 8)
    sources = torch.tensor([[1, 2, 3], [4, 5, 6]])
    for lengths in ([0, 3], [3, 4], [3, -1]):
        with pytest.raises(UsageError, match=r"source_lengths takes one length in 1\.\.3"):
            model.start(sources, torch.tensor(lengths), rows=[0])
    with pytest.raises(UsageError, match="one length"):
        model.start(sources, torch.tensor([3]), rows=[0])
    for wrong in (-1, 7, 2**40):
        with pytest.raises(UsageError, match=rf"a source's ids must be in 0\.\.6, but got {wrong}"):
            model.start(torch.tensor([[1, wrong]]), None, rows=1)
    for rows in ([2], [-1], [2**40]):
        with pytest.raises(UsageError, match=r"rows name sources in 0\.\.1"):
            model.start(sources, None, rows=rows)
    with pytest.raises(UsageError, match="2 sources"):
        model.start(sources, None, rows=2)
    with pytest.raises(UsageError, match="reads a source"):
        model.start(rows=1)
    with pytest.raises(ContextError, match=str(CONTEXT)):
        model.start(torch.ones(1, CONTEXT + 1, dtype=torch.int64), None, rows=1)
    with pytest.raises(ContextError, match=str(CONTEXT)):
        model.start(sources, None, rows=[0], capacity=CONTEXT + 1)
    assert model.sources_out == 0


def test_steps_that_cannot_be_taken_are_refused_and_the_state_stays() -> None:
    model, other = in_engine(tiny(), 8), in_engine(tiny(), 8)
    _, state = feed(model, model.start(torch.tensor([SOURCES[0]]), None, rows=1), [[1, 2]])
    for wrong in (-1, VOCABULARY, 2**40):
        with pytest.raises(UsageError, match=str(wrong)):
            feed(model, state, [[wrong]])
    with pytest.raises(UsageError, match="one count for each of 1 rows, but got 2"):
        feed(model, state, [[1], [2]])
    with pytest.raises(UsageError, match=r"counts in 0\.\.1, but got 2"):
        model.step(torch.tensor([[1]]), torch.tensor([2]), state)
    with pytest.raises(ContextError, match=str(CONTEXT)):
        feed(model, state, [[1] * (CONTEXT - 1)])
    with pytest.raises(UsageError, match="that this model started"):
        feed(other, state, [[1]])
    with pytest.raises(UsageError, match="same model"):
        state.join(other.start(torch.tensor([SOURCES[0]]), None, rows=1))
    for asked in ({"trace": object()}, {"ablate": frozenset({(0, 0)})}):
        with pytest.raises(UsageError, match="engine=torch"):
            model.step(torch.tensor([[1]]), torch.tensor([1]), state, **asked)
    assert state.lengths.tolist() == [2]


def test_a_step_after_select_with_no_rows_gives_no_rows() -> None:
    model = in_engine(tiny(), 8)
    _, state = feed(model, model.start(*padded(SOURCES[:2]), rows=[0, 1]), [[1], [2]])
    logits, state = feed(model, state.select([]), [])
    assert logits.shape == (0, VOCABULARY) and state.lengths.tolist() == [] and model.sources_out == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("token_embedding.weight", {}),
        ("encoder.blocks.2.attention.qkv.weight", {}),
        ("decoder.blocks.1.cross_attention.key_value.bias", {}),
        ("encoder.positions.weight", {"positions": "learned"}),
        ("output_bias", {"output_bias": True}),
    ],
)
def test_weights_that_are_not_finite_are_refused_by_name(name: str, settings: dict[str, Any], value: float) -> None:
    model = tiny(**settings)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = value
    shown = {"output_bias": "token_embedding"}.get(name, name.rpartition(".")[0])  # tied, the bias is that matrix' own
    with pytest.raises(FormatError, match=shown.replace(".", r"\.")):
        in_engine(model, 8)


def test_a_model_without_room_for_its_sources_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_engine(tiny(), 8)

    class Full:
        def source_bytes(self, length: int) -> int:
            return 0

        def start(self, *given: object) -> None:
            raise MemoryError

    monkeypatch.setattr(model, "_model", Full())
    with pytest.raises(ResourceError, match="not enough memory"):
        model.start(torch.tensor([SOURCES[0]]), None, rows=1)
