import math
from collections import defaultdict
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_loop import VOCABULARY, plain_loop, tiny_gpt2
from tables import TableDecoder

from headway.decoding.choice import Choice
from headway.decoding.rows import Emitted, Rows
from headway.errors import ConfigError, FormatError, UsageError

GREEDY = Choice(temperature=0)
PROMPTS = [[3], [5, 7, 11, 13, 17, 19, 23], [2, 2], [29, 1, 30, 4, 8, 15, 16, 23, 4, 2, 9]]
CHOICES = [
    GREEDY,
    Choice(seed=5),
    Choice(seed=7, temperature=0.7, top_k=11, repetition_penalty=1.3),
    Choice(seed=11, top_p=0.9, frequency_penalty=0.3, presence_penalty=0.2),
]


def drain(rows: Rows) -> dict[int, list[Emitted]]:
    found: dict[int, list[Emitted]] = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted)
    return found


def ids_of(emitted: Sequence[Emitted]) -> list[int]:
    return [token.id for token in emitted]


@pytest.mark.parametrize("chunk", [1, 3, 7, 512])
def test_a_batch_of_unequal_prompts_equals_each_alone_without_cache(chunk: int) -> None:
    model = tiny_gpt2()
    rows = Rows(model, prefill_chunk=chunk)
    numbers = [rows.add(p, c, max_new_tokens=13)[0] for p, c in zip(PROMPTS, CHOICES, strict=True)]
    found = drain(rows)
    for number, prompt, choice in zip(numbers, PROMPTS, CHOICES, strict=True):
        ids, logprobs = plain_loop(model, prompt, choice, max_new_tokens=13)
        assert ids_of(found[number]) == ids
        assert [token.logprob for token in found[number]] == pytest.approx(logprobs, abs=1e-4)


def test_samples_of_a_prompt_equal_single_rows_of_their_number_and_read_it_once() -> None:
    table = TableDecoder(7, seed=1)
    rows = Rows(table)
    numbers = rows.add([1, 2, 3, 4, 5], Choice(seed=3), max_new_tokens=5, samples=3)
    assert rows.step() != []
    assert table.n_fed == 5
    assert len(numbers) == 3 == len(rows)

    model = tiny_gpt2()
    rows = Rows(model)
    numbers = rows.add(PROMPTS[1], Choice(seed=3), max_new_tokens=11, samples=3)
    found = drain(rows)
    written = [ids_of(found[number]) for number in numbers]
    assert written == [
        plain_loop(model, PROMPTS[1], Choice(seed=3), max_new_tokens=11, sample=sample)[0] for sample in range(3)
    ]
    assert written[0] != written[1] != written[2]


@settings(max_examples=25, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 6), st.lists(st.integers(0, 6), min_size=1, max_size=9), st.integers(1, 6)),
        min_size=1,
        max_size=6,
    ),
    chunk=st.integers(1, 12),
    context=st.sampled_from([None, 1, 2, 5]),
)
def test_when_a_row_joins_and_who_runs_beside_it_changes_nothing(
    arrivals: list[tuple[int, list[int], int]], chunk: int, context: int | None
) -> None:
    model = TableDecoder(7, seed=2, context=context)
    rows = Rows(model, prefill_chunk=chunk)
    found: dict[int, list[int]] = defaultdict(list)
    wanted = {}
    step = 0
    while step <= 6 or len(rows):
        for arrival, prompt, length in arrivals:
            if arrival == step:
                choice = Choice(seed=len(prompt))
                wanted[rows.add(prompt, choice, max_new_tokens=length)[0]] = (prompt, choice, length)
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
        step += 1
    for number, (prompt, choice, length) in wanted.items():
        alone = Rows(model)
        alone.add(prompt, choice, max_new_tokens=length)
        assert found[number] == ids_of(drain(alone)[0])


def test_a_row_ends_at_a_stop_id_which_is_emitted_or_at_its_length() -> None:
    model = TableDecoder(7, seed=3)
    rows = Rows(model)
    rows.add([1], Choice(seed=1), max_new_tokens=400, stop_ids=frozenset([4, 6]))
    rows.add([1], Choice(seed=1), max_new_tokens=5)
    found = drain(rows)
    assert [token.finish_reason for token in found[0]] == [None] * (len(found[0]) - 1) + ["stop"]
    assert found[0][-1].id in (4, 6)
    assert not {4, 6} & set(ids_of(found[0])[:-1])
    assert [token.finish_reason for token in found[1]] == [None] * 4 + ["length"]


