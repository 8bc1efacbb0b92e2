"""A client that goes away ends its request: what runs for it is cancelled, whichever route it is in.

uvicorn tells of it only through `receive`, and a route that waits for a model does not ask.
"""

import asyncio

from headway.serve.safety import App, Message, Receive, Scope, Send


class Disconnects:
    """The middleware. Stands directly before the routes; the body must be there as one message, as `Safety` gives it.

    The request's task is cancelled where the client leaves before the answer is complete, so a route must let go in
    `finally` of what it holds.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await receive()
        gone = asyncio.Event()
        given = complete = False

        async def receive_known() -> Message:
            nonlocal given
            if not given:
                given = True
                return body
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send_noted(message: Message) -> None:
            nonlocal complete
            await send(message)
            complete = complete or (message["type"] == "http.response.body" and not message.get("more_body", False))

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        answering = asyncio.ensure_future(self._app(scope, receive_known, send_noted))
        watching = asyncio.create_task(watch())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not complete:
                answering.cancel()
            await asyncio.wait({answering})
        finally:
            for task in (answering, watching):
                task.cancel()
        if not answering.cancelled():
            answering.result()
