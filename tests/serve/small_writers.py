"""Small models to serve, a decoder that can be watched and disturbed, and what a client of a scheduler sees."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from headway.decoding.rows import Rows
from headway.engine.extension import is_built
from headway.models.gpt2 import GPT2, GPT2Config
from headway.serve.jobs import Event, Failed, PromptScores, Token, WritingJob

VOCABULARY, CONTEXT = 61, 83
PATIENCE = 120.0  # seconds until a test that hangs says so


def small_gpt2(**settings: Any) -> GPT2:
    torch.manual_seed(5)
    sizes = {"vocabulary": VOCABULARY, "context": CONTEXT, "width": 14, "n_layers": 2, "n_heads": 2}
    return GPT2(GPT2Config(**{**sizes, "initial_deviation": 0.6, **settings})).eval()


def small_writer(kind: str, **settings: Any) -> Any:
    """A model in PyTorch ("torch") or in the engine ("engine")."""
    model = small_gpt2(**settings)
    if kind == "torch":
        return model
    if not is_built():
        pytest.skip("the engine is not built")
    from headway.engine.compile import compiled

    return compiled(model, "gpt2", bits=8, threads=1)


class Watched:
    """A decoder that notes its steps; `fail` makes the next one fail, `gate` holds up each while it is closed."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.context = model.context
        self.rows_at_steps: list[int] = []
        self.widths_at_steps: list[int] = []
        self.n_fed = 0
        self.fail: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()

    def start(self, *sources: Any, **settings: Any) -> Any:
        return self._model.start(*sources, **settings)

    def step(self, ids: Any, counts: Any, state: Any, **settings: Any) -> Any:
        self.gate.wait(PATIENCE)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        self.rows_at_steps.append(len(counts))
        self.widths_at_steps.append(ids.shape[1])
        self.n_fed += int(counts.sum())
        return self._model.step(ids, counts, state, **settings)


class Client:
    """Collects the events of a job; `after` is called with each event once it is noted."""

    def __init__(self, after: Callable[[Event], None] | None = None) -> None:
        self.tokens: dict[int, list[Token]] = {}
        self.scores: PromptScores | None = None
        self.error: BaseException | None = None
        self.events: list[Event] = []
        self._after = after
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            if isinstance(event, Token):
                self.tokens.setdefault(event.sample, []).append(event)
            elif isinstance(event, Failed):
                self.error = event.error
            else:
                self.scores = event
            self._changed.notify_all()
        if self._after is not None:
            self._after(event)

    def ids(self, sample: int = 0) -> list[int]:
        return [token.id for token in self.tokens.get(sample, [])]

    def n_ended(self) -> int:
        return sum(tokens[-1].finish_reason is not None for tokens in self.tokens.values())

    def wait_until(self, holds: Callable[["Client"], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), PATIENCE), "this did not come"

    def wait(self, samples: int = 1) -> None:
        """Until the job failed or so many samples ended."""
        self.wait_until(lambda client: client.error is not None or client.n_ended() == samples)


def written_alone(model: Any, job: WritingJob) -> list[list[int]]:
    """The ids of each sample of a job when nothing else is written."""
    rows = Rows(model, vocabulary=VOCABULARY)
    numbers = rows.add(
        job.prompt_ids,
        job.choice,
        max_new_tokens=job.max_new_tokens,
        samples=job.samples,
        stop_ids=job.stop_ids,
        constraint=job.constraint,
    )
    found: dict[int, list[int]] = {number: [] for number in numbers}
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
    return [found[number] for number in numbers]


def prompt_of(length: int, start: int = 1) -> Sequence[int]:
    return [(5 * at * at + 3 * at + start) % VOCABULARY for at in range(length)]
