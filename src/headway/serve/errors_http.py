"""Errors as HTTP answers, in OpenAI's shape; nothing of a traceback or a path of this machine goes out."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from headway.errors import DependencyError, HeadwayError, ResourceError, StorageError
from headway.serve.error_shape import error_body
from headway.serve.jobs import Cut, Late, Refused
from headway.serve.lessons import LessonConflict, UnknownLesson

LOGGER = logging.getLogger(__name__)


class UnknownModel(HeadwayError):
    """No model of that name is served."""


class Forbidden(HeadwayError):
    """The request came from where it may not come from."""


_STATUS: tuple[tuple[type[BaseException], int, str], ...] = (
    (UnknownModel, 404, "model_not_found"),
    (UnknownLesson, 404, "lesson_not_found"),
    (LessonConflict, 409, "lesson_running"),
    (Refused, 429, "overloaded"),
    (Late, 504, "deadline"),
    (Cut, 503, "shutting_down"),
    (DependencyError, 501, "not_installed"),
    (StorageError, 507, "storage"),
    (ResourceError, 503, "resources"),
    (HeadwayError, 400, "invalid_value"),
)


def status_of(error: BaseException) -> tuple[int, str]:
    """The status and the code of an error; 500 for one that nobody can mend from outside."""
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            return status, code
    return 500, "internal"


def body_of(error: BaseException, param: str | None = None) -> dict[str, Any]:
    """The answer's body for an error."""
    status, code = status_of(error)
    message = str(error) if status != 500 else "something went wrong inside; the server's log says what"
    return error_body(message, status, code, param)


def answer(error: BaseException) -> JSONResponse:
    """The whole answer for an error, with Retry-After where waiting helps."""
    status, _ = status_of(error)
    if status == 500:
        LOGGER.error("a request failed", exc_info=error)
    headers = {"Retry-After": str(max(1, round(error.retry_after_s)))} if isinstance(error, Refused) else None
    return JSONResponse(body_of(error), status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Every way in which a request can fail gets the same shape."""

    @app.exception_handler(HeadwayError)
    async def _ours(request: Request, error: HeadwayError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        named = f"{where}: {first['msg']}" if where else str(first["msg"])
        return JSONResponse(error_body(named, 400, str(first["type"]), where or None), status_code=400)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return JSONResponse(
            error_body(str(error.detail), error.status_code, code),
            status_code=error.status_code,
            headers=dict(error.headers or {}),
        )

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        return answer(error)
