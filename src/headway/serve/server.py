"""Running the application: the address, the signals, and an end that cuts no text."""

import asyncio
import contextlib
import gc
import ipaddress
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from headway.errors import ResourceError, UsageError
from headway.serve.admission import HEADER_BYTES, Guard
from headway.serve.app import Readiness, build
from headway.serve.connections import Connection, limit_unread
from headway.serve.gatekeeping import Gatekeeping
from headway.serve.lessons import Lessons
from headway.serve.limits import Limits
from headway.serve.models_served import Models, Opening

_CONNECTIONS = 1024
# The loop gives the interpreter away with each system call, and gets it back after this time at the latest from the
# thread that writes; with Python's own 5 ms an answer to 64 clients would take a third of a second.
_SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What is served, where, and to whom.

    key: needed at every address but this machine's own, unless `open_to_all`. grace_s: in which running texts may end.
    models_folder: where lessons keep their models; None: the user's own.
    """

    models: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8321
    key: str | None = None
    open_to_all: bool = False
    allow_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    opening: Opening = Opening()
    limits: Limits = Limits()
    grace_s: float = 30.0
    models_folder: Path | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for an address that others reach without a key."""
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port must be in 0..65535 (0: any that is free), but got {self.port}")
        if self.key is not None and (len(self.key) < 8 or not self.key.isascii() or not self.key.isprintable()):
            raise UsageError("a key must have at least 8 printable ASCII characters")
        if not is_loopback(self.host) and self.key is None and not self.open_to_all:
            raise UsageError(
                f"others can reach {self.host}, so a key is needed\n"
                "Give one with --key-file FILE, or say --no-key to let everyone in."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(serving: Serving, *, ready: Callable[[str], None]) -> int:
    """Serve until a signal ends it; returns the exit code. ready: told the page's address once the writer is open.

    Raises UsageError, FormatError and ResourceError for what cannot be served.
    """
    models = Models(serving.models, opening=serving.opening, limits=serving.limits)
    lessons = Lessons(serving.models_folder)
    readiness = Readiness()
    guard = Guard(
        key=serving.key, hosts=frozenset({serving.host, *serving.allow_hosts}), origins=frozenset(serving.origins)
    )
    _allow_connections()
    sys.setswitchinterval(_SWITCH_SECONDS)
    listening = _listen(serving.host, serving.port)
    port = listening.getsockname()[1]
    gatekeeping = Gatekeeping(listening, guard)
    models.show_room_on(gatekeeping.board)
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    address = f"http://{shown}:{port}/" + (f"#key={serving.key}" if serving.key else "")
    config = uvicorn.Config(
        build(models, lessons, guard, readiness),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what clients send wrongly is told to them, not to whoever runs the server
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(serving.grace_s + 5),
    )
    server = _Server(config, gatekeeping, _Ending(models, lessons, readiness, serving.grace_s))
    opening = threading.Thread(
        target=_open_first, args=(models, server, readiness, lambda: ready(address)), daemon=True
    )
    opening.start()
    try:
        asyncio.run(server.serve(sockets=[]))
    finally:
        lessons.close()
        models.close(0.0)
    if server.failure is not None:
        raise server.failure
    return 0


@dataclass(frozen=True)
class _Ending:
    """What ends with the server."""

    models: Models
    lessons: Lessons
    readiness: Readiness
    grace_s: float

    def orderly(self) -> None:
        """Lessons end at once, for nobody can keep one any more; texts have the grace time."""
        self.lessons.close()
        self.models.close(self.grace_s)

    def at_once(self) -> None:
        """Only the lessons' processes must not be left behind."""
        ending = threading.Thread(target=self.lessons.close, daemon=True)
        ending.start()
        ending.join(2.0)
        os._exit(1)


class _Server(uvicorn.Server):
    """uvicorn, whose first signal lets texts end, and whose second ends at once."""

    def __init__(self, config: uvicorn.Config, gatekeeping: Gatekeeping, ending: _Ending) -> None:
        super().__init__(config)
        self._gatekeeping, self._ending = gatekeeping, ending
        self.failure: BaseException | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal came; the second is from somebody who will not wait."""
        if self.should_exit and self.failure is None:
            self._ending.at_once()
        self._ending.readiness.ready = False
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The connections come from the gate."""
        await super().startup(sockets)
        await self._gatekeeping.start(lambda: Connection(self.config, self.server_state, self.lifespan.state))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No more connections; what is being written ends, within the grace time."""
        closing = asyncio.create_task(asyncio.to_thread(self._ending.orderly))
        await self._gatekeeping.close()
        await super().shutdown(sockets)
        await closing

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server, and are not raised again after it: an orderly end has exit code 0."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _open_first(models: Models, server: _Server, readiness: Readiness, told: Callable[[], None]) -> None:
    """Open the first writer, so that the first request need not wait; then say that the server is ready."""
    try:
        for name in models.names:
            if "write" in models.named(name).described.verbs:
                models.writing(name)
                break
    except BaseException as error:
        server.failure = error
        server.should_exit = True
        return
    gc.collect()
    gc.freeze()  # what is there now stays; gone through again and again it would hold up every answer
    if not server.should_exit:
        readiness.ready = True
        told()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ResourceError(
            f"nothing can listen at {host}, port {port}: {error.strerror}\n"
            "Choose another with --port; 0 is any that is free."
        ) from None
    limit_unread(listening)
    listening.listen(2048)
    return listening


def _allow_connections() -> None:
    """Each takes a file descriptor; many systems allow a process 1,024, files included, unless it asks."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        more = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, most))
