"""Running the application: the address, the signals, and an end that cuts no text."""

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from headway.errors import ResourceError, UsageError
from headway.serve.app import Readiness, build
from headway.serve.lessons import Lessons
from headway.serve.limits import Limits
from headway.serve.models_served import Models, Opening
from headway.serve.safety import Guard

_HEADER_BYTES = 32 * 1024
_CONNECTIONS = 1024


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
    listening = _listen(serving.host, serving.port)
    port = listening.getsockname()[1]
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    address = f"http://{shown}:{port}/" + (f"#key={serving.key}" if serving.key else "")
    config = uvicorn.Config(
        build(models, lessons, guard, readiness),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(serving.grace_s + 5),
    )
    server = _Server(config, models, readiness, serving.grace_s)
    opening = threading.Thread(
        target=_open_first, args=(models, server, readiness, lambda: ready(address)), daemon=True
    )
    opening.start()
    try:
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        lessons.close()
        models.close(0.0)
    if server.failure is not None:
        raise server.failure
    return 0


class _Server(uvicorn.Server):
    """uvicorn, whose first signal lets texts end, and whose second ends at once."""

    def __init__(self, config: uvicorn.Config, models: Models, readiness: Readiness, grace_s: float) -> None:
        super().__init__(config)
        self._models, self._readiness, self._grace_s = models, readiness, grace_s
        self.failure: BaseException | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal came."""
        if self.should_exit:
            self.force_exit = True
        self._readiness.ready = False
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """No more connections; what is being written ends, within the grace time."""
        self._readiness.ready = False
        closing = asyncio.create_task(asyncio.to_thread(self._models.close, self._grace_s))
        await super().shutdown(sockets)
        if not self.force_exit:
            await closing

    def capture_signals(self) -> Any:
        """Signals end the server, and are not raised again after it: an orderly end has exit code 0."""
        import contextlib

        @contextlib.contextmanager
        def captured() -> Any:
            before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for sig, handler in before.items():
                    signal.signal(sig, handler)

        return captured()


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
    listening.listen(2048)
    return listening
