"""Carrying out a writer's request: prompts become rows, rows become pieces, pieces become results."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from headway.decoding.beam import Hypothesis, Search, beam_search
from headway.decoding.rows import Alternatives, Emitted, FinishReason, Rows
from headway.decoding.scoring import score
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.continuation import Continuation, Piece
from headway.tasks.request import Request
from headway.text.tokenizer import Tokenizer

ROWS_AT_ONCE = 32
"""Rows of a long list of prompts that run together; more prompts follow as rows finish. No result depends on it."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A continuation.

    text, ids: the continuation alone, without the stop string or the end-of-text token that ended it; ids are the
    tokens whose text is wholly kept (text may go a few characters further, where a stop string began inside a
    token). logprobs: of each id, under the model's own distribution over its full vocabulary, before bias, penalties
    and temperature; top_logprobs: the most probable (id, log-probability) pairs at each id, as many as asked for.
    windowed: the text outgrew the model's context, and the model no longer saw its beginning. seed: the one used,
    given or drawn. prompt_tokens: how many tokens the prompt is (an empty one is the end-of-text token alone);
    prompt_logprobs: theirs, None for the first; only with echo.
    """

    text: str
    ids: list[int]
    logprobs: list[float]
    top_logprobs: list[Alternatives]
    finish_reason: FinishReason
    windowed: bool
    seed: int
    prompt_tokens: int
    prompt_logprobs: list[float | None] | None


def write_all(model: AnyDecoder, tokenizer: Tokenizer, prompts: Sequence[str], request: Request) -> list[list[Result]]:
    """The results of each prompt, one a sample, in the prompts' order.

    Raises ContextError where echo is asked for a prompt past the context, UsageError for a prompt that is no text.
    """
    encoded = [_encode(tokenizer, prompt) for prompt in prompts]
    echoed = [score(model, ids) if request.echo else None for ids in encoded]
    if request.max_new_tokens == 0:
        pieces = [[[_nothing(request)] for _ in range(request.samples)] for _ in encoded]
    elif request.search is not None:
        found = _searched(model, tokenizer, encoded, request)
        pieces = [[list(_pieces_of(tokenizer, best, request))] for best in found]
    else:
        pieces = [[[] for _ in range(request.samples)] for _ in encoded]
        for prompt, sample, piece in _pieces(model, tokenizer, encoded, request):
            pieces[prompt][sample].append(piece)
    return [
        [_result(row, len(ids), logprobs) for row in rows]
        for rows, ids, logprobs in zip(pieces, encoded, echoed, strict=True)
    ]


def stream_one(model: AnyDecoder, tokenizer: Tokenizer, prompt: str, request: Request) -> Iterator[Piece]:
    """The pieces of the one continuation of a prompt; those without text, ids and finish reason are left out."""
    ids = _encode(tokenizer, prompt)
    if request.max_new_tokens == 0:
        return iter([_nothing(request)])
    pieces = (piece for _, _, piece in _pieces(model, tokenizer, [ids], request))
    return (piece for piece in pieces if piece.text or piece.ids or piece.finish_reason is not None)


def _encode(tokenizer: Tokenizer, prompt: str) -> list[int]:
    if not isinstance(prompt, str):
        raise UsageError(f"a prompt must be text, but got {prompt!r}")
    ids = tokenizer.encode(prompt)
    if ids:
        return ids
    if tokenizer.end_of_text is None:
        raise UsageError(
            "an empty prompt starts from the end-of-text token, and this tokenizer has none\nGive a prompt."
        )
    return [tokenizer.end_of_text]


def _stop_ids(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset() if tokenizer.end_of_text is None else frozenset([tokenizer.end_of_text])


def _pieces(
    model: AnyDecoder, tokenizer: Tokenizer, prompts: Sequence[list[int]], request: Request
) -> Iterator[tuple[int, int, Piece]]:
    """Each piece as it is written, with its prompt's and its sample's number."""
    rows = Rows(model, vocabulary=tokenizer.size, drafter=request.drafter() if request.drafter else None)
    waiting = deque(enumerate(prompts))
    writing: dict[int, tuple[int, int, Continuation]] = {}
    while waiting or len(rows):
        while waiting and len(rows) < ROWS_AT_ONCE:
            prompt, ids = waiting.popleft()
            added = rows.add(
                ids,
                request.choice,
                max_new_tokens=request.max_new_tokens,
                samples=request.samples,
                stop_ids=_stop_ids(tokenizer),
                logprobs=request.logprobs,
            )
            for sample, row in enumerate(added):
                writing[row] = (prompt, sample, _continuation(tokenizer, request))
        for emitted in rows.step():
            if emitted.row not in writing:
                continue  # the rest of an agreed run whose row a stop string has ended
            prompt, sample, continuation = writing[emitted.row]
            piece = continuation.push(emitted)
            if piece.finish_reason is not None:
                del writing[emitted.row]
                rows.cancel(emitted.row)  # a stop string ends a row that would go on
            yield prompt, sample, piece


def _searched(
    model: AnyDecoder, tokenizer: Tokenizer, prompts: Sequence[list[int]], request: Request
) -> Iterator[Hypothesis]:
    """The best hypothesis of each prompt."""
    assert request.search is not None
    search = Search(
        beam=request.search.width,
        max_new_tokens=request.max_new_tokens,
        length_penalty="mean",
        alpha=request.search.length_penalty,
    )
    at_once = max(1, ROWS_AT_ONCE // search.beam)
    for first in range(0, len(prompts), at_once):
        for (best,) in beam_search(
            model,
            prompts[first : first + at_once],
            search,
            end_ids=_stop_ids(tokenizer),
            vocabulary=tokenizer.size,
        ):
            yield best


def _pieces_of(tokenizer: Tokenizer, best: Hypothesis, request: Request) -> Iterator[Piece]:
    """The pieces of a hypothesis, up to the first stop string in it."""
    continuation = _continuation(tokenizer, request)
    for emitted in _emitted(best):
        piece = continuation.push(emitted)
        yield piece
        if piece.finish_reason is not None:
            return


def _emitted(hypothesis: Hypothesis) -> Iterator[Emitted]:
    end: FinishReason = "stop" if hypothesis.finished else "length"
    for at, (token, logprob) in enumerate(zip(hypothesis.ids, hypothesis.logprobs, strict=True)):
        yield Emitted(
            row=0,
            id=token,
            logprob=logprob,
            top=(),
            finish_reason=end if at == len(hypothesis.ids) - 1 else None,
            windowed=hypothesis.windowed,
        )


def _continuation(tokenizer: Tokenizer, request: Request) -> Continuation:
    return Continuation(tokenizer, request.stop, request.choice.seed)


def _nothing(request: Request) -> Piece:
    return Piece(
        text="",
        ids=[],
        logprobs=[],
        top_logprobs=[],
        finish_reason="length",
        windowed=False,
        seed=request.choice.seed,
    )


def _result(pieces: Iterable[Piece], prompt_tokens: int, prompt_logprobs: list[float | None] | None) -> Result:
    whole = list(pieces)
    reason = whole[-1].finish_reason
    assert reason is not None
    return Result(
        text="".join(piece.text for piece in whole),
        ids=[token for piece in whole for token in piece.ids],
        logprobs=[logprob for piece in whole for logprob in piece.logprobs],
        top_logprobs=[top for piece in whole for top in piece.top_logprobs],
        finish_reason=reason,
        windowed=any(piece.windowed for piece in whole),
        seed=whole[-1].seed,
        prompt_tokens=prompt_tokens,
        prompt_logprobs=prompt_logprobs,
    )
