"""POST /v1/completions: jobs in, OpenAI's shapes out, at once or as a stream."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from headway.decoding.choice import Choice
from headway.errors import UsageError
from headway.serve.errors_http import body_of, status_of
from headway.serve.inspecting import inspected
from headway.serve.jobs import Event, Failed, Handle, PromptScores, Token, WritingJob
from headway.serve.mailbox import Mailbox
from headway.serve.models_served import Models, Writing
from headway.serve.openai_shapes import CompletionRequest
from headway.tasks.continuation import Continuation, Piece
from headway.tasks.request import draw_seed
from headway.text.tokenizer import Tokenizer

LOGGER = logging.getLogger(__name__)
_SHORT = 1_000  # characters


@dataclass(kw_only=True)
class _Sample:
    """One continuation on its way."""

    continuation: Continuation
    ids: list[int] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)  # for an answer in one piece; a stream has given them out
    done: bool = False


@dataclass(kw_only=True)
class _Prompt:
    """One prompt and its continuations."""

    ids: list[int]
    samples: list[_Sample]
    handle: Handle | None = None
    scores: PromptScores | None = None


class Completing:
    """One request, from its check to its last token."""

    def __init__(self, models: Models, request: CompletionRequest, client: str) -> None:
        self._models, self._request, self._client = models, request, client
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._seed = draw_seed() if request.seed is None else request.seed
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._started = self._latest = time.monotonic()
        self._first = True
        self._n = request.n or 1
        self._best_of = max(self._n, request.best_of or self._n)
        self._prompts: list[_Prompt] = []
        self._entries = 0  # taken in the room for answers
        self._lengths: dict[int, int] = {}  # of the text that a stream has given out, by choice

    async def begin(self) -> None:
        """Check everything and hand in the jobs. Raises what is wrong, before anything was answered.

        Whoever calls this calls `cancel` in the end, whatever happens.
        """
        request = self._request
        if request.best_of is not None and request.best_of < self._n:
            raise UsageError(f"best_of must be at least n ({self._n}), but got {request.best_of}")
        if request.stream and self._best_of > self._n:
            raise UsageError("best_of cannot be streamed: the best is known at the end\nLeave out stream or best_of.")
        if not request.max_tokens and not request.echo:
            raise UsageError("max_tokens must be at least 1, or echo be true: then the prompt alone is scored")
        opened = self._models.opened(request.model)
        if opened is None:
            opened = await asyncio.to_thread(self._models.writing, request.model)
        writing: Writing = opened
        self._writing = writing
        writing.scheduler.require_room()  # before any more is done for it
        tokenizer: Tokenizer = writing.writer.tokenizer
        self._tokenizer = tokenizer
        choice = self._choice()
        constraint = await self._constraint()
        stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
        ends = frozenset() if tokenizer.end_of_text is None else frozenset([tokenizer.end_of_text])
        self._prompts = [
            _Prompt(
                ids=ids,
                samples=[_Sample(continuation=Continuation(tokenizer, stop, self._seed)) for _ in range(self._best_of)],
            )
            for ids in await self._all_ids(tokenizer)
        ]
        mailbox = self._models.mailbox()
        longest = 16 if request.max_tokens is None else request.max_tokens
        scores = bool(request.echo) and (request.logprobs is not None or not request.max_tokens)
        self._take_room(longest, scores)
        for at, prompt in enumerate(self._prompts):
            job = WritingJob(
                prompt_ids=prompt.ids,
                choice=choice,
                max_new_tokens=longest,
                samples=self._best_of,
                stop_ids=ends,
                logprobs=request.logprobs,
                scored=request.logprobs is not None or self._best_of > self._n,
                constraint=constraint,
                score_prompt=scores,
                client=self._client,
            )
            prompt.handle = writing.scheduler.submit(job, _deliverer(mailbox, self._events, at))

    def cancel(self) -> None:
        """Let everything go that still runs or is held; also where `begin` did not come to its end."""
        for prompt in self._prompts:
            if prompt.handle is not None:
                prompt.handle.cancel()
        self._models.room.give(self._entries)
        self._entries = 0

    def _take_room(self, longest: int, scores: bool) -> None:
        written = len(self._prompts) * self._best_of * longest
        read = sum(len(prompt.ids) for prompt in self._prompts) if scores else 0
        entries = (written + read) * (1 + (self._request.logprobs or 0))
        self._models.room.take(entries)
        self._entries = entries

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece. Raises what failed."""
        async for _ in self._changes():
            pass
        chosen = [(at, sample) for at in range(len(self._prompts)) for sample in self._best(at)]
        choices = [
            self._choice_of(index, self._prompts[at], self._prompts[at].samples[sample].pieces, whole=True)
            for index, (at, sample) in enumerate(chosen)
        ]
        answer = {**self._frame(), "choices": choices, "usage": self._usage()}
        if self._request.inspect is not None:
            answer["inspection"] = await self._inspection(chosen[0][1])
        return answer

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events; an error after the first is an event, too."""
        try:
            async for at, sample, piece in self._changes():
                prompt = self._prompts[at]
                if piece is None or piece.text or piece.ids or piece.finish_reason is not None:
                    pieces = [] if piece is None else [piece]
                    told = self._choice_of(at * self._n + sample, prompt, pieces, whole=False)
                    yield _event({**self._frame(), "choices": [told]})
            if self._request.inspect is not None:
                yield _event({**self._frame(), "choices": [], "inspection": await self._inspection(0)})
            options = self._request.stream_options
            if options is not None and options.include_usage:
                yield _event({**self._frame(), "choices": [], "usage": self._usage()})
        except Exception as error:
            if status_of(error)[0] == 500:
                LOGGER.error("a stream failed", exc_info=error)
            yield _event(body_of(error))
        yield b"data: [DONE]\n\n"

    async def _changes(self) -> AsyncIterator[tuple[int, int, Piece | None]]:
        """Each piece with its prompt's and its sample's number; None for a sample's echo alone."""
        left = sum(len(prompt.samples) for prompt in self._prompts)
        while left:
            at, event = await self._events.get()
            prompt = self._prompts[at]
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, PromptScores):
                prompt.scores = event
                if not self._request.max_tokens:
                    for number, sample in enumerate(prompt.samples):
                        sample.done, left = True, left - 1
                        yield at, number, None
                continue
            sample = prompt.samples[event.sample]
            if sample.done:
                continue
            self._observe(event)
            piece = sample.continuation.push(event.emitted())
            sample.ids += piece.ids
            if not self._request.stream:
                sample.pieces.append(piece)
            if piece.finish_reason is not None:
                sample.done, left = True, left - 1
                if event.finish_reason is None and prompt.handle is not None:
                    prompt.handle.cancel(event.sample)
            yield at, event.sample, piece

    async def _inspection(self, sample: int) -> dict[str, Any]:
        """Of the first choice: its prompt and what was written after it."""
        models, request, first = self._models, self._request, self._prompts[0]
        ids = first.ids + first.samples[sample].ids
        return await models.bench.run(lambda: inspected(models, request.model, ids, request.inspect))

    def _observe(self, event: Token) -> None:
        metrics = self._models.metrics
        if self._first:
            metrics.first_token.observe(event.at_monotonic - self._started)
            self._first = False
        elif len(self._prompts) == 1 and self._best_of == 1:
            metrics.per_token.observe(event.at_monotonic - self._latest)
        self._latest = event.at_monotonic

    async def _all_ids(self, tokenizer: Tokenizer) -> list[list[int]]:
        """A long text must not hold up the loop, and a short one need not wait for a thread."""
        given: Any = self._request.prompt
        short = isinstance(given, str) and len(given) < _SHORT
        return self._ids(tokenizer) if short else await asyncio.to_thread(self._ids, tokenizer)

    def _ids(self, tokenizer: Tokenizer) -> list[list[int]]:
        prompt: Any = self._request.prompt
        if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
            prompt = [prompt]
        found = []
        for one in prompt:
            ids = tokenizer.encode(one) if isinstance(one, str) else list(one)
            if not ids:
                if tokenizer.end_of_text is None:
                    raise UsageError("an empty prompt starts from the end-of-text token, and this model has none")
                ids = [tokenizer.end_of_text]
            found.append(ids)
        return found

    def _choice(self) -> Choice:
        request = self._request
        bias = {}
        for key, value in (request.logit_bias or {}).items():
            if not key.isdigit():
                raise UsageError(f"logit_bias maps ids to numbers, but got the key {key!r}")
            bias[int(key)] = value
        return Choice(
            temperature=self._writing.writer.temperature if request.temperature is None else request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            min_p=request.min_p,
            repetition_penalty=request.repetition_penalty,
            frequency_penalty=request.frequency_penalty or 0.0,
            presence_penalty=request.presence_penalty or 0.0,
            bias=bias,
            seed=self._seed,
        )

    async def _constraint(self) -> Any:
        wanted = self._request.response_format
        if wanted is None or wanted.type == "text":
            return None
        vocabulary = await asyncio.to_thread(self._models.grammar, self._request.model)
        if wanted.type == "json_object":
            return vocabulary.json_object()
        if wanted.type == "json_schema":
            given = wanted.json_schema or {}
            schema = given.get("schema", given)
            return await asyncio.to_thread(vocabulary.json_schema, schema)
        pattern = wanted.regex if wanted.type == "regex" else wanted.grammar
        if pattern is None:
            raise UsageError(f"response_format of type {wanted.type} needs the field {wanted.type}")
        return await asyncio.to_thread(vocabulary.regex if wanted.type == "regex" else vocabulary.lark, pattern)

    def _best(self, at: int) -> list[int]:
        """The n samples of the highest mean log-probability a token, in their own order."""

        def mean(number: int) -> float:
            logprobs = [value for piece in self._prompts[at].samples[number].pieces for value in piece.logprobs]
            return sum(logprobs) / len(logprobs) if logprobs else 0.0

        ranked = sorted(range(self._best_of), key=lambda number: (-mean(number), number))
        return ranked[: self._n] if self._best_of > self._n else list(range(self._n))

    def _choice_of(self, index: int, prompt: _Prompt, pieces: list[Piece], *, whole: bool) -> dict[str, Any]:
        """A choice, or what a stream adds to one: the echo comes with its first piece."""
        request = self._request
        echoes = bool(request.echo) and (whole or index not in self._lengths)
        text = self._tokenizer.decode(prompt.ids) if echoes else ""
        before = len(text) if whole else self._lengths.get(index, 0) + len(text)
        logprobs = None
        if request.logprobs is not None:
            logprobs = self._logprobs(prompt if echoes else None, pieces, before)
        text += "".join(piece.text for piece in pieces)
        if not whole:
            self._lengths[index] = self._lengths.get(index, 0) + len(text)
        reason = pieces[-1].finish_reason if pieces else ("length" if not request.max_tokens else None)
        return {
            "index": index,
            "text": text,
            "ids": [token for piece in pieces for token in piece.ids],
            "logprobs": logprobs,
            "finish_reason": reason,
        }

    def _logprobs(self, echoed: _Prompt | None, pieces: list[Piece], start: int) -> dict[str, Any]:
        ids, values, tops = [], [], []
        if echoed is not None and echoed.scores is not None:
            ids, values, tops = list(echoed.ids), list(echoed.scores.logprobs), list(echoed.scores.tops)
            start = 0
        for piece in pieces:
            ids += piece.ids
            values += piece.logprobs
            tops += piece.top_logprobs
        tokens = self._tokenizer.decode_each(ids)
        texts = [token.decode("utf-8", "replace") for token in tokens]
        offsets = []
        for text in texts:
            offsets.append(start)
            start += len(text)
        named = [
            None
            if value is None
            else {self._tokenizer.decode_bytes([id]).decode("utf-8", "replace"): logprob for id, logprob in top}
            for value, top in zip(values, tops, strict=True)
        ]
        return {"tokens": texts, "token_logprobs": values, "top_logprobs": named, "text_offset": offsets}

    def _frame(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._request.model,
            "system_fingerprint": self._writing.fingerprint,
            "seed": self._seed,
        }

    def _usage(self) -> dict[str, Any]:
        written = sum(len(sample.ids) for prompt in self._prompts for sample in prompt.samples)
        read = sum(len(prompt.ids) for prompt in self._prompts)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _deliverer(mailbox: Mailbox, queue: "asyncio.Queue[tuple[int, Event]]", at: int) -> Any:
    return lambda event: mailbox.put(queue.put_nowait, (at, event))


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
