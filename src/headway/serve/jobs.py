"""What is handed to a scheduler, what comes back of it, and how it refuses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headway.decoding.choice import Choice
from headway.decoding.constraints import Constraint
from headway.decoding.rows import Alternatives, Emitted, FinishReason
from headway.errors import ResourceError, UsageError


class Refused(ResourceError):
    """There is no room for another job now; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Cut(ResourceError):
    """The scheduler closed before the job was done."""


class Late(ResourceError):
    """The job's time was over before it was done."""


@dataclass(frozen=True, kw_only=True)
class WritingJob:
    """Continue a prompt.

    prompt_ids: at least one. samples: continuations, which differ by their sample number as `Writer.write` numbers
    them. stop_ids: end a continuation and are delivered too. logprobs: how many alternatives to name at each token.
    scored: False where nobody wants the tokens' own log-probabilities, which are NaN then. constraint: see
    decoding/constraints.py; its end id must be among the stop ids. score_prompt: deliver the prompt's own
    log-probabilities first; max_new_tokens may be 0 then. client: whose turn it is; the clients take turns.
    deadline_s: seconds from now, where that is sooner than the scheduler's own limit.
    """

    prompt_ids: Sequence[int]
    choice: Choice
    max_new_tokens: int
    samples: int = 1
    stop_ids: frozenset[int] = frozenset()
    logprobs: int | None = None
    scored: bool = True
    constraint: Constraint | None = None
    score_prompt: bool = False
    client: str = ""
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for nothing to do or a deadline that is no time."""
        if self.max_new_tokens == 0 and not self.score_prompt:
            raise UsageError("max_new_tokens must be at least 1, but got 0\nIt may be 0 where the prompt is scored.")
        if self.deadline_s is not None and not 0 < self.deadline_s < math.inf:
            raise UsageError(f"deadline_s must be a number of seconds above 0, but got {self.deadline_s!r}")


@dataclass(frozen=True, kw_only=True)
class Token:
    """The next token of one sample; see `Emitted`. The last one of a sample has a finish reason."""

    sample: int
    id: int
    logprob: float
    top: Alternatives
    finish_reason: FinishReason | None
    windowed: bool
    at_monotonic: float

    def emitted(self) -> Emitted:
        """The same as decoding and tasks know it, with the sample as its row."""
        return Emitted(
            row=self.sample,
            id=self.id,
            logprob=self.logprob,
            top=self.top,
            finish_reason=self.finish_reason,
            windowed=self.windowed,
        )


@dataclass(frozen=True, kw_only=True)
class PromptScores:
    """The log-probability of each token of the prompt, None for the first, and the most probable in its place.

    Delivered once, before any token. It is the job's end where max_new_tokens is 0.
    """

    logprobs: Sequence[float | None]
    tops: Sequence[Alternatives]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The whole job ended, all of its samples with it: a HeadwayError, or what else went wrong inside."""

    error: BaseException


Event = Token | PromptScores | Failed
Deliver = Callable[[Event], None]


class Handle:
    """A job that was taken on."""

    def __init__(self, cancel: Callable[[int | None], None]) -> None:
        self._cancel = cancel

    def cancel(self, sample: int | None = None) -> None:
        """Let a sample go, or the whole job, from any thread; its rows are gone before the next step.

        Nothing more of it is delivered, also no Failed, but for what is on its way already. One that is over stays so.
        """
        self._cancel(sample)


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """What one step did: how long it took, the rows it was for, the tokens it wrote, the jobs that wait."""

    seconds: float
    rows: int
    tokens: int
    queued: int


@dataclass(frozen=True, kw_only=True)
class SchedulerFigures:
    """How things stand now: rows taken, jobs running and waiting, tokens of their prompts and of the prefix cache.

    cache_hits, cache_tokens_saved: since the start, prompts that went on from the cache and tokens not read for it.
    """

    rows: int
    running: int
    queued: int
    prompt_tokens: int
    cache_tokens: int
    cache_hits: int
    cache_tokens_saved: int
