"""Contracts 2 and 6 of the design, over everything that BERT's body can be made of."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cases import build as build_decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ContextError, UsageError
from headway.formats.folder import load, save
from headway.models.bert import BERT, BERTConfig
from headway.models.registry import FAMILIES
from headway.nn.trace import Trace

VOCABULARY = 31
CLOSE = {"rtol": 0.0, "atol": 1e-5}
MIXERS = ("attention", "fourier", "hartley", "laplace", "none")
SIZES = {"vocabulary": VOCABULARY, "context": 23, "width": 20, "n_layers": 3, "n_heads": 5, "feed_forward": 19}


def _cases() -> Iterator[tuple[str, dict[str, object]]]:
    for mixer, norm in itertools.product(MIXERS, ("post", "pre")):
        yield f"{mixer}-{norm}", {"mixer": mixer, "norm": norm}
        if mixer != "attention":
            yield f"{mixer}-{norm}-hybrid", {"mixer": mixer, "norm": norm, "attention_layers": 1}
    yield "rotary", {"norm": "pre", "positions": "rotary", "gated": True, "segments": 0}
    yield "rotary-hybrid", {"mixer": "hartley", "attention_layers": 2, "positions": "rotary"}
    yield "no-positions", {"positions": "none", "embedding_norm": False}
    yield "fnet", {"mixer": "fourier", "embedding_projection": True, "activation": "gelu_tanh"}


CASES = dict(_cases())


def build(name: str, **more: object) -> BERT:
    """The model of that name, the same weights every time, in evaluation mode."""
    torch.manual_seed(3)
    # Wider weights than a fresh model has: with those, what is mixed would hardly show.
    model = BERT(BERTConfig(**{**SIZES, "initial_deviation": 0.3, **CASES[name], **more}))  # type: ignore[arg-type]
    return model.eval()


@pytest.fixture(scope="module", params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(name: str) -> BERT:
    return build(name)


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(5))


def attends(encoder: BERT) -> list[int]:
    return [layer for layer in range(3) if encoder.config.mixer_of(layer) == "attention"]


@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch_its_padding_or_its_neighbours(encoder: BERT) -> None:
    lengths = [13, 2, 7, 1, 5, 7, 23]
    ids, segments = random_ids(7, 23), random_ids(7, 23) % max(1, encoder.config.segments)
    states = encoder.encode(ids, torch.tensor(lengths), segments)
    assert states.shape == (7, 23, 20)
    for row, length in enumerate(lengths):
        alone = encoder.encode(ids[row : row + 1, :length], None, segments[row : row + 1, :length])
        torch.testing.assert_close(states[row, :length], alone[0], **CLOSE)
        assert not states[row, length:].any()
    other = ids.clone()
    other[torch.arange(23) >= torch.tensor(lengths)[:, None]] = 0  # other padding
    assert torch.equal(encoder.encode(other, torch.tensor(lengths), segments), states)
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    shuffled = encoder.encode(ids[order], torch.tensor(lengths)[order], segments[order])
    torch.testing.assert_close(shuffled, states[order], **CLOSE)


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(CASES)), lengths=st.lists(st.integers(1, 23), min_size=1, max_size=9))
def test_any_lengths_give_what_each_row_gives_alone(name: str, lengths: list[int]) -> None:
    encoder, ids = build(name), random_ids(len(lengths), 23)
    with torch.no_grad():
        states = encoder.encode(ids, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            torch.testing.assert_close(states[row, :length], encoder.encode(ids[row : row + 1, :length])[0], **CLOSE)


@torch.no_grad()
def test_trace_on_and_off_give_the_same_states(encoder: BERT) -> None:
    ids, lengths = random_ids(5, 11), torch.tensor([11, 3, 7, 1, 3])
    trace = Trace(residual=True)
    torch.testing.assert_close(
        encoder.encode(ids, lengths, trace=trace), encoder.encode(ids, lengths), rtol=0, atol=2e-5
    )
    maps = {f"layers.{layer}.attention" for layer in attends(encoder)}
    assert trace.found.keys() == {"embedding", *(f"layers.{layer}.residual" for layer in range(3)), *maps}
    own = (torch.arange(11) < lengths[:, None]).float()
    for found in maps:
        assert trace.found[found].shape == (5, 5, 11, 11)
        torch.testing.assert_close(trace.found[found].sum(dim=-1), own[:, None].expand(5, 5, 11))
    for layer in range(3):
        stream = trace.found[f"layers.{layer}.residual"]
        assert stream.shape == (5, 11, 20) and not (stream * (1 - own)[:, :, None]).any()


@torch.no_grad()
def test_a_silenced_head_changes_states_and_what_has_no_heads_says_so(encoder: BERT) -> None:
    ids = random_ids(2, 7)
    for layer in range(3):
        if layer in attends(encoder):
            assert not torch.allclose(
                encoder.encode(ids, ablate=frozenset({(layer, 4)})), encoder.encode(ids), atol=1e-3
            )
        else:
            with pytest.raises(UsageError, match=f"layer {layer}, which has no heads"):
                encoder.encode(ids, ablate=frozenset({(layer, 0)}))
    with pytest.raises(UsageError, match=r"below \(3, 5\)"):
        encoder.encode(ids, ablate=frozenset({(0, 5)}))


def test_what_is_saved_comes_back_exactly(name: str, tmp_path: Path) -> None:
    model = build(name, head="tag", n_labels=7)
    save(model, None, tmp_path / "model")
    again, _ = load(tmp_path / "model")
    ids, lengths = random_ids(3, 11), torch.tensor([11, 5, 2])
    assert torch.equal(again(ids, lengths), model(ids, lengths))
    assert again.config.n_parameters() == sum(parameter.numel() for parameter in model.parameters())


def test_past_the_context_and_empty_rows_are_refused(encoder: BERT) -> None:
    assert encoder.encode(random_ids(1, 23)).shape == (1, 23, 20)
    with pytest.raises(ContextError, match="at most 23 tokens"):
        encoder.encode(random_ids(1, 29))
    with pytest.raises(UsageError, match="never empty"):
        encoder.encode(random_ids(2, 5), torch.tensor([5, 0]))


def test_gradients_flow_in_both_directions_where_tokens_are_mixed_and_never_between_rows(encoder: BERT) -> None:
    found: list[torch.Tensor] = []
    hook = encoder.token_embedding.weight.register_hook(found.append)
    ids = torch.arange(21).view(3, 7)  # each id once, so that the gradient's row names the place
    states = encoder.encode(ids, torch.tensor([7, 5, 7]))
    states[0, 3].square().sum().backward()
    hook.remove()
    encoder.zero_grad()
    reached = found[-1].abs().sum(dim=1)[:21].view(3, 7) > 0
    mixing = encoder.config.mixer != "none" or encoder.config.attention_layers > 0
    assert reached[0].tolist() == ([True] * 7 if mixing else [False] * 3 + [True] + [False] * 3)
    assert not reached[1:].any()


def test_gradients_of_unequal_rows_are_the_sum_of_each_alone(encoder: BERT) -> None:
    ids, lengths = random_ids(4, 7), [7, 3, 1, 3]
    parameters = list(encoder.parameters())
    weights = torch.randn(4, 7, 20, generator=torch.Generator().manual_seed(2))

    def gradients(total: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(total, parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]

    together = gradients((encoder.encode(ids, torch.tensor(lengths)) * weights).sum())
    alone = gradients(
        sum(
            (encoder.encode(ids[row : row + 1, :length])[0] * weights[row, :length]).sum()  # type: ignore[misc]
            for row, length in enumerate(lengths)
        )
    )
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_dropout_acts_in_training_alone(name: str) -> None:
    rates = ("embedding_dropout", "attention_dropout", "residual_dropout")
    ids = random_ids(3, 7)
    still, dropping = build(name, **dict.fromkeys(rates, 0.0)), build(name, **dict.fromkeys(rates, 0.5))
    assert torch.equal(still.encode(ids), dropping.encode(ids))
    torch.testing.assert_close(still.train().encode(ids), dropping.encode(ids), **CLOSE)
    assert not torch.allclose(dropping.train().encode(ids), still.encode(ids), atol=1e-2)


@torch.no_grad()
def test_long_and_short_rows_stay_finite_together(name: str) -> None:
    encoder = build(name, context=512, initial_deviation=0.02)
    lengths = torch.tensor([512, 1, 511, 2, 97])
    states = encoder.encode(random_ids(5, 512), lengths)
    assert torch.isfinite(states).all()
    torch.testing.assert_close(states[1, :1], encoder.encode(random_ids(5, 512)[1:2, :1])[0], **CLOSE)


@torch.no_grad()
def test_all_lengths_different_equal_each_alone(encoder: BERT) -> None:
    ids = random_ids(23, 23)
    states = encoder.encode(ids, torch.arange(1, 24))
    for row in (0, 1, 10, 22):
        torch.testing.assert_close(states[row, : row + 1], encoder.encode(ids[row : row + 1, : row + 1])[0], **CLOSE)


@torch.no_grad()
def test_half_precision_stays_near_full_precision(name: str) -> None:
    ids, lengths = random_ids(5, 11), torch.tensor([11, 3, 7, 1, 3])
    full = build(name, initial_deviation=0.05).encode(ids, lengths)
    half = build(name, initial_deviation=0.05).to(torch.bfloat16).encode(ids, lengths)
    assert half.dtype == torch.bfloat16
    assert float((half.float() - full).abs().mean() / full.abs().mean()) < 0.05


# The families that write, as readers of what stands before each token: the same contracts, in one direction.

CAUSAL = ("gpt2", "gpt2-scaled-by-layer", "laplace")


def test_every_family_that_reads_alone_has_a_case() -> None:
    reading = {name for name, family in FAMILIES.items() if family.encoder and not family.reads_source}
    assert reading == {"bert", *(name.partition("-")[0] for name in CAUSAL)}


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_a_causal_encoders_row_does_not_depend_on_its_batch_padding_or_segments(name: str) -> None:
    model, lengths = build_decoder(name).model, [13, 2, 7, 1, 5]
    ids = random_ids(5, 13)
    states = model.encode(ids, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(states[row, :length], model.encode(ids[row : row + 1, :length])[0], **CLOSE)
        assert not states[row, length:].any()
    assert torch.equal(model.encode(ids, torch.tensor(lengths), torch.ones_like(ids)), states)
    torch.testing.assert_close(model.encode(ids), model(ids, hidden=True), rtol=0, atol=0)
    trace = Trace(residual=True)
    torch.testing.assert_close(model.encode(ids, torch.tensor(lengths), trace=trace), states, rtol=0, atol=2e-5)
    assert {"embedding", "layers.0.residual"} <= trace.found.keys()
    with pytest.raises(ContextError):
        model.encode(random_ids(1, 29))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_encoder_learns_from_what_stands_before_alone(name: str) -> None:
    model = build_decoder(name).model
    weight = model.token_embedding.weight
    states = model.encode(torch.arange(21).view(3, 7), torch.tensor([7, 5, 7]))
    (gradient,) = torch.autograd.grad(states[0, 3].square().sum(), weight)
    reached = gradient.abs().sum(dim=1)[:21].view(3, 7) > 0
    assert reached[0].tolist() == [True] * 4 + [False] * 3 and not reached[1:].any()
