"""The beam search over batches of sources: one search for every family, a batch of sentences at once."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from translation_tables import TranslationTable

from headway.decoding.beam import Hypothesis, Search, beam_search
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.errors import ContextError, UsageError

START, END = 0, 4
ENDS = frozenset([END])
SOURCES = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=5)
SEEDS = st.integers(0, 10_000)


def find(
    model: TranslationTable, sources: Sequence[list[int]], prefix: Sequence[int] = (), **search: Any
) -> list[list[Hypothesis]]:
    asked = Search(**{"n_best": search["beam"], **search})
    return beam_search(model, [[START, *prefix]] * len(sources), asked, sources=sources, end_ids=ENDS)


def teacher_forced(model: TranslationTable, source: Sequence[int], prompt: Sequence[int], ids: Sequence[int]) -> list:
    text = [*prompt, *ids]
    return [model.logprob(source, text[:at], text[at]) for at in range(len(prompt), len(text))]


def same(one: Hypothesis, other: Hypothesis) -> bool:
    return (one.ids, one.finished, one.windowed) == (other.ids, other.finished, other.windowed)


@settings(max_examples=15, deadline=None)
@given(
    sources=SOURCES,
    seed=SEEDS,
    beam=st.integers(1, 6),
    context=st.sampled_from([None, 7]),
    shuffle=st.randoms(use_true_random=False),
    coverage=st.sampled_from([0.0, 0.3]),
)
def test_a_sentence_s_result_does_not_depend_on_its_batch_or_its_order(
    sources: list[list[int]], seed: int, beam: int, context: int | None, shuffle: Any, coverage: float
) -> None:
    model = TranslationTable(5, seed, context=context, spread=2.0)
    asked = {"beam": beam, "max_ratio": 1.5, "max_extra": 4, "coverage_penalty": coverage}
    together = find(model, sources, **asked)
    order = list(range(len(sources)))
    shuffle.shuffle(order)
    shuffled = find(model, [sources[at] for at in order], **asked)
    for place, at in enumerate(order):
        (alone,) = find(model, [sources[at]], **asked)
        for others in (together[at], shuffled[place]):
            assert len(others) == len(alone)
            assert all(same(one, other) for one, other in zip(alone, others, strict=True))
            assert [one.score for one in others] == pytest.approx([one.score for one in alone], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    source=st.lists(st.integers(0, 2), min_size=1, max_size=4),
    n=st.integers(1, 4),
    penalty=st.sampled_from(["none", "mean", "gnmt"]),
    alpha=st.sampled_from([0.6, 1.0, 2.0]),
    coverage=st.sampled_from([0.0, 0.4]),
)
def test_a_beam_as_wide_as_the_space_finds_the_exhaustive_best_by_every_penalty(
    seed: int, source: list[int], n: int, penalty: Any, alpha: float, coverage: float
) -> None:
    model = TranslationTable(3, seed, spread=2.0)
    end = 2
    whole = [
        ids
        for length in range(1, n + 1)
        for ids in itertools.product(range(3), repeat=length)
        if end not in ids[:-1] and (ids[-1] == end or length == n)
    ]
    scores = {}
    for ids in whole:
        divisor = {"none": 1.0, "mean": len(ids) ** alpha, "gnmt": ((5 + len(ids)) / 6) ** alpha}[penalty]
        seen = sum(model.attention(source, [START, *ids[:at]]).double() for at in range(len(ids)))
        missed = sum(math.log(min(float(x), 1.0)) for x in seen)
        scores[ids] = sum(teacher_forced(model, source, [START], ids)) / divisor + coverage * missed
    asked = {"max_new_tokens": n, "length_penalty": penalty, "alpha": alpha, "coverage_penalty": coverage}
    for n_best in (1, len(whole)):
        search = Search(beam=len(whole), n_best=n_best, **asked)
        (found,) = beam_search(model, [[START]], search, sources=[source], end_ids=frozenset([end]))
        best = sorted(scores.values(), reverse=True)[:n_best]
        assert [one.score for one in found] == pytest.approx(best, abs=1e-5)
        assert [one.score for one in found] == pytest.approx([scores[one.ids] for one in found], abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(sources=SOURCES, seed=SEEDS, prefix=st.lists(st.integers(0, 4), max_size=3))
def test_beam_one_equals_greedy(sources: list[list[int]], seed: int, prefix: list[int]) -> None:
    model = TranslationTable(5, seed, spread=2.0)
    rows = Rows(model)
    for source in sources:
        rows.add([START, *prefix], Choice(temperature=0), max_new_tokens=9, stop_ids=ENDS, source=source)
    greedy: dict[int, list[int]] = {at: [] for at in range(len(sources))}
    while len(rows):
        for token in rows.step():
            greedy[token.row].append(token.id)
    found = find(model, sources, prefix, beam=1, max_new_tokens=9)
    assert [list(best.ids) for (best,) in found] == list(greedy.values())


@settings(max_examples=15, deadline=None)
@given(
    sources=SOURCES,
    seed=SEEDS,
    beam=st.integers(2, 5),
    penalty=st.sampled_from(["none", "mean", "gnmt"]),
    alpha=st.sampled_from([-0.5, 0.6, 1.0]),
    coverage=st.sampled_from([0.0, 0.4]),
)
def test_fewer_hypotheses_asked_for_stop_the_search_sooner_and_are_the_same_ones(
    sources: list[list[int]], seed: int, beam: int, penalty: Any, alpha: float, coverage: float
) -> None:
    model = TranslationTable(5, seed, spread=2.0)
    asked = {"beam": beam, "max_new_tokens": 9, "length_penalty": penalty, "alpha": alpha}
    every = find(model, sources, coverage_penalty=coverage, **asked)
    n_steps = len(model.rows_at_steps)
    few = find(model, sources, coverage_penalty=coverage, n_best=1, **asked)
    assert len(model.rows_at_steps) - n_steps <= n_steps
    for all_of_them, (best,) in zip(every, few, strict=True):
        assert same(best, all_of_them[0])
        assert best.score == pytest.approx(all_of_them[0].score, abs=1e-6)


def test_the_search_stops_where_no_open_hypothesis_can_win() -> None:
    model = TranslationTable(5, seed=1)
    model.reading[:] = 0
    model.table[:] = torch.tensor([0.05, 0.03, 0.02, 0.0, 0.9]).log().clamp(min=-9)
    ((best,),) = find(model, [[1, 2]], beam=4, max_new_tokens=50, n_best=1, length_penalty="none")
    assert best.ids == (END,)
    assert len(model.rows_at_steps) == 1
    find(model, [[1, 2]], beam=4, max_new_tokens=50, length_penalty="none")
    assert len(model.rows_at_steps) > 2


def test_scores_are_teacher_forced_and_a_forced_prefix_is_no_part_of_them() -> None:
    model = TranslationTable(5, seed=3)
    sources = [[1, 2, 3], [4], [2, 2, 2, 2, 2]]
    for source, found in zip(sources, find(model, sources, [3, 1], beam=3, max_new_tokens=6), strict=True):
        for one in found:
            assert list(one.logprobs) == pytest.approx(teacher_forced(model, source, [START, 3, 1], one.ids), abs=1e-6)
            assert one.score == pytest.approx(sum(one.logprobs) / len(one.ids), abs=1e-9)


def test_prefixes_of_several_lengths_are_searched_together() -> None:
    model = TranslationTable(5, seed=3, spread=2.0)
    prompts = [[START], [START, 1, 2, 3], [START, 3]]
    sources = [[1, 2, 3], [4, 1], [2]]
    search = Search(beam=3, max_new_tokens=5, coverage_penalty=0.2, n_best=3)
    together = beam_search(model, prompts, search, sources=sources, end_ids=ENDS)
    for prompt, source, found in zip(prompts, sources, together, strict=True):
        (alone,) = beam_search(model, [prompt], search, sources=[source], end_ids=ENDS)
        assert all(same(one, other) for one, other in zip(found, alone, strict=True))
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-6)


def test_lengths_follow_each_source_and_the_prefix_counts() -> None:
    model = TranslationTable(5, seed=3)
    model.table[:, END] = -9.0
    model.reading[:, END] = 0.0
    sources = [[1], [1, 2, 3], [1, 2, 3, 4, 0, 1, 2]]
    found = find(model, sources, beam=2, max_ratio=1.5, max_extra=1)
    assert [{len(one.ids) for one in each} for each in found] == [{3}, {6}, {12}]
    found = find(model, sources, [2, 2], beam=2, max_ratio=1.5, max_extra=1)
    assert [{len(one.ids) for one in each} for each in found] == [{1}, {4}, {10}]
    found = find(model, sources, beam=2, max_ratio=1.5, max_new_tokens=4)
    assert [{len(one.ids) for one in each} for each in found] == [{2}, {4}, {4}]


def test_an_end_is_forbidden_before_the_shortest_length() -> None:
    model = TranslationTable(5, seed=3)
    model.table[:, END] = 9.0
    sources = [[1], [1, 2, 3, 0], [1, 2, 3, 4, 0, 1, 2]]
    assert [best.ids for (best,) in find(model, sources, beam=1, max_new_tokens=20)] == [(END,)] * 3
    for asked, lengths in (
        ({"min_ratio": 1.0}, [1, 4, 7]),
        ({"min_new_tokens": 5}, [5, 5, 5]),
        ({"min_ratio": 1.0, "min_new_tokens": 5}, [5, 5, 7]),
    ):
        found = find(model, sources, beam=3, max_new_tokens=20, n_best=1, **asked)
        assert [(len(best.ids), best.finished) for (best,) in found] == [(n, True) for n in lengths]


def test_forbidden_ids_are_never_chosen_and_log_probabilities_do_not_know() -> None:
    model = TranslationTable(5, seed=3, spread=2.0)
    for forbidden in ({1}, {0, 2, 3}, {END}):
        (found,) = find(model, [[1, 2, 3]], beam=3, max_new_tokens=5, forbidden_ids=frozenset(forbidden))
        for one in found:
            assert not forbidden & set(one.ids)
            assert list(one.logprobs) == pytest.approx(teacher_forced(model, [1, 2, 3], [START], one.ids), abs=1e-6)


def test_done_sentences_leave_the_model() -> None:
    model = TranslationTable(5, seed=3)
    model.table[:, END] = -9.0
    model.reading[:, END] = 0.0
    find(model, [[1], [1, 2], [1, 2, 3, 4]], beam=2, max_ratio=1.0)
    assert model.rows_at_steps == [3, 4, 2, 2]
    assert model.n_encoded == 3


def test_a_coverage_penalty_prefers_what_reads_the_whole_source() -> None:
    model = TranslationTable(5, seed=3, spread=2.0)
    source = [1, 2, 3, 0]

    def missed(ids: Sequence[int]) -> float:
        seen = sum(model.attention(source, [START, *ids[:at]]) for at in range(len(ids)))
        return -float(seen.clamp(max=1.0).log().sum())

    with_none, with_much = (
        find(model, [source], beam=40, n_best=1, max_new_tokens=6, coverage_penalty=beta)[0][0] for beta in (0.0, 50.0)
    )
    assert missed(with_much.ids) < missed(with_none.ids)


def test_a_model_without_attention_is_no_model_for_a_coverage_penalty() -> None:
    class Blind(TranslationTable):
        def step(self, *given: Any, trace: object = None, **named: Any) -> Any:
            return super().step(*given, **named)

    with pytest.raises(UsageError, match="coverage_penalty needs a model with attention"):
        find(Blind(5, seed=1), [[1]], beam=2, max_new_tokens=3, coverage_penalty=0.1)


def test_no_sentences_have_no_results() -> None:
    assert beam_search(TranslationTable(5, seed=1), [], Search(max_new_tokens=3), sources=[]) == []


def test_what_cannot_be_searched_is_refused() -> None:
    model = TranslationTable(5, seed=1, context=7)
    with pytest.raises(UsageError, match="put the end id behind it"):
        find(model, [[1], []], beam=2, max_new_tokens=3)
    with pytest.raises(ContextError, match="may hold 7 tokens .* but got 8"):
        find(model, [[1] * 8], beam=2, max_new_tokens=3)
    with pytest.raises(UsageError, match="one source a prompt, but got 1 for 2"):
        beam_search(model, [[0], [0]], Search(max_new_tokens=3), sources=[[1]])
    with pytest.raises(UsageError, match="max_ratio and min_ratio need sources"):
        beam_search(model, [[0]], Search(max_ratio=1.0, min_ratio=0.5))
    with pytest.raises(UsageError, match="must have ids to choose from"):
        find(model, [[1]], beam=2, max_new_tokens=3, forbidden_ids=frozenset(range(5)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "give max_new_tokens or max_ratio"),
        ({"max_new_tokens": 3, "beam": 2, "n_best": 3}, "at most beam=2 hypotheses, but got 3"),
        ({"max_ratio": 0.0}, "max_ratio must be a number above 0"),
        ({"max_new_tokens": 3, "min_ratio": -1.0}, "min_ratio must be a number of at least 0"),
        ({"max_new_tokens": 3, "coverage_penalty": math.nan}, "coverage_penalty must be a number of at least 0"),
        ({"max_new_tokens": 3, "length_penalty": "average"}, '"none", "mean" or "gnmt", but got \'average\''),
        ({"max_new_tokens": 3, "alpha": math.nan}, "exponent, must be in -20..20, but got nan"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be a whole number"),
        ({"max_new_tokens": 3, "max_extra": -1}, "max_extra must be a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Search(**asked)
