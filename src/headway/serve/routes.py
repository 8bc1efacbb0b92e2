"""The routes beside completions: each checks, hands its work to the bench's thread, and shapes the answer."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headway.decoding.choice import Choice
from headway.errors import UsageError
from headway.serve.completions import Completing
from headway.serve.inspecting import inspected, inspected_translation, spectrum_of
from headway.serve.lessons import Lessons
from headway.serve.models_served import Models
from headway.serve.openai_shapes import (
    AnswerRequest,
    Completion,
    CompletionRequest,
    EmbeddingRequest,
    ErrorAnswer,
    FillRequest,
    InspectRequest,
    KeepRequest,
    LessonRequest,
    ListAnswer,
    NextRequest,
    SpectrumRequest,
    TextsRequest,
    TokenizeRequest,
    TranslateRequest,
)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "The request cannot be carried out.",
        401: "The key is missing or wrong.",
        403: "Not from this host or origin.",
        404: "No such model.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        429: "Too many requests wait; see Retry-After.",
        501: "A part that this needs is not installed.",
        503: "The server is closing, or memory ends.",
        504: "The time for it was over.",
    }.items()
}
_STREAM = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "The answer; with stream, server-sent events of the same shape, [DONE] at the end.",
    }
}


def client_of(request: Request) -> str:
    """Who asks, for fairness: the key's user is one, an address another."""
    return request.client.host if request.client is not None else ""


async def until_gone(request: Request, completing: Completing) -> dict[str, Any] | None:
    """The whole answer; None where the client left first, and then its rows are let go."""
    answering = asyncio.ensure_future(completing.whole())
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        completing.cancel()
        for task in (answering, leaving):
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def api(models: Models, lessons: Lessons) -> APIRouter:
    """All routes under /v1."""
    router = APIRouter(prefix="/v1", responses=_REFUSALS)
    _add_completions(router, models)
    _add_readers(router, models)
    _add_insight(router, models)
    _add_lessons(router, models, lessons)
    return router


def _add_completions(router: APIRouter, models: Models) -> None:
    @router.post("/completions", response_model=Completion, responses=_STREAM)  # type: ignore[arg-type]
    async def completions(body: CompletionRequest, request: Request) -> Any:
        if body.stream and body.inspect is not None:
            raise UsageError("inspect comes with a whole answer, not with a stream\nLeave out one of the two.")
        completing = Completing(models, body, client_of(request))
        await completing.begin()
        if body.stream:
            return StreamingResponse(completing.stream(), media_type="text/event-stream")
        answer = await until_gone(request, completing)
        if answer is None:
            return Response(status_code=499)
        if body.inspect is not None:
            ids = completing.first_ids + list(answer["choices"][0]["ids"])
            answer["inspection"] = await models.bench.run(lambda: inspected(models, body.model, ids, body.inspect))
        return JSONResponse(answer)

    @router.post("/chat/completions")
    async def chat() -> Any:
        raise UsageError("the models here go on from a text and know no chat\nUse POST /v1/completions with a prompt.")

    @router.get("/models")
    async def listed() -> ListAnswer:
        return ListAnswer(data=[await models.bench.run(partial(_entry, models, name)) for name in models.names])

    @router.post("/embeddings")
    async def embeddings(body: EmbeddingRequest) -> ListAnswer:
        if body.dimensions is not None:
            raise UsageError("dimensions cannot be chosen: a model's vectors have the width that they have")
        texts = [body.input] if isinstance(body.input, str) else body.input
        vectors = await models.bench.run(lambda: models.reader(body.model, "embed").embed(texts))
        data = [
            {
                "object": "embedding",
                "index": at,
                "embedding": base64.b64encode(vector.tobytes()).decode()
                if body.encoding_format == "base64"
                else vector.tolist(),
            }
            for at, vector in enumerate(vectors)
        ]
        tokenizer = models.named(body.model).task.tokenizer
        read = sum(len(tokenizer.encode(text)) for text in texts)
        found = await _looked(models, body.model, texts[0], body.inspect)
        usage = {"prompt_tokens": read, "total_tokens": read}
        return ListAnswer(data=data, model=body.model, usage=usage, inspection=found)


def _add_readers(router: APIRouter, models: Models) -> None:
    @router.post("/translate")
    async def translate(body: TranslateRequest) -> ListAnswer:
        texts = [body.input] if isinstance(body.input, str) else body.input
        aligned = body.alignment or (body.inspect is not None and body.inspect.alignment)

        def work() -> Any:
            translator = models.translator(body.model)
            try:
                return translator.translate(texts, beam=body.beam, alignment=aligned)
            except UsageError:
                if not aligned:
                    raise
                return translator.translate(texts, beam=body.beam)  # one that reads a fixed vector aligns nothing

        found = await models.bench.run(work)
        data = [
            {"text": one.text, "score": one.score, "finish_reason": one.finish_reason, "alignment": _alignment(one)}
            for one in found
        ]
        inspection = None
        if body.inspect is not None:
            inspection = await models.bench.run(
                lambda: inspected_translation(models, body.model, texts[0], found[0].text, body.inspect)
            )
        return ListAnswer(data=data, model=body.model, inspection=inspection)

    @router.post("/fill")
    async def fill(body: FillRequest) -> ListAnswer:
        found = await models.bench.run(lambda: models.reader(body.model, "fill").fill(body.input, top=body.top))
        inspection = await _looked(models, body.model, body.input, body.inspect)
        return ListAnswer(data=[asdict(one) for one in found], model=body.model, inspection=inspection)

    @router.post("/classify")
    async def classify(body: TextsRequest) -> ListAnswer:
        return await _read(models, body, "classify")

    @router.post("/tag")
    async def tag(body: TextsRequest) -> ListAnswer:
        return await _read(models, body, "tag")

    @router.post("/answer")
    async def answer(body: AnswerRequest) -> ListAnswer:
        found = await models.bench.run(lambda: models.reader(body.model, "answer").answer(body.question, body.context))
        inspection = await _looked(models, body.model, body.question, body.inspect)
        return ListAnswer(data=[asdict(found)], model=body.model, inspection=inspection)