def test_a_finished_row_leaves_the_model_at_once() -> None:
    model = TableDecoder(7, seed=3)
    rows = Rows(model)
    for length in (1, 2, 4):
        rows.add([1], GREEDY, max_new_tokens=length)
    drain(rows)
    assert model.rows_at_steps == [3, 2, 1, 1]


def test_a_cancelled_row_goes_and_the_others_do_not_notice() -> None:
    model = tiny_gpt2()
    rows = Rows(model, prefill_chunk=6)
    numbers = [rows.add(prompt, Choice(seed=2), max_new_tokens=9)[0] for prompt in PROMPTS]
    late = rows.add(PROMPTS[3], Choice(seed=9), max_new_tokens=9, samples=2)
    found: dict[int, list[int]] = defaultdict(list)
    for step in range(40):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
        if step == 1:
            assert rows.cancel(late[0])  # its prompt is still being read
        if step == 3:
            assert rows.cancel(numbers[2])
            assert not rows.cancel(numbers[2])
    assert len(rows) == 0
    assert not rows.cancel(numbers[0])
    for number, prompt in ((numbers[0], PROMPTS[0]), (numbers[1], PROMPTS[1]), (numbers[3], PROMPTS[3])):
        assert found[number] == plain_loop(model, prompt, Choice(seed=2), max_new_tokens=9)[0]
    assert 0 < len(found[numbers[2]]) < 9
    assert found[late[0]] == []
    assert found[late[1]] == plain_loop(model, PROMPTS[3], Choice(seed=9), max_new_tokens=9, sample=1)[0]


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_cancelling_every_row_at_any_time_leaves_room_for_the_next(steps: int) -> None:
    model = TableDecoder(7, seed=3)
    rows = Rows(model, prefill_chunk=4)
    numbers = rows.add([1, 2, 3, 4, 5, 6], GREEDY, max_new_tokens=9, samples=2) + rows.add(
        [2], GREEDY, max_new_tokens=9
    )
    for _ in range(steps):
        rows.step()
    assert [rows.cancel(number) for number in numbers] == [True] * 3
    assert len(rows) == 0
    assert rows.step() == []
    rows.add([3], GREEDY, max_new_tokens=2)
    assert len(drain(rows)[3]) == 2


def test_log_probabilities_are_the_model_s_own_over_the_full_vocabulary() -> None:
    model = tiny_gpt2()
    choice = Choice(seed=2, temperature=3.0, bias={4: 5.0}, top_k=9, repetition_penalty=2.0)
    rows = Rows(model)
    rows.add(PROMPTS[1], choice, max_new_tokens=7, logprobs=5)
    emitted = drain(rows)[0]
    text = PROMPTS[1] + ids_of(emitted)
    with torch.no_grad():
        every = model(torch.tensor([text]))[0].log_softmax(-1)
    for at, token in enumerate(emitted):
        expected = every[len(PROMPTS[1]) - 1 + at]
        assert token.logprob == pytest.approx(float(expected[token.id]), abs=1e-4)
        top = expected.topk(5)
        assert [alternative for alternative, _ in token.top] == top.indices.tolist()
        assert [logprob for _, logprob in token.top] == pytest.approx(top.values.tolist(), abs=1e-4)


def test_all_alternatives_together_are_a_distribution() -> None:
    rows = Rows(TableDecoder(7, seed=1))
    rows.add([1], GREEDY, max_new_tokens=1, logprobs=99)
    (token,) = rows.step()
    assert sorted(alternative for alternative, _ in token.top) == list(range(7))
    assert sum(math.exp(logprob) for _, logprob in token.top) == pytest.approx(1.0, abs=1e-6)
    assert token.top[0] == (token.id, pytest.approx(token.logprob, abs=1e-6))


def test_ids_past_the_tokenizer_s_are_never_chosen() -> None:
    rows = Rows(TableDecoder(11, seed=1), vocabulary=3)
    rows.add([1], Choice(seed=3, temperature=9.0), max_new_tokens=50)
    assert set(ids_of(drain(rows)[0])) == {0, 1, 2}


def test_a_long_prompt_does_not_stop_the_rows_that_write() -> None:
    rows = Rows(TableDecoder(7, seed=1), prefill_chunk=2)
    rows.add([1], GREEDY, max_new_tokens=9)
    rows.step()
    rows.add([1, 2, 3, 4, 5, 6], GREEDY, max_new_tokens=9)
    assert [[token.row for token in rows.step()] for _ in range(4)] == [[0], [0], [0, 1], [0, 1]]


def test_a_prefill_never_reads_more_than_its_chunk_at_once() -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model, prefill_chunk=7)
    for _ in range(3):
        rows.add([1, 2, 3, 4, 5, 6, 1, 2, 3], GREEDY, max_new_tokens=1)
    while len(rows):
        before = model.n_fed
        rows.step()
        assert model.n_fed - before <= 7


