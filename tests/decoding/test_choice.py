import bisect
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.decoding.choice import Choice, choose, uniform
from headway.decoding.drawing import kept
from headway.errors import ConfigError, FormatError

GREEDY = Choice(temperature=0)
INF = math.inf


def one(logits: list[float], choice: Choice, history: list[int] | None = None, position: int = 0) -> int:
    return choose(torch.tensor([logits]), [choice], [history or [0]], [0], [position])[0]


def kept_ids(probabilities: list[float], **settings: Any) -> list[int]:
    values = torch.tensor(probabilities, dtype=torch.float64).log()
    return kept(values.numpy(), Choice(**settings))[0].tolist()


def test_temperature_zero_takes_the_highest_logit_and_the_lowest_id_on_ties() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0, 5.0], [7.0, 7.0, 7.0, 7.0]])
    assert choose(logits, [GREEDY] * 2, [[0], [0]], [0, 0], [0, 0]) == [1, 0]


def test_ties_go_to_the_lowest_id_after_edits_too() -> None:
    assert one([3.0, 1.0, 2.0, 3.0], Choice(temperature=0, bias={1: 2.0})) == 0


def test_bias_is_added_to_the_logits() -> None:
    assert one([3.0, 1.0, 2.0], Choice(temperature=0, bias={1: 2.5})) == 1
    assert one([3.0, 1.0, 2.0], Choice(temperature=0, bias={0: -1.5})) == 2


def test_bias_of_minus_infinity_forbids_an_id() -> None:
    choice = Choice(bias={0: -INF}, seed=2)
    logits = torch.tensor([[9.0, 0.0, 0.0]]).expand(200, 3)
    drawn = choose(logits, [choice] * 200, [[1]] * 200, [0] * 200, list(range(200)))
    assert set(drawn) == {1, 2}


def test_bias_that_forbids_every_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="but it is -inf"):
        one([1.0, 2.0], Choice(bias={0: -INF, 1: -INF}))


def test_penalties_that_overflow_are_refused() -> None:
    with pytest.raises(ConfigError, match="but it is inf"):
        one([9.0, 2.0], Choice(temperature=0, repetition_penalty=1e-320), [0])


def test_bias_of_an_id_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.\.2, but got 3"):
        one([1.0, 2.0, 3.0], Choice(bias={3: 1.0}))


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    # 2.0 / 1.5 = 1.33 falls under 1.4; -1.0 * 1.5 = -1.5 falls under -1.2.
    choice = Choice(temperature=0, repetition_penalty=1.5)
    assert one([2.0, 1.4, 0.0], choice, [0]) == 1
    assert one([-1.0, -1.2, -3.0], choice, [0]) == 1
    assert one([2.0, 1.3, 0.0], choice, [0]) == 0


def test_repetition_penalty_counts_an_id_once_and_the_prompt_too() -> None:
    choice = Choice(temperature=0, repetition_penalty=1.5)
    assert one([2.0, 1.3, 0.0], choice, [0, 0, 0], 0) == 0
    assert one([2.0, 1.4, 0.0], choice, [0, 2, 2], 0) == 1


def test_frequency_penalty_counts_each_time_in_the_continuation_alone() -> None:
    choice = Choice(temperature=0, frequency_penalty=0.5)
    # id 0 stands twice in the continuation [0, 0]: 2.0 - 2 * 0.5 = 1.0.
    assert one([2.0, 1.1], choice, [0, 0, 0, 0, 0], 2) == 1
    assert one([2.0, 0.9], choice, [0, 0, 0, 0, 0], 2) == 0
    assert one([2.0, 1.1], choice, [0, 0, 0, 0, 0], 0) == 0


def test_presence_penalty_counts_once_in_the_continuation_alone() -> None:
    choice = Choice(temperature=0, presence_penalty=0.5)
    assert one([2.0, 1.6], choice, [1, 0, 0, 0], 3) == 1
    assert one([2.0, 1.4], choice, [1, 0, 0, 0], 3) == 0
    assert one([2.0, 1.6], choice, [0, 0, 0], 0) == 0


def test_negative_penalties_favour_what_was_written() -> None:
    assert one([1.0, 1.2], Choice(temperature=0, frequency_penalty=-0.3), [0], 1) == 0


def test_bias_comes_before_the_repetition_penalty() -> None:
    # (1 + 3) / 2 = 2 is under 2.5; 1 / 2 + 3 = 3.5 would be above.
    assert one([1.0, 2.5], Choice(temperature=0, bias={0: 3.0}, repetition_penalty=2.0), [0]) == 1


def test_repetition_penalty_comes_before_presence() -> None:
    # 3 / 2 - 1 = 0.5 is under 0.9; (3 - 1) / 2 = 1.0 would be above.
    choice = Choice(temperature=0, repetition_penalty=2.0, presence_penalty=1.0)
    assert one([3.0, 0.9], choice, [0], 1) == 1


