"""Speculation changes how many tokens come at a step and nothing else."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_loop import plain_loop, tiny_gpt2
from tables import TableDecoder

from headway.decoding.choice import Choice
from headway.decoding.draft import DraftModel
from headway.decoding.rows import Emitted, Rows
from headway.decoding.speculation import Asked, Drafter, Lookup
from headway.errors import FormatError

GREEDY = Choice(temperature=0)
CHOICES = [
    GREEDY,
    Choice(temperature=0, repetition_penalty=1.2, frequency_penalty=0.1),
    Choice(seed=5),
    Choice(seed=7, temperature=0.5, top_k=5, repetition_penalty=1.1, bias={3: 1.5}),
    Choice(seed=11, temperature=0.7, top_p=0.9, frequency_penalty=0.2, presence_penalty=0.1),
]
PROMPTS = [[3], [5, 7, 11, 13, 5, 7, 11], [2, 2], [29, 1, 30, 4, 8, 15, 29, 1, 30], [4, 8, 4, 8]]
DRAFTS: dict[str, Callable[[], Drafter]] = {
    "lookup": Lookup,
    "itself": lambda: DraftModel(tiny_gpt2()),
    "another": lambda: DraftModel(other_gpt2(53)),
    "another context": lambda: DraftModel(other_gpt2(7)),
}


def other_gpt2(context: int) -> torch.nn.Module:
    """A draft that agrees often, not always: the model's own weights, moved a little, of another context."""
    model = tiny_gpt2(context)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn(parameter.shape)
    return model


def drain(rows: Rows) -> dict[int, list[Emitted]]:
    found: dict[int, list[Emitted]] = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted)
    return found


def ids_of(emitted: Sequence[Emitted]) -> list[int]:
    return [token.id for token in emitted]


class Guesses:
    """Proposes what plain decoding would write, with the given chance of a wrong id at each place."""

    def __init__(self, truth: dict[int, list[int]], chance: random.Random, right: float) -> None:
        self._truth, self._chance, self._right = truth, chance, right
        self.n_learnt = 0
        self.forgotten: list[int] = []

    def propose(self, rows: Sequence[Asked]) -> list[list[int]]:
        return [
            [
                token if self._chance.random() < self._right else (token + 1) % 7
                for token in self._truth[row.number][row.position :][: min(row.room, self._chance.randint(0, 5))]
            ]
            for row in rows
        ]

    def learn(self, number: int, accepted: int) -> None:
        self.n_learnt += accepted

    def forget(self, number: int) -> None:
        self.forgotten.append(number)


# Exactness


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("choice", CHOICES, ids=range(len(CHOICES)))
def test_tokens_and_log_probabilities_are_those_of_plain_decoding(draft: str, choice: Choice) -> None:
    model = tiny_gpt2()
    rows = Rows(model, drafter=DRAFTS[draft]())
    rows.add(PROMPTS[1], choice, max_new_tokens=37, logprobs=3)
    found = drain(rows)[0]
    plain = Rows(model)
    plain.add(PROMPTS[1], choice, max_new_tokens=37, logprobs=3)
    expected = drain(plain)[0]
    assert ids_of(found) == ids_of(expected) == plain_loop(model, PROMPTS[1], choice, max_new_tokens=37)[0]
    assert [token.logprob for token in found] == pytest.approx([token.logprob for token in expected], abs=1e-4)
    for here, there in zip(found, expected, strict=True):
        assert (here.finish_reason, here.windowed) == (there.finish_reason, there.windowed)
        assert [token for token, _ in here.top] == [token for token, _ in there.top]
        assert [value for _, value in here.top] == pytest.approx([value for _, value in there.top], abs=1e-4)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("context", [1, 2, 3, 11, 53])