def test_stepping_without_rows_emits_nothing() -> None:
    assert Rows(TableDecoder(7, seed=1)).step() == []


def test_an_error_lets_all_rows_go_and_the_next_can_start() -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model)
    rows.add([1], GREEDY, max_new_tokens=5)
    rows.step()
    kept, model.table = model.table, torch.full_like(model.table, math.nan)
    with pytest.raises(FormatError, match="nan"):
        rows.step()
    assert len(rows) == 0
    model.table = kept
    rows.add([1], GREEDY, max_new_tokens=5)
    assert len(drain(rows)[1]) == 5


def test_adding_what_cannot_run_is_refused() -> None:
    rows = Rows(TableDecoder(7, seed=1), vocabulary=7)
    with pytest.raises(UsageError, match="at least one id"):
        rows.add([], GREEDY, max_new_tokens=5)
    with pytest.raises(UsageError, match="max_new_tokens must be at least 1, but got 0"):
        rows.add([1], GREEDY, max_new_tokens=0)
    with pytest.raises(UsageError, match="samples must be at least 1, but got -1"):
        rows.add([1], GREEDY, max_new_tokens=1, samples=-1)
    with pytest.raises(UsageError, match="logprobs must be at least 0"):
        rows.add([1], GREEDY, max_new_tokens=1, logprobs=-1)
    with pytest.raises(UsageError, match=r"0\.\.6, but got 7"):
        rows.add([1, 7], GREEDY, max_new_tokens=1)
    with pytest.raises(UsageError, match=r"0\.\.6, but got 9"):
        rows.add([1], Choice(bias={9: 1.0}), max_new_tokens=1)
    with pytest.raises(UsageError, match="cancel"):
        rows.cancel(0)
    with pytest.raises(ConfigError, match="prefill_chunk"):
        Rows(TableDecoder(7, seed=1), prefill_chunk=0)
    assert len(rows) == 0


def test_two_sets_of_rows_on_one_model_do_not_disturb_each_other() -> None:
    model = tiny_gpt2()
    first, second = Rows(model), Rows(model)
    first.add(PROMPTS[1], Choice(seed=1), max_new_tokens=9)
    second.add(PROMPTS[3], Choice(seed=2), max_new_tokens=9)
    found: list[list[int]] = [[], []]
    while len(first) or len(second):
        found[0] += ids_of(first.step())
        found[1] += ids_of(second.step())
    assert found[0] == plain_loop(model, PROMPTS[1], Choice(seed=1), max_new_tokens=9)[0]
    assert found[1] == plain_loop(model, PROMPTS[3], Choice(seed=2), max_new_tokens=9)[0]


def test_the_same_seed_gives_the_same_tokens_again_and_another_seed_others() -> None:
    model = tiny_gpt2()

    def write(seed: int) -> list[int]:
        rows = Rows(model)
        rows.add(PROMPTS[1], Choice(seed=seed), max_new_tokens=17, logprobs=None)
        return ids_of(drain(rows)[0])

    assert write(1) == write(1) != write(2)


def test_prompts_of_every_vocabulary_end_are_read() -> None:
    model = tiny_gpt2()
    prompt = [0, VOCABULARY - 1]
    rows = Rows(model, vocabulary=VOCABULARY)
    rows.add(prompt, GREEDY, max_new_tokens=3)
    assert ids_of(drain(rows)[0]) == plain_loop(model, prompt, GREEDY, max_new_tokens=3)[0]


def test_a_row_that_is_not_scored_writes_the_same_beside_rows_that_are() -> None:
    model = tiny_gpt2()
    scored, mixed = Rows(model), Rows(model)
    expected = [scored.add(p, c, max_new_tokens=9)[0] for p, c in zip(PROMPTS, CHOICES, strict=True)]
    numbers = [
        mixed.add(prompt, choice, max_new_tokens=9, scored=at % 2 == 1, logprobs=2)[0]
        for at, (prompt, choice) in enumerate(zip(PROMPTS, CHOICES, strict=True))
    ]
    alone, found = drain(scored), drain(mixed)
    for at, (number, other) in enumerate(zip(numbers, expected, strict=True)):
        assert ids_of(found[number]) == ids_of(alone[other])
        assert all(len(token.top) == 2 for token in found[number])
        if at % 2 == 1:
            assert [token.logprob for token in found[number]] == [token.logprob for token in alone[other]]
        else:
            assert all(math.isnan(token.logprob) for token in found[number])
