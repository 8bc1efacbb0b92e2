"""What is drawn is what the definition draws, though float32 settles most draws; numpy and PyTorch give one choice."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headway.decoding import drawing
from headway.decoding.choice import Choice, choose
from headway.decoding.logits import alternatives, fetched, first_highest, logprobs_of, on_host, require_finite
from headway.decoding.ranking import highest
from headway.errors import FormatError

NEARLY_ONE = 1 - 2.0**-53


def by_definition(values: NDArray[np.float64], choice: Choice, u: float) -> int:
    """Everything in float64, and everything sorted."""
    ids = np.arange(len(values))
    if choice.top_k is not None:
        ids = np.sort(np.argsort(-values, kind="stable")[: choice.top_k])
    weights = np.exp((values[ids] - values.max()) / choice.temperature)
    if choice.top_p is not None and choice.top_p < 1:
        order = np.argsort(-weights, kind="stable")
        inside = np.sort(order[: int((weights[order].cumsum() < choice.top_p * weights.cumsum()[-1]).sum()) + 1])
        ids, weights = ids[inside], weights[inside]
    if choice.min_p is not None:
        ids, weights = ids[weights >= choice.min_p], weights[weights >= choice.min_p]
    sums = weights.cumsum()
    return int(ids[min(int((sums <= u * sums[-1]).sum()), int((sums < sums[-1]).sum()))])


@settings(max_examples=80, deadline=None)
@given(
    size=st.sampled_from([1, 2, 7, 129, 1031, 5003]),
    spread=st.sampled_from([0.1, 1.0, 3.0, 8.0]),
    ties=st.booleans(),
    peaks=st.integers(0, 3),
    forbidden=st.booleans(),
    narrow=st.booleans(),
    choice=st.builds(
        Choice,
        temperature=st.sampled_from([1e-300, 0.3, 0.8, 1.0, 2.0]),
        top_k=st.sampled_from([None, None, 5, 40, 6000]),
        top_p=st.sampled_from([None, None, 0.5, 0.9, 0.999, 1.0]),
        min_p=st.sampled_from([None, None, 0.0, 0.05, 1.0]),
    ),
    seed=st.integers(0, 999),
)
def test_a_draw_is_the_one_of_the_definition(
    size: int, spread: float, ties: bool, peaks: int, forbidden: bool, narrow: bool, choice: Choice, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.standard_normal(size) * spread
    values = np.round(values) if ties else values
    values[random.integers(size, size=peaks)] += 12
    if forbidden:
        values[random.random(size) < 0.3] = -np.inf
        values[0] = 1.0
    for u in (0.0, float(random.random()), float(random.random()), NEARLY_ONE):
        with np.errstate(all="ignore"):
            expected = by_definition(values.astype(np.float32).astype(np.float64) if narrow else values, choice, u)
        assert drawing.drawn(values.astype(np.float32) if narrow else values, choice, u) == expected


def test_float32_settles_most_draws_and_leaves_the_border_to_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of weights 1, 1 and 2: a number near a quarter of the whole is decided in float64 alone."""
    answers: list[int | None] = []
    quick = drawing._among_all

    def watched(values: NDArray[np.float64], temperature: float, u: float) -> int | None:
        answers.append(quick(values, temperature, u))
        return answers[-1]

    monkeypatch.setattr(drawing, "_among_all", watched)
    values = np.log(np.array([1.0, 1.0, 2.0]))
    found = [drawing.drawn(values, Choice(), u) for u in (0.1, 0.2499999, 0.2500001, 0.4, 0.7)]
    assert found == [0, 0, 1, 1, 2]
    assert answers == [0, None, None, 1, 2]


def test_a_nucleus_is_found_among_the_likeliest_where_float32_can_tell() -> None:
    scaled = np.full(2048, -40.0)
    scaled[[5, 900, 31]] = np.log([0.5, 0.3, 0.2])
    likeliest = drawing._likeliest(scaled, 0.7)
    assert likeliest is not None and likeliest.tolist() == [5, 900]
    assert drawing._likeliest(scaled, 0.8) is None  # a border
    level = drawing._likeliest(np.zeros(4096), 0.2)
    assert level is not None and level.tolist() == list(range(820))  # of hundreds of ids
    assert drawing._likeliest(np.zeros(4096), 0.5) is None  # it is two thousand
    assert len(drawing.kept(np.zeros(4096), Choice(top_p=0.5))[0]) == 2048


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 2, 127, 128, 641, 1999, 5003]),
    count=st.sampled_from([0, 1, 2, 7, 31, 6000]),
    kinds=st.sampled_from([1, 2, 11, 10**6]),
    seed=st.integers(0, 999),
)
def test_the_highest_come_in_the_order_of_a_stable_sort(size: int, count: int, kinds: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(kinds, size=size).astype(np.float64)
    assert highest(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


@pytest.mark.parametrize(
    "choice", [Choice(temperature=0), Choice(seed=4), Choice(seed=4, top_k=3, repetition_penalty=2)]
)
def test_arrays_and_tensors_of_any_precision_give_one_choice(choice: Choice) -> None:
    logits = torch.randn(11, 31, generator=torch.Generator().manual_seed(7)).bfloat16()
    kinds: list[Any] = [logits, logits.float(), logits.double(), logits.float().numpy(), logits.double().numpy()]
    found = [choose(kind, [choice] * 11, [[2, 3]] * 11, [0] * 11, list(range(11))) for kind in kinds]
    assert all(one == found[0] for one in found)


def test_an_array_shares_the_tensor_s_memory_and_what_is_edited_does_not() -> None:
    logits = torch.zeros(2, 3)
    host = on_host(logits)
    assert isinstance(host, np.ndarray)
    logits[0, 1] = 5.0
    assert host[0, 1] == 5.0
    for kind in (logits, logits.double(), host):
        own = fetched(kind[0])
        own[2] = 9.0
        assert logits[0, 2] == 0.0 and own.dtype == np.float64
        assert float(kind[0][2]) == 0.0


def test_log_probabilities_are_those_of_pytorch() -> None:
    logits = torch.randn(3, 997, generator=torch.Generator().manual_seed(1)) * 4
    exact = logits.double().log_softmax(dim=-1)
    assert logprobs_of(logits, [5, 7, 11]) == pytest.approx(exact[[0, 1, 2], [5, 7, 11]].tolist(), abs=1e-6)
    best = exact[1].topk(4)
    found = alternatives(logits[1], 4)
    assert [id for id, _ in found] == best.indices.tolist() == first_highest(logits[1:2]) + best.indices[1:].tolist()
    assert [logprob for _, logprob in found] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert dict(found)[found[0][0]] == logprobs_of(logits[1:2], [found[0][0]])[0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_named(wrong: float) -> None:
    logits = np.zeros((2, 5), dtype=np.float32)
    logits[1, 3] = wrong
    with pytest.raises(FormatError, match="for id 3"):
        require_finite(logits)
    require_finite(np.full((1, 3), 3e38, dtype=np.float32))  # their sum is past float32, and none of them is