def test_a_batch_of_unequal_rows_past_the_context_equals_each_alone(draft: str, context: int) -> None:
    model = tiny_gpt2(context)
    rows = Rows(model, prefill_chunk=5, drafter=DRAFTS[draft]())
    numbers = [rows.add(p, c, max_new_tokens=29)[0] for p, c in zip(PROMPTS, CHOICES, strict=True)]
    found = drain(rows)
    for number, prompt, choice in zip(numbers, PROMPTS, CHOICES, strict=True):
        ids, logprobs = plain_loop(model, prompt, choice, max_new_tokens=29)
        assert ids_of(found[number]) == ids
        assert [token.logprob for token in found[number]] == pytest.approx(logprobs, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.lists(st.integers(0, 6), min_size=1, max_size=9),
            st.integers(1, 14),
            st.booleans(),
            st.sampled_from([None, 2, 4]),
        ),
        min_size=1,
        max_size=5,
    ),
    chunk=st.integers(1, 9),
    context=st.sampled_from([None, 1, 2, 7]),
    kind=st.sampled_from(["lookup", "draft", "short draft", "guesses"]),
    right=st.sampled_from([0.0, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
def test_when_rows_come_go_and_stop_changes_nothing(
    arrivals: list[tuple[int, list[int], int, bool, int | None]],
    chunk: int,
    context: int | None,
    kind: str,
    right: float,
    seed: int,
) -> None:
    model = TableDecoder(7, seed=2, context=context, spread=2.0)
    expected: list[list[Emitted]] = []
    arrivals.sort(key=lambda arrival: arrival[0])
    settings_of = [
        (Choice(seed=at, temperature=0 if greedy else 1.0, frequency_penalty=0.3 * (at % 2)), length, stop)
        for at, (_, _, length, greedy, stop) in enumerate(arrivals)
    ]
    for (_, prompt, *_), (choice, length, stop) in zip(arrivals, settings_of, strict=True):
        alone = Rows(model)
        alone.add(prompt, choice, max_new_tokens=length, stop_ids=frozenset([] if stop is None else [stop]))
        expected.append(drain(alone)[0])
    draft = TableDecoder(7, seed=2 if right == 1.0 else 3, context={"short draft": 3}.get(kind), spread=2.0)
    guesses = Guesses({at: ids_of(row) for at, row in enumerate(expected)}, random.Random(seed), right)
    drafter = {"lookup": Lookup(), "guesses": guesses}.get(kind) or DraftModel(draft)
    rows = Rows(model, prefill_chunk=chunk, drafter=drafter)
    found: dict[int, list[Emitted]] = defaultdict(list)
    cancelled = random.Random(seed).randrange(2 * len(arrivals))
    step = n_added = 0
    while step <= 5 or len(rows):
        for (arrival, prompt, *_), (choice, length, stop) in zip(arrivals, settings_of, strict=True):
            if arrival == step:
                stops = frozenset([] if stop is None else [stop])
                n_added += len(rows.add(prompt, choice, max_new_tokens=length, stop_ids=stops))
        for emitted in rows.step():
            found[emitted.row].append(emitted)
        step += 1
        if step == 4 and cancelled < n_added:
            rows.cancel(cancelled)
    for number, plain in enumerate(expected):
        length = len(found[number]) if number == cancelled else len(plain)
        for here, there in zip(found[number], plain[:length], strict=True):
            assert (here.id, here.finish_reason, here.windowed) == (there.id, there.finish_reason, there.windowed)
            assert here.logprob == pytest.approx(there.logprob, abs=1e-6)


def test_a_run_ends_at_a_stop_id_in_its_middle_and_at_the_last_token() -> None:
    model = TableDecoder(101, seed=3)
    plain = Rows(model)
    plain.add([1], Choice(seed=1), max_new_tokens=30)
    truth = ids_of(drain(plain)[0])
    assert len(set(truth[:4])) == 4
    for n, stops in ((3, frozenset[int]()), (30, frozenset([truth[3]]))):
        rows = Rows(model, drafter=DraftModel(model))
        rows.add([1], Choice(seed=1), max_new_tokens=n, stop_ids=stops)
        steps = []
        while len(rows):
            steps.append(rows.step())
        assert len(steps) == 2  # the prompt's own token, then one run
        end = 4 if stops else 3
        assert ids_of(steps[0] + steps[1]) == truth[:end]
        assert [token.finish_reason for token in steps[1]] == [None] * (end - 2) + ["stop" if stops else "length"]


def test_a_row_cancelled_between_runs_goes_and_the_others_do_not_notice() -> None:
    model = tiny_gpt2()
    for drafter in (Lookup(), DraftModel(tiny_gpt2()), DraftModel(other_gpt2(11))):
        rows = Rows(model, drafter=drafter)
        numbers = [rows.add(prompt, Choice(seed=2), max_new_tokens=25)[0] for prompt in PROMPTS]
        found: dict[int, list[int]] = defaultdict(list)
        for step in range(40):
            for emitted in rows.step():
                found[emitted.row].append(emitted.id)
            if step == 2:
                assert rows.cancel(numbers[1])
        assert len(rows) == 0
        for number, prompt in zip(numbers, PROMPTS, strict=True):
            expected = plain_loop(model, prompt, Choice(seed=2), max_new_tokens=25)[0]
            assert found[number] == expected[: len(found[number])]
            assert (len(found[number]) == 25) == (number != numbers[1])


def test_a_drafter_hears_what_was_accepted_and_which_rows_are_gone() -> None:
    model = TableDecoder(7, seed=3)
    plain = Rows(model)
    plain.add([1], GREEDY, max_new_tokens=20)
    truth = ids_of(drain(plain)[0])
    guesses = Guesses({0: truth, 1: truth}, random.Random(1), 1.0)
    rows = Rows(model, drafter=guesses)
    rows.add([1], GREEDY, max_new_tokens=20)
    late = rows.add([1], GREEDY, max_new_tokens=20)[0]
    rows.step()
    rows.cancel(late)
    assert guesses.forgotten == [late]
    drain(rows)
    assert guesses.forgotten == [late, 0]
    assert guesses.n_learnt > 5


@pytest.mark.parametrize("make", [Lookup, lambda: DraftModel(TableDecoder(7, seed=1))])
def test_an_error_lets_all_rows_go_and_the_next_can_start(make: Callable[[], Drafter]) -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model, drafter=make())
    rows.add([1, 2, 1, 2], GREEDY, max_new_tokens=25, samples=2)
    for _ in range(2):
        rows.step()
    kept, model.table = model.table, torch.full_like(model.table, torch.nan)
    with pytest.raises(FormatError, match="nan"):
        rows.step()
    assert len(rows) == 0
    model.table = kept
    rows.add([1, 2, 1, 2], GREEDY, max_new_tokens=25)
    assert len(drain(rows)[2]) == 25


@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_the_distribution_is_the_model_s(kind: str) -> None:
    """Chi-square over many seeds: the third token after a prompt, against its exact distribution."""
    model, draft = TableDecoder(3, seed=5), TableDecoder(3, seed=6)
    prompt = [0, 1, 2, 0, 1]
    exact = dict.fromkeys(range(3), 0.0)
    for a in range(3):
        for b in range(3):
            for c in range(3):
                logprob = sum(model.logprob([*prompt, a, b][: 5 + at], token) for at, token in enumerate((a, b, c)))
                exact[c] += math.exp(logprob)
    drafter: Drafter = Lookup() if kind == "lookup" else DraftModel(draft)
    rows = Rows(model, drafter=drafter)
    n = 600
    for seed in range(n):
        rows.add(prompt, Choice(seed=seed), max_new_tokens=7)
    written = {number: ids_of(row) for number, row in drain(rows).items()}
    counts = Counter(row[2] for row in written.values())
    chi_square = sum((counts[token] - n * exact[token]) ** 2 / (n * exact[token]) for token in range(3))
    assert chi_square < 13.8  # 2 degrees of freedom: exceeded once in a thousand by chance, and the seed is fixed
    assert set(map(len, written.values())) == {7}
    assert sum(model.rows_at_steps) < n * 10.5  # plainly each row takes part in 5 steps for its prompt, then in 6


# Fewer steps


def test_repetitive_text_takes_far_fewer_steps() -> None:
    model = TableDecoder(7, seed=3)
    rows = Rows(model, drafter=Lookup())
    rows.add([1], GREEDY, max_new_tokens=300)
    drain(rows)
    assert len(model.rows_at_steps) < 80  # it falls into a loop of at most 49 tokens; then nine come at a step


def test_a_quoted_passage_is_copied_in_few_steps() -> None:
    passage = random.Random(3).choices(range(101), k=60)
    model = TableDecoder(101, seed=1)
    for left, right in zip(passage, passage[1:], strict=False):
        model.table[:, left, right] = 0.0
    for at in range(2, 60):
        model.table[passage[at - 2], passage[at - 1], passage[at]] = 99.0
    rows = Rows(model, drafter=Lookup())
    rows.add([*passage, 100, *passage[:3]], GREEDY, max_new_tokens=50)
    assert ids_of(drain(rows)[0]) == passage[3:53]
    assert len(model.rows_at_steps) <= 9


def test_the_model_as_its_own_draft_is_agreed_with_all_along() -> None:
    for choice in (GREEDY, Choice(seed=3), Choice(seed=4, temperature=2.0, top_k=5, frequency_penalty=0.5)):
        model = TableDecoder(7, seed=3)
        rows = Rows(model, drafter=DraftModel(TableDecoder(7, seed=3)))
        rows.add([1, 2, 3], choice, max_new_tokens=91)
        drain(rows)
        assert len(model.rows_at_steps) == 1 + 1 + 10  # the prompt; a run of 5; then 85 tokens by nine


def test_hopeless_proposals_are_hardly_made() -> None:
    model = TableDecoder(7, seed=3)
    draft = TableDecoder(7, seed=3)
    draft.table = -draft.table
    rows = Rows(model, drafter=DraftModel(draft))
    rows.add([1, 2, 3], GREEDY, max_new_tokens=200)
    drain(rows)
    assert len(model.rows_at_steps) == 200
    assert len(draft.rows_at_steps) < 30
