"""Contract 9 in the engine: logits are the same to the last bit, however the tokens came into the rows."""

import random
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_gpt2 import CONTEXT, VOCABULARY, feed, in_engine, tiny
from torch import Tensor

BITS = (32, 16, 8, 4)


@cache
def engine(bits: int) -> Any:
    return in_engine(tiny(), bits)


@cache
def alone(bits: int, ids: tuple[int, ...]) -> Tensor:
    """Logits after these ids, read one by one, by one row, on one thread."""
    model = engine(bits)
    model.threads = 1
    state = model.start(rows=1)
    for token in ids:
        logits, state = feed(model, state, [[token]])
    return logits[0]


class Schedule:
    """Rows that grow, fork, leave, are taken back and come together again, as chance has it."""

    def __init__(self, bits: int, chance: random.Random) -> None:
        self.model, self.bits, self.chance = engine(bits), bits, chance
        self.texts = [[chance.randrange(VOCABULARY) for _ in range(40)] for _ in range(3)]
        self.rows: list[list[int]] = []
        self.state = self.model.start(rows=0)
        self.checked = 0

    def run(self, moves: int) -> None:
        moves_there_are = (self.grow, self.grow, self.grow, self.join, self.fork, self.rewind, self.copy)
        self.join()
        for _ in range(moves):
            self.model.threads = self.chance.randint(1, 4)
            self.chance.choice(moves_there_are)()
        self.grow()

    def grow(self) -> None:
        """Some rows take some tokens, of the few texts there are, so that rows often agree."""
        if not self.rows:
            return
        chunks = []
        for row in self.rows:
            text = self.chance.choice(self.texts)
            count = min(self.chance.choice((0, 1, 1, 2, 5, 17)), CONTEXT - len(row))
            first = self.chance.randrange(len(text))
            chunks.append((text[first:] + text)[:count])
        every = self.chance.random() < 0.3
        logits, self.state = feed(self.model, self.state, chunks, every=every)
        for at, chunk in enumerate(chunks):
            self.rows[at] = self.rows[at] + chunk
            if chunk:
                last = logits[at, len(chunk) - 1] if every else logits[at]
                assert torch.equal(last, alone(self.bits, tuple(self.rows[at])))
                self.checked += 1

    def join(self) -> None:
        count = self.chance.randint(1, 3)
        fresh = self.model.start(rows=count)
        begun = [self.chance.choice(self.texts)[: self.chance.randint(1, 20)] for _ in range(count)]
        _, fresh = feed(self.model, fresh, begun)
        self.state, self.rows = self.state.join(fresh), self.rows + begun

    def fork(self) -> None:
        kept = [self.chance.randrange(len(self.rows)) for _ in range(self.chance.randint(1, 5))] if self.rows else []
        self.state, self.rows = self.state.select(kept), [self.rows[at] for at in kept]

    def rewind(self) -> None:
        chunks = [self.chance.choice(self.texts)[: min(4, CONTEXT - len(row))] for row in self.rows]
        _, state = feed(self.model, self.state, chunks)
        back = [self.chance.randint(0, len(chunk)) for chunk in chunks]
        self.state = state.rewind(back)
        self.rows = [row + chunk[: len(chunk) - n] for row, chunk, n in zip(self.rows, chunks, back, strict=True)]

    def copy(self) -> None:
        """A copy goes its own way; the parent must not notice."""
        parent, rows = self.state, list(self.rows)
        self.state = parent.copy()
        self.grow()
        self.state, self.rows = parent, rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bits=st.sampled_from(BITS), seed=st.integers(0, 2**32))
def test_logits_do_not_depend_on_the_schedule(bits: int, seed: int) -> None:
    schedule = Schedule(bits, random.Random(seed))
    schedule.run(6)


@pytest.mark.night
@pytest.mark.parametrize("bits", BITS)
def test_logits_do_not_depend_on_a_thousand_schedules(bits: int) -> None:
    checked = 0
    for seed in range(250):
        schedule = Schedule(bits, random.Random(seed))
        schedule.run(20)
        checked += schedule.checked
    assert checked > 5_000


def test_a_long_prompt_is_the_same_at_once_and_in_pieces() -> None:
    """Past the slice of tokens that are computed together."""
    model = in_engine(tiny(context=700), 8, threads=3)
    ids = [(7 * at * at + at) % VOCABULARY for at in range(650)]
    at_once, _ = feed(model, model.start(rows=2), [ids, ids[:300]])
    state = model.start(rows=1)
    for first in range(0, 650, 37):
        in_pieces, state = feed(model, state, [ids[first : first + 37]])
    assert torch.equal(at_once[0], in_pieces[0])
