"""The beam search over batches of sources: one search for every family, a batch of sentences at once."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translation_tables import TranslationTable

from headway.decoding.beam import Hypothesis, Search, beam_search

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


@settings(max_examples=60, deadline=None)
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
