"""The routes of live lessons."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from headway.serve.answer_shapes import LessonBegun, LessonGone, LessonKept
from headway.serve.lessons import Lessons
from headway.serve.models_served import Models
from headway.serve.openai_shapes import KeepRequest, LessonRequest
from headway.serve.route_answers import UNBUFFERED, streams

_LOOK_SECONDS = 0.2


def add_lessons(router: APIRouter, models: Models, lessons: Lessons) -> None:
    """Start one, watch it, keep its model, forget it."""

    @router.post("/lessons", summary="Train a tiny writer on a text")
    async def start(body: LessonRequest) -> LessonBegun:
        lesson = await asyncio.to_thread(lessons.start, body.text, body.seconds, body.seed)
        return LessonBegun(id=lesson.id, seconds=body.seconds)

    told = streams("What happens, from the lesson's beginning.")

    @router.get("/lessons/{name}/events", response_class=StreamingResponse, responses=told, summary="Watch a lesson")
    async def events(name: str) -> Response:
        lesson = lessons.get(name)

        async def since_the_beginning() -> AsyncIterator[bytes]:
            seen, ended = 0, False
            while not ended:
                found, ended = lesson.since(seen)
                seen += len(found)
                for event in found:
                    yield b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
                if not ended:
                    await asyncio.sleep(_LOOK_SECONDS)
            yield b"data: [DONE]\n\n"

        return StreamingResponse(since_the_beginning(), media_type="text/event-stream", headers=UNBUFFERED)

    @router.post("/lessons/{name}/keep", summary="Keep its model, and serve it")
    async def keep(name: str, body: KeepRequest) -> LessonKept:
        def kept() -> str:
            return models.add(str(lessons.keep(name, body.name, taken=models.names)))

        return LessonKept(model=await asyncio.to_thread(kept))

    @router.delete("/lessons/{name}", summary="Forget a lesson")
    async def forget(name: str) -> LessonGone:
        await asyncio.to_thread(lessons.forget, name)
        return LessonGone(id=name, deleted=True)
