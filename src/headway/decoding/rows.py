"""The one decoding loop: rows join, take a token or an agreed run each at every step, and leave when they are done.

A row's tokens depend on its prompt and its `Choice` alone, never on which rows run beside it (contract tests hold
this). Prompts are read in chunks between the steps of the rows that write already, so a long one does not stop them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from headway.decoding import window
from headway.decoding.choice import Choice
from headway.decoding.feed import begin, feed_for_choice, require_source
from headway.decoding.logits import (
    Logits,
    alternatives,
    first_highest,
    logprobs_of,
    require_finite,
    without_gradients,
)
from headway.decoding.prefixes import Prefixes
from headway.decoding.row import FinishReason as FinishReason
from headway.decoding.row import Reading, Row, Taken, choose_for, require_constraint, require_row, shares
from headway.decoding.speculation import Asked, Drafter
from headway.errors import ConfigError, HeadwayError, UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    from headway.decoding.constraints import Constraint

T = TypeVar("T")
Alternatives = tuple[tuple[int, float], ...]
"""Ids and their log-probabilities, the most probable first."""


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """One token of one row.

    logprob, top: the model's own distribution over its full vocabulary, before bias, penalties, temperature and
    filters; logprob is NaN in a row that is not scored. finish_reason: "stop" where `id` is one of the row's stop ids
    (it is emitted too), "length" for the last of max_new_tokens, None where the row goes on. windowed: the model no
    longer saw all of the row's text.
    """

    row: int
    id: int
    logprob: float
    top: Alternatives
    finish_reason: FinishReason | None
    windowed: bool


class Rows:
    """A model and the rows that it writes at present."""

    def __init__(
        self,
        model: AnyDecoder,
        *,
        vocabulary: int | None = None,
        prefill_chunk: int = 512,
        drafter: Drafter | None = None,
        prefixes: Prefixes | None = None,
        on_failure: Callable[[int, HeadwayError], None] | None = None,
    ) -> None:
        """Nothing is run yet.

        vocabulary: how many ids may be chosen, where the model's own vocabulary is padded past the tokenizer's;
        None: all. prefill_chunk: prompt tokens read in one step, shared by the prompts being read. drafter: proposes
        tokens, which changes how many come at a step and never which (see speculation.py); it serves these rows
        alone. prefixes: remembers texts that were read, so that prompts that begin alike are not read again; this
        model's alone. on_failure: told the number and the error of a row that cannot go on though the others can (a
        bias that forbids every id, a constraint too complex to follow), which is let go; None: the step raises it.
        Put the model in evaluation mode first: dropout would make rows unrepeatable.
        """
        if prefill_chunk < 1:
            raise ConfigError(f"prefill_chunk must be at least 1, but got {prefill_chunk}")
        self._model = model
        self._vocabulary = vocabulary
        self._chunk = prefill_chunk
        self._drafter = drafter
        self._prefixes = prefixes
        self._on_failure = on_failure
        self._next = 0
        self._reads_source = False
        self._arriving: list[Reading] = []
        self._reading: list[Reading] = []
        self._writing: list[Row] = []
        self._reading_state: Any = None
        self._state: Any = None

    def __len__(self) -> int:
        """How many rows are not finished; those whose prompt is still being read included."""
        return len(self._writing) + sum(len(reading.rows) for reading in self._arriving + self._reading)

    def add(
        self,
        prompt_ids: Sequence[int],
        choice: Choice,
        *,
        max_new_tokens: int,
        samples: int = 1,
        stop_ids: frozenset[int] = frozenset(),
        logprobs: int | None = None,
        scored: bool = True,
        source: Sequence[int] | None = None,
        constraint: "Constraint | None" = None,
    ) -> list[int]:
        """Put in a prompt; it is read and written on from the next `step`. Returns one row number a sample.

        The samples share one reading of the prompt and differ by their sample number, 0 to samples - 1. logprobs: how
        many alternatives each `Emitted.top` names. scored: False leaves out `Emitted.logprob`, which takes a pass over
        the vocabulary at each token. source: what a model that reads one is to read, the end id behind it; the prompt
        is the start id then, and a forced prefix. constraint: what the continuation must follow; its end id must be
        among the stop ids. A prompt past the context is cut (see window.py).
        Raises UsageError for an empty prompt or source, an id outside the vocabulary, a count below 1, or where some
        rows have a source and others none, ContextError for a source past the context.
        """
        require_row(
            prompt_ids,
            choice,
            max_new_tokens=max_new_tokens,
            samples=samples,
            logprobs=logprobs,
            vocabulary=self._vocabulary,
        )
        require_constraint(constraint, stop_ids, self._vocabulary)
        self._check_source(source)
        fits = window.fitting(prompt_ids, self._model.context)
        rows = [
            Row(
                number=self._next + sample,
                sample=sample,
                choice=choice,
                ids=list(prompt_ids),
                n_prompt=len(prompt_ids),
                max_new_tokens=max_new_tokens,
                stop_ids=stop_ids,
                n_top=logprobs or 0,
                scored=scored,
                source=source,
                progress=None if constraint is None else constraint.begin(),
                windowed=len(fits) < len(prompt_ids),
            )
            for sample in range(samples)
        ]
        self._next += samples
        self._arriving.append(Reading(ids=list(fits), rows=rows))
        return [row.number for row in rows]

    def step(self) -> list[Emitted]:
        """One token of every row that writes, one chunk of every prompt being read and its first token where it ends.

        With a drafter a row's token can be followed by more of its own, in order. May be empty while prompts are
        read; call it while `len(rows)` is above 0. An error lets all rows go.
        """
        try:
            with without_gradients():
                return self._write() + self._read()
        except BaseException:
            self._clear()
            raise

    def cancel(self, row: int) -> bool:
        """Let a row go; False where it was finished already. Raises UsageError for a number that never was a row."""
        if not 0 <= row < self._next:
            raise UsageError(f"cancel takes a row number that add returned, but got {row}")
        with without_gradients():
            for at, writing in enumerate(self._writing):
                if writing.number == row:
                    self._keep_writing([other for other in range(len(self._writing)) if other != at])
                    self._forget([writing])
                    return True
            for reading in self._arriving + self._reading:
                unwanted = [waiting for waiting in reading.rows if waiting.number == row]
                if unwanted:
                    reading.rows = [waiting for waiting in reading.rows if waiting.number != row]
                    self._drop_unwanted()
                    self._forget(unwanted)
                    return True
        return False

    def _write(self) -> list[Emitted]:
        context = self._model.context
        full = [at for at, row in enumerate(self._writing) if window.is_full(row.held, context)]
        if full:
            for at in full:
                row = self._writing[at]
                row.windowed = True
                assert context is not None
                self._arriving.append(Reading(ids=window.restart(row.ids, context), rows=[row]))
            self._keep_writing([at for at in range(len(self._writing)) if at not in full])
        if not self._writing:
            return []
        proposals = self._proposals()
        if any(proposals):
            emitted = self._write_runs(proposals)
        else:
            logits, self._state = feed_for_choice(self._model, self._state, [row.ids[-1:] for row in self._writing])
            for row in self._writing:
                row.held += 1
            emitted = self._emit(self._writing, logits)
        if self._prefixes is not None:
            self._prefixes.remember_written(self._writing, self._state)
        self._forget(row for row in self._writing if row.finished)
        self._keep_writing([at for at, row in enumerate(self._writing) if not row.finished])
        return emitted

    def _proposals(self) -> list[list[int]]:
        if self._drafter is None:
            return []
        context = self._model.context
        asked = [
            Asked(
                number=row.number,
                ids=row.ids,
                room=row.room(context),
                choice=row.choice,
                sample=row.sample,
                position=row.position,
            )
            for row in self._writing
        ]
        return self._drafter.propose(asked)

    def _write_runs(self, proposals: list[list[int]]) -> list[Emitted]:
        """Verify the proposals of all rows in one step; take back what was rejected; then as without them."""
        assert self._drafter is not None
        new = [[row.ids[-1], *proposal] for row, proposal in zip(self._writing, proposals, strict=True)]
        logits, state = feed_for_choice(self._model, self._state, new, every=True)  # (B, T, V)
        emitted = []
        back = []
        for row, proposal, every in zip(self._writing, proposals, logits, strict=True):
            taken = self._verify(row, proposal, every[: len(proposal) + 1])
            emitted += _emitted(taken, every[: len(taken)])
            row.held += len(taken)
            back.append(1 + len(proposal) - len(taken))
            if proposal and not row.finished:
                self._drafter.learn(row.number, len(taken) - 1)
        self._state = state.rewind(back)
        return emitted

    def _verify(self, row: Row, proposal: Sequence[int], logits: Logits) -> list[Taken]:
        """The row's own choices, position by position, as long as they are what was proposed; logits (T, V)."""
        allowed = logits[:, : self._vocabulary]
        likeliest = first_highest(allowed) if row.choice.plain and row.progress is None else None
        taken = []
        for position, proposed in enumerate([*proposal, None]):
            here = allowed[position : position + 1]
            if likeliest is None:
                token = choose_for(here, [row])[0]
            else:
                require_finite(here)
                token = likeliest[position]
            taken.append(row.take(token))
            if row.finished or token != proposed:
                break
        return taken

    def _read(self) -> list[Emitted]:
        if self._arriving:
            self._begin_reading()
        if not self._reading:
            return []
        widths = shares([len(reading.ids) - reading.fed for reading in self._reading], self._chunk)
        new = [reading.next(width) for reading, width in zip(self._reading, widths, strict=True)]
        logits, state = feed_for_choice(self._model, self._reading_state, new)
        for reading, width in zip(self._reading, widths, strict=True):
            reading.advance(width)
        if self._prefixes is not None:
            self._prefixes.remember_read(self._reading, state)
        read = [at for at, reading in enumerate(self._reading) if reading.fed == len(reading.ids)]
        going = [at for at in range(len(self._reading)) if at not in read]
        rows = [(at, row) for at in read for row in self._reading[at].rows]
        for at, row in rows:
            row.held = self._reading[at].fed
        emitted = self._emit([row for _, row in rows], logits[[at for at, _ in rows]]) if rows else []
        self._forget(row for _, row in rows if row.finished)
        alive = [(at, row) for at, row in rows if not row.finished]
        self._reading = [self._reading[at] for at in going]
        if alive:
            begun = (state.copy() if going else state).select([at for at, _ in alive])
            self._state = _joined(self._state, begun)
            self._writing += [row for _, row in alive]
        self._reading_state = state.select(going) if going else None
        return emitted

    def _begin_reading(self) -> None:
        """Start the state of each prompt that arrived: empty, or that of a text it begins with."""
        known = [
            self._prefixes.longest(reading.ids) if self._prefixes and reading.rows[0].source is None else None
            for reading in self._arriving
        ]
        anew = [reading for reading, held in zip(self._arriving, known, strict=True) if held is None]
        if anew:
            sources = [reading.rows[0].source for reading in anew]
            begun = begin(self._model, sources, range(len(sources)))
            self._reading_state = _joined(self._reading_state, begun)
        self._reading += anew
        for reading, held in zip(self._arriving, known, strict=True):
            if held is not None:
                reading.fed = held.length
                self._reading_state = _joined(self._reading_state, held.state.copy())
                self._reading.append(reading)
        self._arriving = []

    def _emit(self, rows: Sequence[Row], logits: Logits) -> list[Emitted]:
        """Choose a token for each row; logits (B, V). A row that fails alone gets none, and is finished."""
        allowed = logits[:, : self._vocabulary]
        chosen: Sequence[int | None]
        try:
            chosen = choose_for(allowed, rows)
        except UsageError:
            if self._on_failure is None:
                raise
            alone = [self._alone(row, partial(choose_for, allowed[at : at + 1], [row])) for at, row in enumerate(rows)]
            chosen = [ids[0] if ids else None for ids in alone]
        taken = []
        for at, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            if token is not None and (one := self._alone(row, partial(row.take, token))) is not None:
                taken.append((at, one))
        if not taken:
            return []
        of_taken = logits if len(taken) == len(rows) else logits[[at for at, _ in taken]]
        return _emitted([one for _, one in taken], of_taken)

    def _alone(self, row: Row, work: Callable[[], T]) -> T | None:
        """What the work gives, or None where it failed of something that is this row's own."""
        try:
            return work()
        except UsageError as error:
            if self._on_failure is None:
                raise
            row.failure = error
            self._on_failure(row.number, error)
            return None

    def _forget(self, rows: Iterable[Row]) -> None:
        if self._drafter is not None:
            for row in rows:
                self._drafter.forget(row.number)

    def _keep_writing(self, kept: list[int]) -> None:
        if len(kept) == len(self._writing):
            return
        self._writing = [self._writing[at] for at in kept]
        self._state = self._state.select(kept) if kept else None

    def _drop_unwanted(self) -> None:
        self._arriving = [reading for reading in self._arriving if reading.rows]
        kept = [at for at, reading in enumerate(self._reading) if reading.rows]
        if len(kept) < len(self._reading):
            self._reading = [self._reading[at] for at in kept]
            self._reading_state = self._reading_state.select(kept) if kept else None

    def _check_source(self, source: Sequence[int] | None) -> None:
        if len(self) and self._reads_source != (source is not None):
            raise UsageError("either all rows of one scheduler have a source, or none has")
        require_source(self._model, source)
        self._reads_source = source is not None

    def _clear(self) -> None:
        for rows in (self._writing, *(reading.rows for reading in self._arriving + self._reading)):
            self._forget(rows)
        self._arriving, self._reading, self._writing = [], [], []
        self._reading_state = self._state = None
        if self._prefixes is not None:
            self._prefixes.clear()  # where memory ended, this is what can be given back


def _joined(state: Any, other: Any) -> Any:
    return other if state is None else state.join(other)


def _emitted(taken: Sequence[Taken], logits: Logits) -> list[Emitted]:
    """What is told of each token; logits (N, V), those it was chosen from."""
    scored = [at for at, one in enumerate(taken) if one.row.scored]
    of_scored = logits if len(scored) == len(taken) else logits[scored]
    own = dict(zip(scored, logprobs_of(of_scored, [taken[at].id for at in scored]), strict=True)) if scored else {}
    return [
        Emitted(
            row=one.row.number,
            id=one.id,
            logprob=own.get(at, math.nan),
            top=alternatives(logits[at], one.row.n_top) if one.row.n_top else (),
            finish_reason=one.reason,
            windowed=one.row.windowed,
        )
        for at, one in enumerate(taken)
    ]
