"""A draft model's own state: it proposes what it would write itself, whatever became of its proposals before."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import TableDecoder

from headway.decoding.choice import Choice, choose
from headway.decoding.draft import DraftModel
from headway.decoding.rows import Rows
from headway.decoding.speculation import Asked

GREEDY = Choice(temperature=0)


@settings(max_examples=60, deadline=None)
@given(
    prompts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=25), min_size=1, max_size=3),
    rounds=st.lists(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=3, max_size=3), max_size=12),
    context=st.sampled_from([None, 11, 17]),
    seed=st.integers(0, 99),
)
def test_proposals_are_the_draft_s_own_continuation_whatever_was_accepted(
    prompts: list[list[int]], rounds: list[list[tuple[int, int]]], context: int | None, seed: int
) -> None:
    """Each round accepts some of what was proposed, appends other tokens, and asks again."""
    draft = TableDecoder(7, seed=1, context=context)
    drafter = DraftModel(draft)
    texts = [list(prompt) for prompt in prompts]
    chance = random.Random(seed)
    for changes in rounds:
        going = [at for at in range(len(texts)) if chance.random() < 0.8]
        choices = [GREEDY if at == 0 else Choice(seed=at) for at in range(len(texts))]
        rows = [
            Asked(
                number=at,
                ids=texts[at],
                room=chance.randint(0, 9),
                choice=choices[at],
                sample=0,
                position=len(texts[at]) - len(prompts[at]),
            )
            for at in going
        ]
        proposals = drafter.propose(rows)
        for at, row, proposal in zip(going, rows, proposals, strict=True):
            assert len(proposal) <= row.room
            assert proposal == own_continuation(draft, row, len(proposal))
            n_right, n_more = changes[at]
            accepted = min(n_right, len(proposal))
            if proposal:
                drafter.learn(at, accepted)
            texts[at] += [*proposal[:accepted], *chance.choices(range(7), k=1 + n_more)]


def own_continuation(draft: TableDecoder, row: Asked, n: int) -> list[int]:
    """What the table gives after the row's last two tokens, by the row's own choices."""
    text = list(row.ids)
    for at in range(n):
        logits = draft.logits(text)[None]
        text += choose(logits, [row.choice], [text], [row.sample], [row.position + at])
    return text[len(row.ids) :]


def test_a_draft_reads_a_long_prompt_in_chunks_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.decoding.draft._CHUNK", 4)
    monkeypatch.setattr("headway.decoding.draft._LEAST_READ", 4)
    model, draft = TableDecoder(7, seed=3), TableDecoder(7, seed=3)
    rows = Rows(model, drafter=DraftModel(draft))
    rows.add([1, 2, 3] * 5, GREEDY, max_new_tokens=60)
    steps = []
    while len(rows):
        before = draft.n_fed
        steps.append(len(rows.step()))
        assert draft.n_fed - before <= 4 + 9
    assert steps[:5] == [1, 1, 1, 1, 1]  # the draft follows at four tokens a step, while the row goes on
    assert max(steps) == 9
