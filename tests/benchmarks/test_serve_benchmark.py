"""The server's benchmark and its client, against a stand-in server: what they read and what they count."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator

import pytest


class StandIn:
    """A server that answers three streams at a time and refuses the others, on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.running, self.full = 0, False
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(30.0)

    def _run(self) -> None:
        async def listen() -> None:
            server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            self.stopping = asyncio.Event()
            await self.stopping.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 30.0)
            server.close()
            await server.wait_closed()

        self.loop.run_until_complete(listen())
        self.loop.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join()

    def memory(self) -> int:
        return 1_000

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length) or b"null")
        if "GET" in head:
            text = json.dumps({"data": [{"id": "small"}]}).encode()
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (text[:5], text[5:]))
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        elif self.full or self.running >= 3:
            writer.write(b'HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nContent-Length: 13\r\n\r\n{"error": {}}')
        else:
            await self.stream(writer, body["max_tokens"])
        with contextlib.suppress(OSError):  # an attacker is gone before
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def stream(self, writer: asyncio.StreamWriter, tokens: int) -> None:
        self.running += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(tokens):
            event = b"data: %s\n\n" % json.dumps({"choices": [{"ids": [number], "text": "a"}]}).encode()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0.005)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        self.running -= 1


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


def test_streams_chunks_and_refusals_are_read(stand_in: StandIn) -> None:
    from serve import job
    from served import request

    stream = asyncio.run(request(stand_in.port, "POST", "/v1/completions", job("small", [1, 2], 5)))
    assert stream.finished and stream.ids == [0, 1, 2, 3, 4] and stream.times == sorted(stream.times)
    assert stream.times[0] < stream.times[-1] <= stream.seconds
    assert asyncio.run(request(stand_in.port, "GET", "/v1/models")).body == {"data": [{"id": "small"}]}
    stand_in.full = True
    refused = asyncio.run(request(stand_in.port, "POST", "/v1/completions", job("small", [1], 5)))
    assert (refused.status, refused.retry_after, refused.body) == (429, "2", {"error": {}})


def test_figures_count_what_was_accepted_refused_and_lost(stand_in: StandIn) -> None:
    from serve import SMOKE, lines_of, measure

    figures = asyncio.run(measure(stand_in, "small", 300, 50.0, SMOKE))
    assert figures.accepted == 3 and figures.refused == SMOKE.flood - 3 and figures.lost == 0
    assert figures.memory_growth == 0.0 and figures.share_of_engine == figures.served_rate / 50.0
    assert figures.slowest_over_median == 0.0  # two of the five were refused
    assert 0.0 < figures.first_token_median <= figures.first_token_p95
    assert "3 accepted, 27 refused, 0 lost" in "\n".join(lines_of("small", figures, SMOKE))


def test_an_attacker_reads_a_status_or_that_it_was_cut_off(stand_in: StandIn) -> None:
    from attack import answer_to, post

    assert asyncio.run(answer_to(stand_in.port, post(b'{"max_tokens": 1}'))) == 200
    stand_in.full = True
    assert asyncio.run(answer_to(stand_in.port, post(b'{"max_tokens": 1}'))) == 429
    assert post(b"{", length=10**15).endswith(b"Content-Length: 1000000000000000\r\n\r\n{")
