import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_loop import plain_loop, tiny_gpt2
from tables import TableDecoder

from headway.decoding.beam import Hypothesis, Search, beam_search
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.errors import FormatError, UsageError
from headway.models.protocol import AnyDecoder

GREEDY = Choice(temperature=0)
SEEDS = st.integers(0, 10_000)


def find(
    model: AnyDecoder,
    prompt: list[int],
    *,
    ends: frozenset[int] = frozenset(),
    n_best: int | None = None,
    vocabulary: int | None = None,
    **search: Any,
) -> list[Hypothesis]:
    asked = Search(n_best=search["beam"] if n_best is None else n_best, **search)
    return beam_search(model, [prompt], asked, end_ids=ends, vocabulary=vocabulary)[0]


def greedy(model: TableDecoder, prompt: list[int], n: int, end: int) -> tuple[int, ...]:
    rows = Rows(model)
    rows.add(prompt, GREEDY, max_new_tokens=n, stop_ids=frozenset([end]))
    found = []
    while len(rows):
        found += [token.id for token in rows.step()]
    return tuple(found)


def teacher_forced(model: TableDecoder, prompt: list[int], ids: tuple[int, ...]) -> list[float]:
    text = [*prompt, *ids]
    return [model.logprob(text[:at], text[at]) for at in range(len(prompt), len(text))]


def every_continuation(vocabulary: int, n: int, end: int) -> list[tuple[int, ...]]:
    whole = []
    for length in range(1, n + 1):
        for ids in itertools.product(range(vocabulary), repeat=length):
            if end not in ids[:-1] and (ids[-1] == end or length == n):
                whole.append(ids)
    return whole


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 9), penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_beam_one_equals_greedy(seed: int, n: int, penalty: float) -> None:
    model = TableDecoder(5, seed, spread=2.0)
    (best,) = find(model, [1, 2], beam=1, max_new_tokens=n, ends=frozenset([4]), alpha=penalty)
    assert best.ids == greedy(model, [1, 2], n, 4)
    assert best.finished == (best.ids[-1] == 4)


def test_beam_one_equals_greedy_on_a_gpt2() -> None:
    model = tiny_gpt2()
    (best,) = find(model, [3, 5, 7], beam=1, max_new_tokens=23)
    assert list(best.ids) == plain_loop(model, [3, 5, 7], GREEDY, max_new_tokens=23)[0]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 4), penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0, -0.5]))
def test_a_beam_as_wide_as_the_space_finds_the_exhaustive_best(seed: int, n: int, penalty: float) -> None:
    model = TableDecoder(3, seed, spread=2.0)
    whole = every_continuation(3, n, end=2)
    scores = {ids: sum(teacher_forced(model, [0], ids)) / len(ids) ** penalty for ids in whole}
    found = find(model, [0], beam=len(whole), max_new_tokens=n, ends=frozenset([2]), alpha=penalty)
    assert {one.ids for one in found} == set(whole)
    assert [one.score for one in found] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-6)
    assert found[0].score == pytest.approx(max(scores.values()), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, beam=st.integers(1, 7), n=st.integers(1, 6), ends=st.sets(st.integers(0, 4), max_size=5))
