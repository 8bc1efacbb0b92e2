"""The server's benchmark and its client, against a stand-in server: what they read and what they count."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

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


class Alike:
    """Stands in for an engine and for a tokenizer."""

    def rate(self, prompts: list[list[int]], new_tokens: int) -> float:
        return 50.0

    def times(self, prompts: list[list[int]], new_tokens: int) -> list[float]:
        return [0.25 * (1 + token) for token in range(new_tokens)]

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join("a" * id for id in ids)


def test_figures_are_of_what_reached_the_clients(stand_in: StandIn) -> None:
    from serve import SMOKE, lines_of, measure
    from serve_peers.llama_server import Peer

    figures = measure(stand_in, "small", Alike(), Alike(), SMOKE)
    assert figures.engine_rate == 50.0 and figures.share_of_engine == figures.served_rate / 50.0
    assert figures.room_slowest_over_median == 0.0  # two of the five were refused
    assert figures.engine_first_token_median == 250.0 and figures.engine_alone_rate == 4.0
    assert 0.0 < figures.alone_rate <= 1 / 0.005  # the stand-in sleeps so long between two tokens
    assert 0.0 < figures.first_token_median <= figures.first_token_p95
    table = "\n".join(lines_of("small", figures, Peer(why="no such module"), SMOKE))
    assert "3 clients" in table and "not measured: no such module" in table


def test_a_python_without_the_other_server_gives_a_reason_and_no_figure(tmp_path: Path) -> None:
    from serve_peers.llama_server import llama_rate

    peer = llama_rate(str(tmp_path / "nothing"), "model", tmp_path, ["a"], new_tokens=1, threads=1)
    assert peer.rate is None and peer.why is not None and "nothing" in peer.why


def test_an_attacker_reads_a_status_or_that_it_was_cut_off(stand_in: StandIn) -> None:
    from attacks.raw import answer_to, post

    assert asyncio.run(answer_to(stand_in.port, post(b'{"max_tokens": 1}'))) == 200
    stand_in.full = True
    assert asyncio.run(answer_to(stand_in.port, post(b'{"max_tokens": 1}'))) == 429
    assert post(b"{", length=10**15).endswith(b"Content-Length: 1000000000000000\r\n\r\n{")


def test_a_flood_tells_answers_refusals_and_what_was_lost_apart(stand_in: StandIn) -> None:
    from attacks.flood import Flood
    from serve import job

    over: list[tuple[bool, bool]] = []
    flood = Flood(stand_in.port, lambda asked: over.append((asked.answered, asked.refused)))
    for _ in range(5):
        flood.ask("/v1/completions", job("small", [1], 5))
    flood.drain(30.0)
    assert sorted(over) == [(False, True)] * 2 + [(True, False)] * 3 and flood.open == 0
    flood.ask("/v1/completions", job("small", [1], 10_000))
    flood.drain(0.2)  # broken off by the client itself
    assert over[5:] == [(False, False)] and flood.open == 0


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_answer_is_whole_only_with_all_its_bytes_and_without_an_error(cut: int) -> None:
    from attacks.flood import Asked

    def asked(*parts: bytes) -> Asked:
        one = Asked(socket.socket(), b"", 0.0)
        for part in parts:
            one.take(part)
        one.end(1.0)
        one.connection.close()
        return one

    def told(body: bytes, more: bytes = b"") -> Asked:
        whole = b"HTTP/1.1 200 OK\r\n" + more + b"\r\n" + body
        return asked(whole[:-cut], whole[-cut:])

    plain = b'{"choices": []}'
    length = b"Content-Length: %d\r\n" % len(plain)
    assert told(plain, length).answered and not told(plain[:-1], length).answered
    assert not asked(b"HTTP/1.1 200 OK\r\n", b"").answered
    done = b"data: [DONE]\n\n"
    assert told(b'data: {"text": "\\"error\\""}\n\n' + done).answered
    assert not told(b'data: {"error": 1}\n\n' + done).answered and not told(b"data: {}\n\n").answered


def test_a_stream_counts_as_ended_only_with_a_reason_or_an_error_and_its_last_event(stand_in: StandIn) -> None:
    from attacks.ending import _ended
    from served import Answer

    error = {"error": {"code": "shutting_down"}}
    assert _ended(Answer(finished=True, reasons=1)) and _ended(Answer(finished=True, error=error))
    assert not _ended(Answer(finished=True)) and not _ended(Answer(reasons=1)) and not _ended(Answer(error=error))


def test_an_attack_that_finds_something_ends_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    import attack
    from attacks.raw import Trial

    found = [Trial("S4", {}, []), Trial("S5", {"cases": 3}, ["it died"])]
    monkeypatch.setattr(attack, "trials", lambda wanted, scale, folder: (one for one in found))
    assert attack.main([]) == 1
    found.pop()
    assert attack.main(["--full"]) == 0
