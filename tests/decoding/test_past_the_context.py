from collections.abc import Sequence

import pytest
import torch
from plain_loop import plain_loop, tiny_gpt2
from tables import TableDecoder

from headway.decoding.beam import Hypothesis, Search, beam_search
from headway.decoding.choice import Choice
from headway.decoding.rows import Emitted, Rows
from headway.decoding.scoring import score
from headway.errors import ContextError

GREEDY = Choice(temperature=0)
CONTEXT = 11


def prompt_of(length: int, seed: int = 1) -> list[int]:
    return torch.randint(31, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def search(model: object, prompt: list[int], beam: int, n: int) -> Hypothesis:
    return beam_search(model, [prompt], Search(beam=beam, max_new_tokens=n))[0][0]  # type: ignore[arg-type]


def write(model: object, prompts: Sequence[list[int]], choice: Choice, n: int) -> list[list[Emitted]]:
    rows = Rows(model)  # type: ignore[arg-type]
    numbers = [rows.add(prompt, choice, max_new_tokens=n)[0] for prompt in prompts]
    found: dict[int, list[Emitted]] = {number: [] for number in numbers}
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted)
    return [found[number] for number in numbers]


@pytest.mark.parametrize("length", [1, 5, 10, 11, 12, 29, 97])
def test_writing_past_the_context_equals_the_plain_loop_with_the_documented_window(length: int) -> None:
    model = tiny_gpt2(CONTEXT)
    prompt = prompt_of(length)
    (emitted,) = write(model, [prompt], Choice(seed=4), 31)
    ids, logprobs = plain_loop(model, prompt, Choice(seed=4), max_new_tokens=31)
    assert [token.id for token in emitted] == ids
    assert [token.logprob for token in emitted] == pytest.approx(logprobs, abs=1e-4)


def test_a_windowed_row_does_not_depend_on_its_neighbours() -> None:
    model = tiny_gpt2(CONTEXT)
    prompts = [prompt_of(length, seed=length) for length in (3, 11, 13, 50, 7)]
    for prompt, emitted in zip(prompts, write(model, prompts, Choice(seed=6), 23), strict=True):
        assert [token.id for token in emitted] == plain_loop(model, prompt, Choice(seed=6), max_new_tokens=23)[0]


def test_tokens_are_marked_from_the_first_the_model_chose_without_the_whole_text() -> None:
    model = tiny_gpt2(CONTEXT)
    inside, long = write(model, [prompt_of(5), prompt_of(12)], GREEDY, 9)
    # 5 prompt tokens and 6 written ones fill the context; the 7th is still chosen with all of them in sight.
    assert [token.windowed for token in inside] == [False] * 7 + [True] * 2
    assert all(token.windowed for token in long)


def test_a_prompt_past_the_context_writes_as_its_last_tokens_that_fit() -> None:
    model = tiny_gpt2(CONTEXT)
    prompt = prompt_of(40)
    long, cut = write(model, [prompt, prompt[-CONTEXT:]], GREEDY, 19)
    assert [token.id for token in long] == [token.id for token in cut]


def test_more_tokens_do_not_change_the_first_ones() -> None:
    model = tiny_gpt2(CONTEXT)
    prompt = prompt_of(17)
    ((*short,), (*long,)) = write(model, [prompt], GREEDY, 3)[0], write(model, [prompt], GREEDY, 23)[0]
    assert [token.id for token in short] == [token.id for token in long][:3]


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_smallest_contexts_write_on(context: int) -> None:
    model = tiny_gpt2(context)
    (emitted,) = write(model, [prompt_of(5)], GREEDY, 13)
    assert [token.id for token in emitted] == plain_loop(model, prompt_of(5), GREEDY, max_new_tokens=13)[0]


def test_an_unlimited_context_is_never_windowed() -> None:
    (emitted,) = write(TableDecoder(31, seed=1), [prompt_of(300)], GREEDY, 200)
    assert not any(token.windowed for token in emitted)


@pytest.mark.parametrize("length", [7, 11, 30])
def test_beam_one_equals_greedy_past_the_context(length: int) -> None:
    model = tiny_gpt2(CONTEXT)
    prompt = prompt_of(length)
    best = search(model, prompt, 1, 17)
    assert list(best.ids) == plain_loop(model, prompt, GREEDY, max_new_tokens=17)[0]
    assert best.windowed
    assert search(model, prompt, 3, 17).windowed


def test_a_beam_inside_the_context_is_not_windowed() -> None:
    assert not search(tiny_gpt2(CONTEXT), prompt_of(4), 2, 8).windowed


def test_scoring_refuses_more_than_the_context_and_takes_all_of_it() -> None:
    model = tiny_gpt2(CONTEXT)
    assert len(score(model, prompt_of(CONTEXT))) == CONTEXT
    with pytest.raises(ContextError, match=r"at most 11 tokens .*, but got 12"):
        score(model, prompt_of(CONTEXT + 1))
