"""A crowd is refused before its requests are taken apart: what is refused must cost little of what others are given."""

from collections.abc import Callable

from headway.serve.errors_http import answer
from headway.serve.jobs import Refused
from headway.serve.safety import App, Message, Receive, Scope, Send

SEEN = "headway.seen"
"""In a completion's scope: what its route calls once the completion has its place."""


def _is_completion(scope: Scope) -> bool:
    found: bool = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/v1/completions"
    return found


class Seen:
    """The outermost middleware: tells the gate once of each completion that it was taken on, or answered otherwise."""

    def __init__(self, app: App, seen: Callable[[], None]) -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_completion(scope):
            await self._app(scope, receive, send)
            return
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                self._seen()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                tell()
            await send(message)

        scope[SEEN] = tell  # into the scope itself: who stands outside reads the route from it
        try:
            await self._app(scope, receive, noted)
        finally:
            tell()


class Crowding:
    """The middleware. Stands behind `Safety`, so that only who may come in learns how full it is."""

    def __init__(self, app: App, refusal: Callable[[], Refused | None]) -> None:
        """refusal: why no completion at all can be taken on now, None where some can."""
        self._app, self._refusal = app, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_completion(scope):
            refusal = self._refusal()
            if refusal is not None:
                await answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
