"""Greedy decoding and sampling over sources: rows join, leave and restart, and none depends on its neighbours."""

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_loop import tiny_gpt2
from translation_tables import TranslationTable

from headway.decoding.choice import Choice, choose
from headway.decoding.rows import Emitted, Rows
from headway.decoding.window import restart
from headway.errors import ContextError, UsageError

GREEDY = Choice(temperature=0)
START = 0


def drain(rows: Rows) -> dict[int, list[Emitted]]:
    found: dict[int, list[Emitted]] = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted)
    return found


def plainly(
    model: TranslationTable, source: Sequence[int], prompt: Sequence[int], choice: Choice, n: int, sample: int = 0
) -> list[int]:
    """One row without cache or batch, by the documented window; the source is always seen."""
    ids = list(prompt)
    seen = ids if model.context is None else ids[-model.context :]
    for position in range(n):
        token = choose(model.logits(source, seen)[None], [choice], [ids], [sample], [position])[0]
        ids.append(token)
        full = model.context is not None and len(seen) == model.context
        seen = list(restart(ids, model.context)) if full else [*seen, token]
    return ids[len(prompt) :]


@settings(max_examples=25, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.lists(st.integers(0, 6), min_size=1, max_size=5),
            st.lists(st.integers(0, 6), max_size=6),
            st.integers(1, 9),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=4,
    ),
    chunk=st.integers(1, 9),
    context=st.sampled_from([None, 5, 7]),
    greedy=st.booleans(),
)
def test_when_a_row_joins_and_who_runs_beside_it_changes_nothing(
    arrivals: list[tuple[int, list[int], list[int], int, int]], chunk: int, context: int | None, greedy: bool
) -> None:
    model = TranslationTable(7, seed=2, context=context, spread=2.0)
    rows = Rows(model, prefill_chunk=chunk)
    found: dict[int, list[int]] = defaultdict(list)
    expected: dict[int, list[int]] = {}
    step = 0
    while step <= 4 or len(rows):
        for arrival, source, prefix, length, samples in arrivals:
            if arrival == step:
                choice = GREEDY if greedy else Choice(seed=len(source))
                prompt = [START, *prefix]
                numbers = rows.add(prompt, choice, max_new_tokens=length, samples=samples, source=source)
                for sample, number in enumerate(numbers):
                    expected[number] = plainly(model, source, prompt, choice, length, sample)
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
        step += 1
    assert found == expected


def test_samples_of_a_source_share_its_encoding() -> None:
    model = TranslationTable(7, seed=1)
    rows = Rows(model)
    rows.add([START], Choice(seed=3), max_new_tokens=5, samples=3, source=[1, 2, 3])
    found = drain(rows)
    assert model.n_encoded == 1
    assert len({tuple(token.id for token in row) for row in found.values()}) > 1


def test_a_row_that_outgrows_the_context_still_reads_its_source() -> None:
    model = TranslationTable(7, seed=1, context=5, spread=2.0)
    rows = Rows(model)
    sources = [[1, 2, 3], [6, 5, 4, 3, 2]]
    for source in sources:
        rows.add([START], GREEDY, max_new_tokens=23, source=source)
    found = drain(rows)
    for number, source in enumerate(sources):
        assert [token.id for token in found[number]] == plainly(model, source, [START], GREEDY, 23)
        assert [token.windowed for token in found[number]] == [at > 4 for at in range(23)]
    assert [token.id for token in found[0]] != [token.id for token in found[1]]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_cancelled_row_goes_and_the_others_do_not_notice(steps: int) -> None:
    model = TranslationTable(7, seed=3, context=5)
    rows = Rows(model, prefill_chunk=2)
    sources = [[1, 2], [3, 4, 5, 6], [2]]
    numbers = [rows.add([START, 1, 2], GREEDY, max_new_tokens=9, source=source)[0] for source in sources]
    found: dict[int, list[int]] = defaultdict(list)
    for _ in range(steps):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
    assert rows.cancel(numbers[1])
    for number, row in drain(rows).items():
        found[number] += [token.id for token in row]
    for at in (0, 2):
        assert found[numbers[at]] == plainly(model, sources[at], [START, 1, 2], GREEDY, 9)
    assert len(found[numbers[1]]) < 9


def test_what_cannot_be_read_is_refused_and_the_other_rows_run_on() -> None:
    rows = Rows(TranslationTable(7, seed=1, context=5))
    rows.add([START], GREEDY, max_new_tokens=2, source=[1])
    with pytest.raises(UsageError, match="at least one id; put the end id behind it"):
        rows.add([START], GREEDY, max_new_tokens=2, source=[])
    with pytest.raises(ContextError, match="may hold 5 tokens .* but got 6"):
        rows.add([START], GREEDY, max_new_tokens=2, source=[1] * 6)
    with pytest.raises(UsageError, match="all rows of one scheduler have a source, or none has"):
        rows.add([START], GREEDY, max_new_tokens=2)
    assert [len(row) for row in drain(rows).values()] == [2]


def test_a_source_for_a_model_that_reads_none_is_refused_and_the_next_row_runs() -> None:
    rows = Rows(tiny_gpt2())
    rows.add([START], GREEDY, max_new_tokens=2, source=[1])
    with pytest.raises(UsageError, match="GPT-2 reads no source"):
        rows.step()
    rows.add([START], GREEDY, max_new_tokens=2)
    assert len(drain(rows)[1]) == 2