def test_scores_are_teacher_forced_and_hypotheses_are_whole_and_ordered(
    seed: int, beam: int, n: int, ends: set[int]
) -> None:
    model = TableDecoder(5, seed)
    prompt = [3, 1]
    found = find(model, prompt, beam=beam, max_new_tokens=n, ends=frozenset(ends))
    assert 1 <= len(found) <= beam
    assert len({one.ids for one in found}) == len(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert list(one.logprobs) == pytest.approx(teacher_forced(model, prompt, one.ids), abs=1e-6)
        assert one.score == pytest.approx(sum(one.logprobs) / len(one.ids), abs=1e-9)
        assert one.finished == (one.ids[-1] in ends)
        assert not ends & set(one.ids[:-1])
        assert one.finished or len(one.ids) == n


def test_scores_are_teacher_forced_on_a_gpt2() -> None:
    model = tiny_gpt2()
    prompt = [3, 5, 7, 11]
    for one in find(model, prompt, beam=5, max_new_tokens=7, ends=frozenset([2])):
        with torch.no_grad():
            every = model(torch.tensor([[*prompt, *one.ids]]))[0].log_softmax(-1)
        expected = [float(every[len(prompt) - 1 + at, token]) for at, token in enumerate(one.ids)]
        assert list(one.logprobs) == pytest.approx(expected, abs=1e-4)


def two_ways() -> TableDecoder:
    """After token 0: end (2) at once with 0.4, or 1 with 0.6, and after 1 the end with 0.9."""
    model = TableDecoder(3, seed=0)
    model.table[:] = torch.tensor([0.0001, 0.5999, 0.4]).log()
    model.table[:, 1] = torch.tensor([0.05, 0.05, 0.9]).log()
    return model


def search(penalty: float) -> list[Hypothesis]:
    return find(two_ways(), [0], beam=2, max_new_tokens=2, ends=frozenset([2]), alpha=penalty)


def test_length_penalty_divides_by_the_length_to_its_power() -> None:
    short, long = math.log(0.4), math.log(0.5999) + math.log(0.9)
    assert {one.ids: one.score for one in search(0.0)} == {
        (1, 2): pytest.approx(long, abs=1e-6),
        (2,): pytest.approx(short, abs=1e-6),
    }
    assert {one.ids: one.score for one in search(1.0)} == {
        (1, 2): pytest.approx(long / 2, abs=1e-6),
        (2,): pytest.approx(short, abs=1e-6),
    }
    assert {one.ids: one.score for one in search(0.5)}[1, 2] == pytest.approx(long / math.sqrt(2), abs=1e-6)


def test_a_low_penalty_prefers_the_short_and_a_high_one_the_long() -> None:
    assert [one.ids for one in search(-2.0)] == [(2,), (1, 2)]
    assert [one.ids for one in search(2.0)] == [(1, 2), (2,)]


def test_a_beam_finds_what_greedy_misses() -> None:
    model = TableDecoder(3, seed=0)
    model.table[:] = torch.tensor([0.45, 0.55, 0.0001]).log()
    model.table[:, 0] = torch.tensor([0.98, 0.01, 0.01]).log()
    assert find(model, [2], beam=1, max_new_tokens=2)[0].ids == (1, 1)
    assert find(model, [2], beam=2, max_new_tokens=2)[0].ids == (0, 0)


def test_the_search_stops_once_as_many_hypotheses_as_the_beam_is_wide_have_ended() -> None:
    model = TableDecoder(3, seed=0)
    model.table[:] = torch.tensor([0.1, 0.2, 0.7]).log()
    found = find(model, [0], beam=2, max_new_tokens=50, ends=frozenset([2]))
    assert [one.finished for one in found] == [True, True]
    assert len(model.rows_at_steps) == 2


def test_ids_past_the_tokenizer_s_are_never_tried() -> None:
    model = TableDecoder(11, seed=4)
    found = find(model, [0], beam=4, max_new_tokens=5, vocabulary=3)
    assert {token for one in found for token in one.ids} <= {0, 1, 2}
    assert list(found[0].logprobs) == pytest.approx(teacher_forced(model, [0], found[0].ids), abs=1e-6)


def test_a_vocabulary_of_end_ids_alone_ends_at_once() -> None:
    found = find(TableDecoder(3, seed=4), [0], beam=5, max_new_tokens=5, ends=frozenset([0, 1, 2]))
    assert sorted(one.ids for one in found) == [(0,), (1,), (2,)]


def test_a_prompt_longer_than_one_prefill_is_read_whole() -> None:
    model = TableDecoder(7, seed=4)
    find(model, [1, 2, 3, 4, 5] * 211, beam=2, max_new_tokens=1)
    assert model.n_fed == 1055


def test_what_cannot_be_searched_is_refused() -> None:
    model = TableDecoder(7, seed=4)
    with pytest.raises(UsageError, match="at least one id"):
        find(model, [], beam=2, max_new_tokens=5)
    with pytest.raises(UsageError, match="beam must be a whole number of at least 1, but got 0"):
        find(model, [1], beam=0, max_new_tokens=5)
    with pytest.raises(UsageError, match="max_new_tokens must be a whole number of at least 1"):
        find(model, [1], beam=2, max_new_tokens=0)
    model.table[:] = math.inf
    with pytest.raises(FormatError, match="inf"):
        find(model, [1], beam=2, max_new_tokens=2)
