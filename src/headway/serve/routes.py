"""The API's routes: completions and models; the others are in the files beside this one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headway.errors import UsageError
from headway.serve.answer_shapes import Card, Completion, CurvePoint, ModelEntry, ModelFacts, ModelList
from headway.serve.completions import Completing
from headway.serve.crowding import SEEN
from headway.serve.lesson_routes import add_lessons
from headway.serve.lessons import Lessons
from headway.serve.looking_routes import add_looks
from headway.serve.models_served import Models
from headway.serve.openai_shapes import CompletionRequest
from headway.serve.reading_routes import add_readers
from headway.serve.route_answers import REFUSALS, UNBUFFERED, streams
from headway.serve.safety import Receive, Scope, Send


def api(models: Models, lessons: Lessons) -> APIRouter:
    """All routes under /v1."""
    router = APIRouter(prefix="/v1", responses=REFUSALS)
    _add_completions(router, models)
    _add_models(router, models)
    add_readers(router, models)
    add_looks(router, models)
    add_lessons(router, models, lessons)
    return router


class _Stream(StreamingResponse):
    """Server-sent events of a completion, which is let go in the end, also where not one of them was sent."""

    def __init__(self, completing: Completing) -> None:
        super().__init__(completing.stream(), media_type="text/event-stream", headers=UNBUFFERED)
        self._completing = completing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._completing.cancel()


def _add_completions(router: APIRouter, models: Models) -> None:
    told = streams("The answer, or with `stream` its pieces in the same shape; an error is an event `error`, too.")

    @router.post("/completions", response_model=Completion, responses=told, summary="Go on from a text")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        completing = Completing(models, body, _client_of(request))
        streaming = False
        try:
            await completing.begin()
            request.scope[SEEN]()
            streaming = bool(body.stream)
            return _Stream(completing) if streaming else JSONResponse(await completing.whole())
        finally:
            if not streaming:
                completing.cancel()

    @router.post("/chat/completions", response_model=None, summary="Refused: the models know no chat")
    async def chat() -> Response:
        raise UsageError("the models here go on from a text and know no chat\nUse POST /v1/completions with a prompt.")


def _client_of(request: Request) -> str:
    """Whose turn it is: clients are told apart by address, for one key may be given to many."""
    return request.client.host if request.client is not None else ""


def _add_models(router: APIRouter, models: Models) -> None:
    @router.get("/models", summary="The models served")
    async def listed() -> ModelList:
        return ModelList(data=[_entry(models, name) for name in models.names])

    @router.get("/models/{name}", summary="One model")
    async def one(name: str) -> ModelEntry:
        return _entry(models, name)


def _entry(models: Models, name: str) -> ModelEntry:
    served = models.named(name)
    described = served.described
    titles = [line[2:] for line in described.card.splitlines() if line.startswith("# ")]
    sizes: Mapping[str, Any] = served.sizes
    return ModelEntry(
        id=name,
        headway=ModelFacts(
            family=described.family,
            verbs=list(described.verbs),
            task=described.task,
            **sizes,
            **_engine(None if served.writing is None else served.writing.writer.model),
            languages=list(described.languages),
            labels=list(described.labels),
            card=Card(title=titles[0] if titles else name, text=described.card, licence=described.licence),
            length_curve=[CurvePoint(**asdict(point)) for point in described.length_curve] or None,
        ),
    )


def _engine(model: Any) -> dict[str, Any]:
    """What runs an open writer; all None for one that is not."""
    if model is None:
        return {"engine": None, "bits": None, "kernels": None, "threads": None}
    kernels = getattr(model, "kernels", None)
    return {
        "engine": "torch" if kernels is None else "compiled",
        "bits": getattr(model, "bits", None),
        "kernels": kernels,
        "threads": getattr(model, "threads", None),
    }