def test_temperature_divides_the_logits() -> None:
    values = torch.tensor([1.0, 3.0], dtype=torch.float64)
    ids, weights = kept(values.numpy(), Choice(temperature=0.5))
    assert ids.tolist() == [0, 1]
    assert weights.tolist() == [math.exp(-4.0), 1.0]


def test_temperature_near_zero_is_greedy_and_does_not_overflow() -> None:
    assert one([1.0, 3.0, 2.9999], Choice(temperature=1e-300)) == 1


def test_top_k_keeps_exactly_k_the_lowest_ids_on_ties() -> None:
    assert kept_ids([0.1, 0.3, 0.2, 0.4], top_k=2) == [1, 3]
    assert kept_ids([0.2, 0.2, 0.2, 0.2, 0.2], top_k=3) == [0, 1, 2]
    assert kept_ids([0.2, 0.1, 0.2, 0.3, 0.2], top_k=3) == [0, 2, 3]
    assert kept_ids([0.5, 0.5], top_k=99) == [0, 1]


def test_top_p_keeps_the_fewest_whose_sum_reaches_p() -> None:
    probabilities = [0.2, 0.5, 0.3]
    assert kept_ids(probabilities, top_p=0.49) == [1]
    assert kept_ids(probabilities, top_p=0.51) == [1, 2]
    assert kept_ids(probabilities, top_p=0.79) == [1, 2]
    assert kept_ids(probabilities, top_p=0.81) == [0, 1, 2]
    assert kept_ids(probabilities, top_p=1) == [0, 1, 2]
    assert kept_ids([0.25, 0.25, 0.25, 0.25], top_p=0.5) == [0, 1]


def test_min_p_is_measured_against_the_most_probable() -> None:
    probabilities = [0.06, 0.5, 0.3, 0.14]
    assert kept_ids(probabilities, min_p=0.5) == [1, 2]
    assert kept_ids(probabilities, min_p=0.25) == [1, 2, 3]
    assert kept_ids(probabilities, min_p=0) == [0, 1, 2, 3]
    assert kept_ids(probabilities, min_p=1) == [1]


def test_top_p_looks_at_what_top_k_left() -> None:
    # After top_k the two left have 0.57 and 0.43; without it 0.4 alone would not reach one half.
    assert kept_ids([0.4, 0.3, 0.2, 0.1], top_k=2, top_p=0.5) == [0]
    assert kept_ids([0.4, 0.3, 0.2, 0.1], top_p=0.5) == [0, 1]


def test_filters_look_at_probabilities_after_temperature() -> None:
    # At temperature 2 the square roots 0.8, 0.4, 0.2 ... of the weights count: 0.57, 0.29, 0.14.
    assert kept_ids([0.64, 0.16, 0.04], temperature=2.0, top_p=0.6) == [0, 1]
    assert kept_ids([0.64, 0.16, 0.04], top_p=0.6) == [0]


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    p=st.floats(1e-6, 1.0),
    temperature=st.floats(0.1, 5.0),
)
def test_top_p_equals_the_plain_definition(logits: list[float], p: float, temperature: float) -> None:
    values = torch.tensor(logits, dtype=torch.float64)
    weights = ((values - values.max()) / temperature).exp().tolist()
    total, running, expected = sum(weights), 0.0, []
    for token in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        expected.append(token)
        running += weights[token]
        if running >= p * total:
            break
    found = kept(values.numpy(), Choice(temperature=temperature, top_p=p))[0].tolist()
    assert found == sorted(expected)


def test_uniform_is_splitmix64_of_seed_sample_and_position() -> None:
    def mix(value: np.uint64) -> np.uint64:
        with np.errstate(over="ignore"):
            z = value + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    assert mix(np.uint64(0)) == 0xE220A8397B1DCDAF  # the published generator's first number from state 0
    for seed, sample, position in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 7, 1023)]:
        mixed = mix(mix(mix(np.uint64(seed)) ^ np.uint64(sample)) ^ np.uint64(position))
        assert uniform(seed, sample, position) == int(mixed >> np.uint64(11)) / 2**53


def test_uniform_keeps_its_numbers() -> None:
    found = [uniform(0, 0, 0), uniform(1, 2, 3), uniform(12345, 0, 678)]
    assert found == [0.13870941014555427, 0.814259011529328, 0.9177719224989384]


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    seed=st.integers(0, 2**64 - 1),
    position=st.integers(0, 2000),
)
def test_a_draw_is_the_inverse_of_the_running_sum(logits: list[float], seed: int, position: int) -> None:
    values = torch.tensor(logits, dtype=torch.float64)
    weights = (values - values.max()).exp().tolist()
    target = uniform(seed, 0, position) * sum(weights)
    running, expected = 0.0, None
    for token, weight in enumerate(weights):
        running += weight
        if running > target:
            expected = token
            break
    assert one(logits, Choice(seed=seed), position=position, history=[0] * (position + 1)) == expected


