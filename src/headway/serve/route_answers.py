"""What every route says of its answers, in the OpenAPI document: refusals, and streams."""

from typing import Any

from headway.serve.answer_shapes import ErrorAnswer

Told = dict[int | str, dict[str, Any]]
_TEXTS: dict[int | str, str] = {
    400: "The request cannot be carried out; `param` names the field at fault.",
    401: "The key is missing or wrong.",
    403: "Not from this host or origin.",
    404: "There is no such model, or no such lesson.",
    408: "The body came too slowly.",
    409: "Another lesson is running, or this one is not at that point.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests wait; Retry-After says when to come again.",
    431: "The headers are too large.",
    501: "A part that this needs is not installed.",
    503: "The server is closing, or memory or connections are used up.",
    504: "The time for it was over.",
    507: "The disk is full or cannot be written.",
    "default": "Any other error.",
}
REFUSALS: Told = {status: {"model": ErrorAnswer, "description": text} for status, text in _TEXTS.items()}
UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers of a stream, so that nothing between here and the client holds its events back."""


def streams(of: str) -> Told:
    """A route that answers with server-sent events."""
    return {
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": f"{of} Each event is one line `data: ` with a JSON object; the last one is `data: [DONE]`.",
        }
    }
