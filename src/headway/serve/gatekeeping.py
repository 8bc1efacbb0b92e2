"""The server's side of its gate: starts the process, takes over the connections that it hands in, and ends it."""

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable

from headway.errors import ResourceError
from headway.serve.admission import Guard
from headway.serve.board import Board, board_file

LOGGER = logging.getLogger(__name__)
_TAKEN = 16  # connections between two turns of the loop
_END_SECONDS = 5.0


class Gatekeeping:
    """One gate in front of one listening socket."""

    def __init__(self, listening: socket.socket, guard: Guard) -> None:
        """listening: stays open here, too, so that nothing is lost where the gate's process dies."""
        self._listening, self._guard = listening, guard
        self._file = board_file()
        self.board = Board(self._file.fileno())
        self._protocol: Callable[[], asyncio.Protocol] | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._taking: set[asyncio.Task[None]] = set()
        self._closing = False
        self._own: asyncio.Server | None = None

    async def start(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Begin to take connections. Raises ResourceError where no process starts.

        protocol: makes what speaks with one client.
        """
        self._protocol = protocol
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        inherited = (self._listening.fileno(), theirs.fileno(), self._file.fileno())
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "headway.serve.gate", *map(str, inherited)],
                    stdin=subprocess.PIPE,
                    pass_fds=inherited,
                )
            except OSError as error:
                raise ResourceError(f"no process can be started for the server's door: {error.strerror}") from None
        assert self._process.stdin is not None
        guard = self._guard
        told = {"key": guard.key, "hosts": sorted(guard.hosts), "origins": sorted(guard.origins)}
        with contextlib.suppress(BrokenPipeError), self._process.stdin as given:  # where it died, the channel says so
            given.write(json.dumps(told).encode() + b"\n")
        asyncio.get_running_loop().add_reader(self._channel, self._take)

    async def close(self) -> None:
        """Take nobody in any more; who was accepted before is here then."""
        self._closing = True
        if self._process is not None:
            if self._channel is not None:
                self._channel.shutdown(socket.SHUT_WR)
                try:
                    await asyncio.wait_for(self._ended.wait(), _END_SECONDS)
                except TimeoutError:
                    LOGGER.warning("the process at the door did not end by itself and is ended")
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._stop_reading()
        if self._own is not None:
            self._own.close()
        self._listening.close()
        if self._taking:
            await asyncio.wait(self._taking)
        self._file.close()

    def _take(self) -> None:
        assert self._channel is not None
        for _ in range(_TAKEN):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            for descriptor in descriptors:
                task = asyncio.ensure_future(self._serve(socket.socket(fileno=descriptor)))
                self._taking.add(task)
                task.add_done_callback(self._taking.discard)
            if not message:
                self._gate_ended()
                return

    async def _serve(self, connection: socket.socket) -> None:
        assert self._protocol is not None
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client went again
            connection.close()

    def _gate_ended(self) -> None:
        self._stop_reading()
        self._ended.set()
        if not self._closing:
            LOGGER.warning("the process at the door ended; the server takes its connections itself from here on")
            task = asyncio.ensure_future(self._listen())
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    async def _listen(self) -> None:
        assert self._protocol is not None
        self._listening.setblocking(False)
        self._own = await asyncio.get_running_loop().create_server(self._protocol, sock=self._listening)

    def _stop_reading(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