def _add_insight(router: APIRouter, models: Models) -> None:
    @router.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        from headway.insight.token_texts import TokenTexts

        def cut() -> list[dict[str, Any]]:
            tokenizer = models.twin(body.model)[1]
            texts = TokenTexts(tokenizer)
            return [texts.one(id) for id in tokenizer.encode(body.text)]

        return {"tokens": await models.bench.run(cut)}

    @router.post("/next")
    async def next_token(body: NextRequest) -> dict[str, Any]:
        from headway.insight.next_token import next_candidates

        given = _one_of(body.text, body.ids)
        choice = Choice(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_k=body.top_k,
            top_p=body.top_p,
            min_p=body.min_p,
        )

        def look() -> dict[str, Any]:
            model, tokenizer = models.twin(body.model)
            return next_candidates(model, tokenizer, given, choice, top=body.top, ablate=frozenset(body.ablate))

        models.named(body.model, "write")
        return await models.bench.run(look)

    @router.post("/inspect")
    async def inspect(body: InspectRequest) -> dict[str, Any]:
        if body.source is not None:
            source, target = body.source, body.text
            return await models.bench.run(lambda: inspected_translation(models, body.model, source, target, body))
        given = _one_of(body.text, body.ids)
        return await models.bench.run(lambda: inspected(models, body.model, given, body))

    @router.post("/spectrum")
    async def spectrum(body: SpectrumRequest) -> dict[str, Any]:
        return await models.bench.run(lambda: spectrum_of(models, body.model, body.text))


def _add_lessons(router: APIRouter, models: Models, lessons: Lessons) -> None:
    @router.post("/lessons")
    async def start(body: LessonRequest) -> dict[str, Any]:
        lesson = await asyncio.to_thread(lessons.start, body.text, body.seconds, body.seed)
        return {"id": lesson.id, "seconds": body.seconds}

    @router.get("/lessons/{name}/events", responses=_STREAM)  # type: ignore[arg-type]
    async def events(name: str) -> StreamingResponse:
        lesson = lessons.get(name)

        async def told() -> AsyncIterator[bytes]:
            seen, ended = 0, False
            while not ended:
                found, ended = lesson.since(seen)
                seen += len(found)
                for event in found:
                    yield b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
                if not ended:
                    await asyncio.sleep(0.2)
            yield b"data: [DONE]\n\n"

        return StreamingResponse(told(), media_type="text/event-stream")

    @router.post("/lessons/{name}/keep")
    async def keep(name: str, body: KeepRequest) -> dict[str, Any]:
        kept: Path = await asyncio.to_thread(lambda: lessons.keep(name, body.name, taken=models.names))
        return {"model": models.add(str(kept))}

    @router.delete("/lessons/{name}")
    async def forget(name: str) -> dict[str, Any]:
        await asyncio.to_thread(lessons.forget, name)
        return {"id": name, "deleted": True}


async def _read(models: Models, body: TextsRequest, verb: str) -> ListAnswer:
    texts = [body.input] if isinstance(body.input, str) else body.input
    found = await models.bench.run(lambda: getattr(models.reader(body.model, verb), verb)(texts))
    data = [asdict(one) for one in found]
    return ListAnswer(data=data, model=body.model, inspection=await _looked(models, body.model, texts[0], body.inspect))


async def _looked(models: Models, name: str, text: str, wanted: Any) -> dict[str, Any] | None:
    if wanted is None:
        return None
    return await models.bench.run(lambda: inspected(models, name, text, wanted))


def _one_of(text: str | None, ids: list[int] | None) -> str | list[int]:
    if (text is None) == (ids is None):
        raise UsageError("give text or ids, one of the two")
    return text if text is not None else ids or []


def _alignment(one: Any) -> dict[str, Any] | None:
    if one.alignment is None:
        return None
    return {
        "source": one.alignment.source_words,
        "target": one.alignment.target_words,
        "weights": one.alignment.word_weights,
    }


def _entry(models: Models, name: str) -> dict[str, Any]:
    served = models.named(name)
    described = served.described
    writing = served.writing.writer.model if served.writing is not None else None
    title: Sequence[str] = [line[2:] for line in described.card.splitlines() if line.startswith("# ")]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "headway",
        "headway": {
            "family": described.family,
            "verbs": list(described.verbs),
            "task": described.task,
            **models.sizes(name),
            "engine": None if writing is None else ("compiled" if hasattr(writing, "kernels") else "torch"),
            "bits": getattr(writing, "bits", None),
            "kernels": getattr(writing, "kernels", None),
            "threads": getattr(writing, "threads", None),
            "languages": list(described.languages),
            "labels": list(described.labels),
            "card": {"title": next(iter(title), name), "text": described.card, "licence": described.licence},
            "length_curve": [asdict(point) for point in described.length_curve] or None,
        },
    }
