"""The prefix cache: what is read from it changes no token, and it holds no more than it may."""

import random
from typing import Any

import pytest
import torch
from plain_loop import VOCABULARY, tiny_gpt2
from tables import TableDecoder

from headway.decoding.choice import Choice
from headway.decoding.prefixes import PAGE, STRIDE, Prefixes, worth_keeping
from headway.decoding.rows import Emitted, Rows
from headway.engine.extension import is_built
from headway.errors import ConfigError
from headway.models.laplace import Laplace, LaplaceConfig


def small(kind: str) -> Any:
    if kind == "laplace":
        torch.manual_seed(3)
        return Laplace(LaplaceConfig(vocabulary=VOCABULARY, width=14, n_layers=2)).eval()
    model = tiny_gpt2(context=211)
    if kind == "torch":
        return model
    if not is_built():
        pytest.skip("the engine is not built")
    from headway.engine.compile import compiled

    return compiled(model, "gpt2", bits=8, threads=1)


def written(rows: Rows, prompts: list[list[int]], *, length: int = 7, samples: int = 1) -> list[list[Emitted]]:
    """What each prompt brings when all arrive together; samples one after the other."""
    numbers = [
        rows.add(prompt, Choice(seed=5, temperature=0.8), max_new_tokens=length, samples=samples, logprobs=2)
        for prompt in prompts
    ]
    found: dict[int, list[Emitted]] = {number: [] for several in numbers for number in several}
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted)
    return [[token for number in several for token in found[number]] for several in numbers]


def facts(tokens: list[Emitted]) -> list[tuple[Any, ...]]:
    return [(token.id, token.logprob, token.top, token.finish_reason, token.windowed) for token in tokens]


def prompts_that_begin_alike(seed: int) -> list[list[int]]:
    chance = random.Random(seed)
    stem = [chance.randrange(VOCABULARY) for _ in range(190)]
    return [
        stem[: chance.choice([0, 1, 15, 16, 17, 63, 64, 65, 128, 150, 190])]
        + [chance.randrange(VOCABULARY) for _ in range(chance.choice([1, 2, 16, 30]))]
        for _ in range(24)
    ]


@pytest.mark.parametrize("kind", ["torch", "engine", "laplace"])
@pytest.mark.parametrize("chunk", [7, 64, 512])
def test_rows_write_the_same_with_a_cache_as_without(kind: str, chunk: int) -> None:
    model = small(kind)
    prefixes = Prefixes(tokens=2000)
    cached, plain = Rows(model, prefill_chunk=chunk, prefixes=prefixes), Rows(model, prefill_chunk=chunk)
    prompts = prompts_that_begin_alike(chunk)
    for first in range(0, len(prompts), 4):  # four at a time, so that later ones find what earlier ones left
        group = prompts[first : first + 4]
        for ours, theirs in zip(written(cached, group, samples=2), written(plain, group, samples=2), strict=True):
            if kind == "engine":
                assert facts(ours) == facts(theirs)  # to the last bit
            else:
                assert [token.id for token in ours] == [token.id for token in theirs]
                assert [token.logprob for token in ours] == pytest.approx([t.logprob for t in theirs], abs=1e-4)
    assert prefixes.hits > 5
    assert 0 < prefixes.tokens <= 2000


def test_a_prompt_read_before_is_fed_from_its_last_page_on() -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model, prefixes=Prefixes(tokens=1000))
    prompt = [at % 7 for at in range(100)]
    first = written(rows, [prompt], length=1)
    assert model.n_fed == 100
    assert facts(written(rows, [prompt], length=1)[0]) == facts(first[0])
    assert model.n_fed == 104  # 96 are known
    written(rows, [prompt + [1, 2, 3]], length=1)
    assert model.n_fed == 111
    written(rows, [[6, *prompt]], length=1)
    assert model.n_fed == 212  # begins otherwise


def test_a_finished_row_is_gone_on_from_where_it_ended() -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model, prefixes=Prefixes(tokens=1000))
    prompt = [at % 7 for at in range(20)]
    ids = [token.id for token in written(rows, [prompt], length=12)[0]]
    fed = model.n_fed
    written(rows, [[*prompt, *ids, 3, 4]], length=1)
    assert model.n_fed == fed + 3  # the last id written was not fed yet


def test_inside_a_long_prompt_states_are_kept_for_prompts_that_part_from_it_there() -> None:
    model = TableDecoder(7, seed=1)
    rows = Rows(model, prefill_chunk=50, prefixes=Prefixes(tokens=1000))
    prompt = [at % 7 for at in range(200)]
    written(rows, [prompt], length=1)
    written(rows, [[*prompt[:150], 6, 6, 6]], length=1)
    assert model.n_fed == 200 + 153 - 2 * STRIDE


@pytest.mark.parametrize("limit", [0, PAGE - 1, PAGE, 100, 333])
def test_it_never_holds_more_tokens_than_it_may(limit: int) -> None:
    model = TableDecoder(7, seed=1)
    prefixes = Prefixes(tokens=limit)
    rows = Rows(model, prefill_chunk=40, prefixes=prefixes)
    for prompt in prompts_that_begin_alike(2):
        written(rows, [[token % 7 for token in prompt]], length=20)
        assert prefixes.tokens <= limit
        assert prefixes.tokens == sum(held.length for held in prefixes._held.values())
    assert (prefixes.tokens > 0) == (limit >= PAGE)


def test_the_least_recently_used_goes_first() -> None:
    prefixes = Prefixes(tokens=50)
    first, second, third = ([n] * PAGE for n in (1, 2, 3))
    for ids in (first, second, third):
        prefixes.add(ids, "state")
    assert prefixes.longest([*first, 9]) is not None  # used now
    prefixes.add([4] * PAGE, "state")
    assert prefixes.longest([*second, 9]) is None
    assert prefixes.longest([*first, 9]) is not None
    assert prefixes.longest([*third, 9]) is not None


def test_a_text_is_never_found_for_itself_alone_as_a_step_needs_a_token() -> None:
    prefixes = Prefixes(tokens=50)
    prefixes.add([1] * PAGE, "state")
    assert prefixes.longest([1] * PAGE) is None
    held = prefixes.longest([1] * (PAGE + 1))
    assert held is not None and held.length == PAGE


@pytest.mark.parametrize(
    ("fed", "length", "kept"), [(10, 10, 0), (17, 17, 16), (16, 16, 0), (33, 33, 32), (100, 200, 64), (63, 200, 0)]
)
def test_what_is_worth_keeping(fed: int, length: int, kept: int) -> None:
    assert worth_keeping(fed, length) == kept


def test_a_failed_step_gives_the_memory_back() -> None:
    model = TableDecoder(7, seed=1, spread=float("nan"))
    prefixes = Prefixes(tokens=100)
    rows = Rows(model, prefixes=prefixes)
    prefixes.add([1] * PAGE, model.start(rows=1))
    rows.add([2], Choice(), max_new_tokens=1)
    with pytest.raises(ValueError, match="finite"):
        rows.step()
    assert len(prefixes) == prefixes.tokens == 0


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        Prefixes(tokens=-1)
