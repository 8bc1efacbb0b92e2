"""A server in a thread of the tests' own process, on a free port of this machine."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from headway.serve.admission import HEADER_BYTES, Guard
from headway.serve.app import Readiness, build
from headway.serve.connections import Connection
from headway.serve.lessons import Lessons
from headway.serve.limits import Limits
from headway.serve.models_served import Models, Opening


@contextlib.contextmanager
def running(
    names: tuple[str, ...],
    folder: Path,
    *,
    guard: Guard | None = None,
    limits: Limits | None = None,
    engine: str = "auto",
) -> Iterator[str]:
    """The server's address, without a slash at its end."""
    models = Models(names, opening=Opening(engine=engine), limits=limits or Limits())
    lessons = Lessons(folder)
    readiness = Readiness()
    readiness.ready = True
    app = build(models, lessons, guard or Guard(), readiness)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None, h11_max_incomplete_event_size=HEADER_BYTES
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        lessons.close()
        models.close(0.0)
