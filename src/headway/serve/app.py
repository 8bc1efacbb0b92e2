"""The application: routes, the page's files from memory, and what stands before both."""

import hashlib
import mimetypes
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from headway.serve import errors_http
from headway.serve.admission import Guard
from headway.serve.answer_shapes import Sign
from headway.serve.crowding import Crowding, Seen
from headway.serve.disconnects import Disconnects
from headway.serve.error_shape import error_body
from headway.serve.lessons import Lessons
from headway.serve.models_served import Models
from headway.serve.route_answers import REFUSALS, Told
from headway.serve.routes import api
from headway.serve.safety import App, Message, Receive, Safety, Scope, Send
from headway.version import __version__

_KINDS = {".mjs": "text/javascript", ".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8"}


class Readiness:
    """Whether requests should come: not before the first model is open, and not once the server ends."""

    def __init__(self) -> None:
        self.ready = False


def build(models: Models, lessons: Lessons, guard: Guard, readiness: Readiness) -> App:
    """The ASGI application."""
    app = FastAPI(
        title="headway",
        version=__version__,
        description="Write, translate, read, and look inside. Errors have OpenAI's shape.",
        docs_url=None,
        redoc_url=None,
    )
    errors_http.install(app)
    app.include_router(api(models, lessons))
    _add_signs(app, models, readiness)
    _add_page(app)
    return _Counted(Seen(Safety(Crowding(Disconnects(app), models.refusal), guard), models.seen), models)


class _Counted:
    """Counts answers by route and status."""

    def __init__(self, app: App, models: Models) -> None:
        self._app, self._metrics = app, models.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")  # not there where a check refused before any route was looked for
                path = getattr(route, "path", "other")
                self._metrics.requests.labels(path, str(message["status"])).inc()
                if message["status"] == 429:
                    self._metrics.refusals.inc()
            await send(message)

        await self._app(scope, receive, counted)


def _add_signs(app: FastAPI, models: Models, readiness: Readiness) -> None:
    @app.get("/healthz", responses=REFUSALS, summary="Whether the process lives")
    async def healthz() -> Sign:
        return Sign(status="ok")

    waiting: Told = {503: {"model": Sign, "description": "Not yet, or no longer."}}

    @app.get("/readyz", response_model=Sign, responses={**REFUSALS, **waiting}, summary="Whether requests should come")
    async def readyz() -> Response:
        if readiness.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503)

    told: Told = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format."}
    }

    @app.get("/metrics", response_class=Response, responses={**REFUSALS, **told}, summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(models.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    pages = dict(_page_files(files("headway.serve") / "web", ""))

    def given(name: str) -> Callable[[Request], Any]:
        async def page(request: Request) -> Response:
            found = pages.get(name or request.path_params.get("path", ""))
            if found is None:
                return JSONResponse(error_body("there is no such file", 404, "not_found"), status_code=404)
            body, kind, tag = found
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            return Response(body, media_type=kind, headers=headers)

        return page

    app.add_route("/", given("index.html"), include_in_schema=False)
    app.add_route("/static/{path:path}", given(""), include_in_schema=False)


def _page_files(folder: Traversable, prefix: str) -> list[tuple[str, tuple[bytes, str, str]]]:
    """Every file of the page: its path, and its bytes, kind and tag."""
    found: list[tuple[str, tuple[bytes, str, str]]] = []
    if not folder.is_dir():
        return found
    for one in folder.iterdir():
        if one.is_dir():
            found += _page_files(one, f"{prefix}{one.name}/")
            continue
        body = one.read_bytes()
        ending = "." + one.name.rpartition(".")[2]
        kind = _KINDS.get(ending) or mimetypes.guess_type(one.name)[0] or "application/octet-stream"
        found.append((prefix + one.name, (body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')))
    return found
