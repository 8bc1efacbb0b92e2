"""A crowd is refused before its requests are taken apart: what is refused must cost little of what others are given."""

from collections.abc import Callable

from headway.serve.errors_http import answer
from headway.serve.jobs import Refused
from headway.serve.safety import App, Receive, Scope, Send


class Crowding:
    """The middleware. Stands behind `Safety`, so that only who may come in learns how full it is."""

    def __init__(self, app: App, refusal: Callable[[], Refused | None]) -> None:
        """refusal: why no completion at all can be taken on now, None where some can."""
        self._app, self._refusal = app, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/v1/completions":
            refusal = self._refusal()
            if refusal is not None:
                await answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
