"""The one decoding loop: rows join, take a token or an agreed run each at every step, and leave when they are done.

A row's tokens depend on its prompt and its `Choice` alone, never on which rows run beside it (contract tests hold
this). Prompts are read in chunks between the steps of the rows that write already, so a long one does not stop them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from headway.decoding import window
from headway.decoding.choice import Choice, choose, require_finite
from headway.decoding.feed import begin, feed, require_source
from headway.decoding.ranking import first_highest, highest
from headway.decoding.speculation import Asked, Drafter
from headway.errors import ConfigError, UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    from torch import Tensor

FinishReason = Literal["stop", "length"]
Alternatives = tuple[tuple[int, float], ...]
"""Ids and their log-probabilities, the most probable first."""


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """One token of one row.

    logprob, top: the model's own distribution over its full vocabulary, before bias, penalties, temperature and
    filters. finish_reason: "stop" where `id` is one of the row's stop ids (it is emitted too), "length" for the last
    of max_new_tokens, None where the row goes on. windowed: the model no longer saw all of the row's text.
    """

    row: int
    id: int
    logprob: float
    top: Alternatives
    finish_reason: FinishReason | None
    windowed: bool


@dataclass(kw_only=True)
class _Row:
    number: int
    sample: int
    choice: Choice
    ids: list[int]  # prompt and continuation
    n_prompt: int
    max_new_tokens: int
    stop_ids: frozenset[int]
    n_top: int
    source: Sequence[int] | None
    held: int = 0  # tokens in the state
    windowed: bool = False
    reason: FinishReason | None = None

    @property
    def position(self) -> int:
        return len(self.ids) - self.n_prompt

    @property
    def finished(self) -> bool:
        return self.reason is not None

    def room(self, context: int | None) -> int:
        """How many tokens may be proposed: the last one is fed before them, and one more is chosen after them."""
        wanted = self.max_new_tokens - self.position - 1
        return wanted if context is None else min(wanted, context - self.held - 1)

    def take(self, token: int) -> "_Taken":
        self.ids.append(token)
        if token in self.stop_ids:
            self.reason = "stop"
        elif self.position >= self.max_new_tokens:
            self.reason = "length"
        return _Taken(self, token, self.reason)


class _Taken(NamedTuple):
    row: _Row
    id: int
    reason: FinishReason | None


@dataclass(kw_only=True)
class _Reading:
    """A prompt on its way into the model, and the rows that will go on from it."""

    ids: Sequence[int]
    rows: list[_Row]
    fed: int = field(default=0)

    def next(self, width: int) -> Sequence[int]:
        return self.ids[self.fed : self.fed + width]


class Rows:
    """A model and the rows that it writes at present."""

    def __init__(
        self,
        model: AnyDecoder,
        *,
        vocabulary: int | None = None,
        prefill_chunk: int = 512,
        drafter: Drafter | None = None,
    ) -> None:
        """Nothing is run yet.

        vocabulary: how many ids may be chosen, where the model's own vocabulary is padded past the tokenizer's;
        None: all. prefill_chunk: prompt tokens read in one step, shared by the prompts being read. drafter: proposes
        tokens, which changes how many come at a step and never which (see speculation.py); it serves these rows
        alone. Put the model in evaluation mode first: dropout would make rows unrepeatable.
        """
        if prefill_chunk < 1:
            raise ConfigError(f"prefill_chunk must be at least 1, but got {prefill_chunk}")
        self._model = model
        self._vocabulary = vocabulary
        self._chunk = prefill_chunk
        self._drafter = drafter
        self._next = 0
        self._reads_source = False
        self._arriving: list[_Reading] = []
        self._reading: list[_Reading] = []
        self._writing: list[_Row] = []
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
        source: Sequence[int] | None = None,
    ) -> list[int]:
        """Put in a prompt; it is read and written on from the next `step`. Returns one row number a sample.

        The samples share one reading of the prompt and differ by their sample number, 0 to samples - 1. logprobs: how
        many alternatives each `Emitted.top` names. source: what a model that reads one is to read, the end id behind
        it; the prompt is the start id then, and a forced prefix. A prompt past the context is cut (see window.py).
        Raises UsageError for an empty prompt or source, an id outside the vocabulary, a count below 1, or where some
        rows have a source and others none, ContextError for a source past the context.
        """
        if not prompt_ids:
            raise UsageError("a prompt must have at least one id; start from the end-of-text id where there is none")
        for name, value in (("max_new_tokens", max_new_tokens), ("samples", samples)):
            if value < 1:
                raise UsageError(f"{name} must be at least 1, but got {value}")
        if logprobs is not None and logprobs < 0:
            raise UsageError(f"logprobs must be at least 0, or None, but got {logprobs}")
        self._check_ids([*prompt_ids, *choice.bias])
        self._check_source(source)
        fits = window.fitting(prompt_ids, self._model.context)
        rows = [
            _Row(
                number=self._next + sample,
                sample=sample,
                choice=choice,
                ids=list(prompt_ids),
                n_prompt=len(prompt_ids),
                max_new_tokens=max_new_tokens,
                stop_ids=stop_ids,
                n_top=logprobs or 0,
                source=source,
                windowed=len(fits) < len(prompt_ids),
            )
            for sample in range(samples)
        ]
        self._next += samples
        self._arriving.append(_Reading(ids=list(fits), rows=rows))
        return [row.number for row in rows]

    def step(self) -> list[Emitted]:
        """One token of every row that writes, one chunk of every prompt being read and its first token where it ends.

        With a drafter a row's token can be followed by more of its own, in order. May be empty while prompts are
        read; call it while `len(rows)` is above 0. An error lets all rows go.
        """
        import torch

        try:
            with torch.inference_mode():
                return self._write() + self._read()
        except BaseException:
            self._clear()
            raise

    def cancel(self, row: int) -> bool:
        """Let a row go; False where it was finished already. Raises UsageError for a number that never was a row."""
        import torch

        if not 0 <= row < self._next:
            raise UsageError(f"cancel takes a row number that add returned, but got {row}")
        with torch.inference_mode():
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
                self._arriving.append(_Reading(ids=window.restart(row.ids, context), rows=[row]))
            self._keep_writing([at for at in range(len(self._writing)) if at not in full])
        if not self._writing:
            return []
        proposals = self._proposals()
        if any(proposals):
            emitted = self._write_runs(proposals)
        else:
            logits, self._state = feed(self._model, self._state, [row.ids[-1:] for row in self._writing])
            for row in self._writing:
                row.held += 1
            emitted = self._emit(self._writing, logits)
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
        logits, state = feed(self._model, self._state, new, every=True)  # (B, T, V)
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

    def _verify(self, row: _Row, proposal: Sequence[int], logits: "Tensor") -> list[_Taken]:
        """The row's own choices, position by position, as long as they are what was proposed; logits (T, V)."""
        allowed = logits[:, : self._vocabulary]
        likeliest = first_highest(allowed) if row.choice.plain else None
        taken = []
        for position, proposed in enumerate([*proposal, None]):
            here = allowed[position : position + 1]
            if likeliest is None:
                token = choose(here, [row.choice], [row.ids], [row.sample], [row.position])[0]
            else:
                require_finite(here)
                token = likeliest[position]
            taken.append(row.take(token))
            if row.finished or token != proposed:
                break
        return taken

    def _read(self) -> list[Emitted]:
        if self._arriving:
            sources = [reading.rows[0].source for reading in self._arriving]
            begun = begin(self._model, sources, range(len(sources)))
            self._reading_state = _joined(self._reading_state, begun)
            self._reading += self._arriving
            self._arriving = []
        if not self._reading:
            return []
        width = max(1, self._chunk // len(self._reading))
        logits, state = feed(self._model, self._reading_state, [reading.next(width) for reading in self._reading])
        for reading in self._reading:
            reading.fed = min(reading.fed + width, len(reading.ids))
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

    def _emit(self, rows: Sequence[_Row], logits: "Tensor") -> list[Emitted]:
        """Choose a token for each row; logits (B, V)."""
        chosen = choose(
            logits[:, : self._vocabulary],
            [row.choice for row in rows],
            [row.ids for row in rows],
            [row.sample for row in rows],
            [row.position for row in rows],
        )
        return _emitted([row.take(token) for row, token in zip(rows, chosen, strict=True)], logits)

    def _forget(self, rows: Iterable[_Row]) -> None:
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

    def _check_ids(self, ids: Sequence[int]) -> None:
        if self._vocabulary is not None and not all(0 <= token < self._vocabulary for token in ids):
            wrong = next(token for token in ids if not 0 <= token < self._vocabulary)
            raise UsageError(f"ids of a prompt or a bias must be in 0..{self._vocabulary - 1}, but got {wrong}")

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


def _joined(state: Any, other: Any) -> Any:
    return other if state is None else state.join(other)


def _emitted(taken: Sequence[_Taken], logits: "Tensor") -> list[Emitted]:
    """What is told of each token; logits (N, V), those it was chosen from."""
    import torch

    logprobs = logits.float().log_softmax(dim=-1)
    ids = torch.tensor([[one.id] for one in taken], device=logits.device)
    own = logprobs.gather(1, ids)[:, 0].tolist()
    return [
        Emitted(
            row=one.row.number,
            id=one.id,
            logprob=own[at],
            top=_alternatives(logits[at], logprobs[at], one.row.n_top) if one.row.n_top else (),
            finish_reason=one.reason,
            windowed=one.row.windowed,
        )
        for at, one in enumerate(taken)
    ]


def _alternatives(logits: "Tensor", logprobs: "Tensor", count: int) -> Alternatives:
    places = highest(logits, count)
    return tuple(zip(places.tolist(), logprobs[places].tolist(), strict=True))