def test_a_draw_from_a_large_vocabulary_adds_up_in_id_order() -> None:
    torch.manual_seed(1)
    logits = torch.randn(50257)
    weights = (logits.double() - logits.double().max()).exp().tolist()
    sums = list(itertools.accumulate(weights))
    for position in range(20):
        expected = bisect.bisect_right(sums, uniform(9, 0, position) * sums[-1])
        assert one(logits.tolist(), Choice(seed=9), position=position, history=[0] * (position + 1)) == expected


@pytest.mark.parametrize("along", ["positions", "samples", "seeds"])
def test_draws_have_the_model_s_probabilities(along: str) -> None:
    probabilities = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2])
    n = 20_000
    u = [
        uniform(i if along == "seeds" else 11, i if along == "samples" else 0, i if along == "positions" else 0)
        for i in range(n)
    ]
    edges = probabilities.double().cumsum(0)
    counts = torch.searchsorted(edges, torch.tensor(u, dtype=torch.float64), right=True).bincount(minlength=5)
    chi_square = float(((counts - n * probabilities) ** 2 / (n * probabilities)).sum())
    assert chi_square < 18.47  # 4 degrees of freedom, one in a thousand


def test_drawn_tokens_have_the_model_s_probabilities() -> None:
    probabilities = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2])
    n = 3000
    logits = probabilities.log().expand(n, 5)
    drawn = choose(logits, [Choice(seed=5)] * n, [[0]] * n, [0] * n, list(range(n)))
    counts = torch.tensor(drawn).bincount(minlength=5)
    assert float(((counts - n * probabilities) ** 2 / (n * probabilities)).sum()) < 18.47


def test_neighbouring_seeds_samples_and_positions_are_not_correlated() -> None:
    grid = torch.tensor([[[uniform(a, b, c) for c in range(13)] for b in range(13)] for a in range(13)])
    centred = (grid - 0.5) * math.sqrt(12)
    for axis in range(3):
        size = grid.shape[axis] - 1
        neighbours = centred.narrow(axis, 0, size) * centred.narrow(axis, 1, size)
        assert abs(float(neighbours.mean())) * math.sqrt(neighbours.numel()) < 4


def test_rows_are_chosen_as_if_each_were_alone() -> None:
    torch.manual_seed(7)
    logits = torch.randn(5, 31)
    choices = [
        GREEDY,
        Choice(seed=1, top_k=7),
        Choice(seed=2, temperature=1.7, top_p=0.8, repetition_penalty=1.3),
        Choice(temperature=0, frequency_penalty=0.9),
        Choice(seed=3, min_p=0.1, bias={5: 2.0}),
    ]
    histories = [[1, 2, 3], [4, 4], [5, 6, 7, 8], [9, 9, 9], [10]]
    together = choose(logits, choices, histories, [0, 1, 2, 3, 4], [1, 0, 3, 2, 0])
    alone = [choose(logits[i : i + 1], [choices[i]], [histories[i]], [i], [[1, 0, 3, 2, 0][i]])[0] for i in range(5)]
    assert together == alone


@pytest.mark.parametrize("value", [math.nan, INF, -INF])
@pytest.mark.parametrize("choice", [GREEDY, Choice()])
def test_logits_that_are_not_finite_are_refused_by_name(value: float, choice: Choice) -> None:
    with pytest.raises(FormatError, match=rf"got {value} for id 2\n"):
        one([1.0, 2.0, value], choice)


def test_huge_but_finite_logits_are_taken() -> None:
    assert one([3e38, 3.1e38, 3e38], GREEDY) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_precision_are_taken(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.5, 4.0, 1.0]], dtype=dtype)
    assert choose(logits, [GREEDY], [[0]], [0], [0]) == [1]
    assert choose(logits, [Choice(top_k=1)], [[0]], [0], [0]) == [1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", INF),
        ("temperature", "warm"),
        ("temperature", True),
        ("top_k", 0),
        ("top_k", 2.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", INF),
        ("frequency_penalty", math.nan),
        ("presence_penalty", None),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", 1.0),
        ("bias", [1, 2]),
        ("bias", {1: math.nan}),
        ("bias", {1: INF}),
        ("bias", {-1: 1.0}),
        ("bias", {"the": 1.0}),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        Choice(**{name: value})  # type: ignore[arg-type]


def test_a_choice_keeps_its_own_bias() -> None:
    bias = {1: 2.0}
    choice = Choice(bias=bias)
    bias[1] = 99.0
    assert choice.bias == {1: 2.0}
