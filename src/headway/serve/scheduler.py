"""Many clients, one model: jobs wait their turn, become rows that are written side by side, and end.

One thread owns the rows. Between two steps it takes on what came, lets go what was cancelled or is late, and gives
free rows to the client whose turn it is. A row's tokens are those it would have alone (see decoding/rows.py).
"""

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from headway.decoding.prefixes import Prefixes
from headway.decoding.row import require_constraint, require_row
from headway.decoding.rows import Emitted, Rows
from headway.decoding.scoring import Scoring, require_scorable
from headway.errors import HeadwayError, UsageError
from headway.models.protocol import AnyDecoder
from headway.serve.jobs import (
    Cut,
    Event,
    Failed,
    Handle,
    Late,
    PromptScores,
    Refused,
    SchedulerFigures,
    StepFigures,
    Token,
    WritingJob,
)
from headway.serve.limits import Limits
from headway.serve.waiting import FairQueue, Ticket

LOGGER = logging.getLogger(__name__)
_LONGEST_RETRY = 60.0  # seconds


class Scheduler:
    """Writes the jobs of many clients with one model that reads no source."""

    def __init__(
        self,
        model: AnyDecoder,
        *,
        vocabulary: int,
        limits: Limits,
        on_step: Callable[[StepFigures], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        """vocabulary: how many ids may be chosen. on_step: told of every step, on the thread that writes. on_room: told
        where `room` is another than before, on any thread, and must not ask for more than that.
        """
        self._model = model
        self._vocabulary = vocabulary
        self._limits = limits
        self._on_step = on_step
        self._on_room = on_room
        self._prefixes = Prefixes(tokens=limits.prefix_cache_tokens)
        self._rows = Rows(
            model,
            vocabulary=vocabulary,
            prefill_chunk=limits.prefill_chunk,
            prefixes=self._prefixes if limits.prefix_cache_tokens else None,
            on_failure=lambda row, error: self._row_errors.append((row, error)),
        )
        self._thread: threading.Thread | None = None
        # Read and written by all threads, under the condition.
        self._changed = threading.Condition()
        self._queue = FairQueue()
        self._running: list[Ticket] = []
        self._cancelled: list[tuple[Ticket, int | None]] = []
        self._prompt_tokens = 0
        self._draining = False
        self._cutting = False
        self._n_cut = 0
        self._seconds_a_job = 1.0  # smoothed
        self.room = (limits.queue, 1.0)
        """How many jobs would be taken on now, and after how many seconds to try again; read without a lock."""
        # The writing thread's own.
        self._by_row: dict[int, tuple[Ticket, int]] = {}
        self._scoring: deque[tuple[Ticket, Scoring]] = deque()
        self._row_errors: list[tuple[int, HeadwayError]] = []

    def start(self) -> None:
        """Begin to write. Once."""
        assert self._thread is None, "a scheduler is started once"
        self._thread = threading.Thread(target=self._work, name="headway-scheduler", daemon=True)
        self._thread.start()

    def submit(self, job: WritingJob, deliver: Callable[[Event], None]) -> Handle:
        """Take on a job. Its events come to `deliver` on the scheduler's own thread, which it must not hold up.

        Each sample ends with a Token that has a finish reason, or the whole job with one Failed. Raises Refused where
        there is no room now or the scheduler closes, UsageError and ContextError for what can never be.
        """
        self._require_possible(job)
        now = time.monotonic()
        limit = self._limits.deadline_s if job.deadline_s is None else min(job.deadline_s, self._limits.deadline_s)
        ticket = Ticket(job=job, deliver=deliver, arrived=now, deadline=now + limit)
        with self._changed:
            self._require_room(len(job.prompt_ids))
            self._queue.push(ticket)
            self._prompt_tokens += len(job.prompt_ids)
            self._tell_room()
            self._changed.notify()
        return Handle(lambda sample: self._cancel(ticket, sample))

    def require_room(self) -> None:
        """Raises Refused where not even a prompt of one token would be taken on now."""
        with self._changed:
            self._require_room(1)

    def close(self, grace_s: float) -> bool:
        """Take on no more jobs and let those there are end within so many seconds; the rest get Failed(Cut).

        True where every job ended by itself. The thread is gone then, unless a step of the model does not return.
        """
        with self._changed:
            self._draining = True
            self._tell_room()
            self._cutting = self._thread is None
            self._changed.notify()
        if self._thread is None:
            self._cut_all()
            return self._n_cut == 0
        self._thread.join(max(0.0, grace_s))
        if self._thread.is_alive():
            with self._changed:
                self._cutting = True
                self._changed.notify()
            self._thread.join(_LONGEST_RETRY)
        return not self._thread.is_alive() and self._n_cut == 0

    def figures(self) -> SchedulerFigures:
        """How things stand now; from any thread."""
        with self._changed:
            return SchedulerFigures(
                rows=self._rows_taken(),
                running=len(self._running),
                queued=len(self._queue),
                prompt_tokens=self._prompt_tokens,
                cache_tokens=self._prefixes.tokens,
                cache_hits=self._prefixes.hits,
                cache_tokens_saved=self._prefixes.tokens_saved,
            )

    def _require_possible(self, job: WritingJob) -> None:
        require_row(
            job.prompt_ids,
            job.choice,
            max_new_tokens=job.max_new_tokens or 1,
            samples=job.samples,
            logprobs=job.logprobs,
            vocabulary=self._vocabulary,
        )
        require_constraint(job.constraint, job.stop_ids, self._vocabulary)
        if job.score_prompt:
            require_scorable(self._model, job.prompt_ids)
        if job.samples > self._limits.rows:
            raise UsageError(f"at most {self._limits.rows} samples are written at once, but {job.samples} were asked")
        if len(job.prompt_ids) > self._limits.prompt_tokens:
            raise UsageError(
                f"a prompt may have {self._limits.prompt_tokens} tokens here, but this one has {len(job.prompt_ids)}"
            )

    def _require_room(self, n_prompt: int) -> None:
        if self._draining:
            raise Refused("the server is closing and takes no more requests\nTry again soon.", 5.0)
        waiting = len(self._queue)
        full = waiting >= self._limits.queue
        if full or self._prompt_tokens + n_prompt > self._limits.prompt_tokens:
            what = (
                f"{waiting} requests wait" if full else f"{self._prompt_tokens} tokens of prompts are being worked on"
            )
            after = self._retry_after_s()
            raise Refused(f"{what} already, and more are not taken on\nTry again in {after:.0f} s.", after)

    def _retry_after_s(self) -> float:
        ahead = (len(self._queue) + 1) * self._seconds_a_job / max(1, len(self._running))
        return float(math.ceil(min(_LONGEST_RETRY, max(1.0, ahead))))

    def _tell_room(self) -> None:
        limits = self._limits
        free = min(limits.queue - len(self._queue), limits.prompt_tokens - self._prompt_tokens)
        self.room = (0 if self._draining else max(0, free), self._retry_after_s())
        if self._on_room is not None:
            self._on_room()

    def _cancel(self, ticket: Ticket, sample: int | None) -> None:
        with self._changed:
            if ticket.over or (sample is not None and sample not in ticket.open):
                return
            if sample is not None and ticket.open != {sample}:
                ticket.open.discard(sample)  # nothing more of it is delivered from here on
            else:
                self._release(ticket)
            self._cancelled.append((ticket, sample))
            self._changed.notify()

    def _rows_taken(self) -> int:
        return sum(max(1, len(ticket.open)) for ticket in self._running)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._running or self._queue or self._cancelled or self._draining):
                    self._changed.wait()
                if self._cutting or not (self._running or self._queue or self._cancelled):
                    break
                cancelled, self._cancelled = self._cancelled, []
            try:
                self._turn(cancelled)
            except Exception as error:  # the thread must outlive what nobody thought of
                with self._changed:
                    everyone = [*self._queue, *self._running]
                self._fail(everyone, error)
        self._cut_all()
        self._prefixes.clear()

    def _turn(self, cancelled: list[tuple[Ticket, int | None]]) -> None:
        for ticket, sample in cancelled:
            self._drop_rows(ticket, sample)
        self._end_late()
        self._scoring = deque((ticket, scoring) for ticket, scoring in self._scoring if not ticket.over)
        self._admit()
        if len(self._rows) or self._scoring:
            self._advance()

    def _admit(self) -> None:
        """Give free rows to jobs; the one whose turn it is waits for enough of them, and none goes before it."""
        while True:
            with self._changed:
                taken = Counter[str]()
                for running in self._running:
                    taken[running.job.client] += len(running.open)
                ticket = self._queue.next(taken)
                if ticket is None or self._rows_taken() + ticket.job.samples > self._limits.rows:
                    return
                self._queue.take(ticket)
                self._running.append(ticket)
                self._tell_room()
                ticket.began = time.monotonic()
            if ticket.job.score_prompt:
                n_top = ticket.job.logprobs or 0
                self._scoring.append((ticket, Scoring(self._model, ticket.job.prompt_ids, n_top=n_top)))
            else:
                self._add_rows(ticket)

    def _add_rows(self, ticket: Ticket) -> None:
        job = ticket.job
        try:
            rows = self._rows.add(
                job.prompt_ids,
                job.choice,
                max_new_tokens=job.max_new_tokens,
                samples=job.samples,
                stop_ids=job.stop_ids,
                logprobs=job.logprobs,
                scored=job.scored,
                constraint=job.constraint,
            )
        except Exception as error:  # whatever it is, it is this job's
            self._fail([ticket], error)
            return
        for sample, row in enumerate(rows):
            self._by_row[row] = (ticket, sample)
            ticket.rows[sample] = row
        for sample in set(range(job.samples)) - ticket.open:  # cancelled while the prompt was scored
            self._drop_rows(ticket, sample)

    def _advance(self) -> None:
        """One chunk of one prompt being scored, and one step of the rows."""
        began = time.monotonic()
        n_rows = len(self._rows)
        emitted: list[Emitted] = []
        if self._scoring:
            self._score()
        try:
            if n_rows:
                emitted = self._rows.step()
        except Exception as error:  # the model's, or memory ended: all rows are gone, and new ones may do better
            failed = list(dict.fromkeys(ticket for ticket, _ in self._by_row.values()))
            self._by_row.clear()
            self._fail(failed, error)
        now = time.monotonic()
        for one in emitted:
            self._hand_out(one, now)
        errors, self._row_errors = self._row_errors, []
        for row, row_error in errors:
            if row in self._by_row:
                ticket, _ = self._by_row[row]
                self._fail([ticket], row_error)
        self._observe(StepFigures(seconds=now - began, rows=n_rows, tokens=len(emitted), queued=len(self._queue)))

    def _observe(self, figures: StepFigures) -> None:
        if self._on_step is None:
            return
        try:
            self._on_step(figures)
        except Exception:
            LOGGER.exception("an observer of the steps failed; it is not told of any more")
            self._on_step = None

    def _score(self) -> None:
        ticket, scoring = self._scoring.popleft()
        try:
            if not scoring.finished:
                scoring.step(self._limits.prefill_chunk)
        except Exception as error:  # of this prompt's own state
            self._fail([ticket], error)
            return
        if not scoring.finished:
            self._scoring.append((ticket, scoring))
            return
        if not ticket.job.max_new_tokens:
            with self._changed:
                self._release(ticket)
        self._tell(ticket, PromptScores(logprobs=scoring.logprobs, tops=scoring.tops))
        if not ticket.over:
            self._add_rows(ticket)

    def _hand_out(self, emitted: Emitted, now: float) -> None:
        ticket, sample = self._by_row[emitted.row]
        with self._changed:
            if ticket.over or sample not in ticket.open:
                return  # cancelled during the step; its row goes before the next
            if emitted.finish_reason is not None:
                del self._by_row[emitted.row]
                ticket.open.discard(sample)
                if not ticket.open:
                    self._release(ticket)
        self._tell(
            ticket,
            Token(
                sample=sample,
                id=emitted.id,
                logprob=emitted.logprob,
                top=emitted.top,
                finish_reason=emitted.finish_reason,
                windowed=emitted.windowed,
                at_monotonic=now,
            ),
        )

    def _end_late(self) -> None:
        now = time.monotonic()
        with self._changed:
            late = [ticket for ticket in (*self._queue, *self._running) if ticket.deadline <= now]
        for ticket in late:
            self._fail(
                [ticket],
                Late(f"the request took longer than {ticket.deadline - ticket.arrived:g} s\nAsk for fewer tokens."),
            )

    def _cut_all(self) -> None:
        with self._changed:
            left = [*self._queue, *self._running]
            self._n_cut += len(left)
        self._fail(left, Cut("the server closed before the request was done\nTry again soon."))

    def _fail(self, tickets: Iterable[Ticket], error: BaseException) -> None:
        if not isinstance(error, HeadwayError):
            LOGGER.error("a step of the model failed; its requests are told, new ones are taken on", exc_info=error)
        for ticket in tickets:
            with self._changed:
                if ticket.over:
                    continue
                self._release(ticket)
            self._drop_rows(ticket, None)
            self._tell(ticket, Failed(error=error))

    def _release(self, ticket: Ticket) -> None:
        """The job is over: what it took is free. Called under the condition, once a ticket."""
        ticket.over = True
        self._prompt_tokens -= len(ticket.job.prompt_ids)
        if not self._queue.remove(ticket):
            self._running.remove(ticket)
            self._seconds_a_job += 0.1 * (time.monotonic() - ticket.began - self._seconds_a_job)
        self._tell_room()

    def _drop_rows(self, ticket: Ticket, sample: int | None) -> None:
        """Let go of a sample's row, or all of them. On the writing thread."""
        for one, row in list(ticket.rows.items()):
            if sample is None or one == sample or ticket.over:
                del ticket.rows[one]
                if self._by_row.pop(row, None) is not None:
                    self._rows.cancel(row)

    def _tell(self, ticket: Ticket, event: Event) -> None:
        try:
            ticket.deliver(event)
        except Exception:
            LOGGER.exception("an event could not be delivered; its request is let go")
            self._cancel(ticket, None)
