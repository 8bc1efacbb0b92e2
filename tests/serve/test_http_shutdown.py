"""The end of a server: one signal lets what runs be done, a second does not wait."""

import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0
LONG = {"model": "writer", "prompt": "Once", "temperature": 1, "seed": 1, "stream": True}


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "headway", "serve", "writer", "en-fr", "--port", "0", "--json"]
    with subprocess.Popen([*command, "--keep", str(folder), *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["address"].rstrip("/")
        finally:
            process.kill()


def opened(address: str, path: str, body: Any) -> Any:
    content = json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", content, {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=PATIENCE)


def test_one_signal_lets_texts_and_translations_be_done(tmp_path: Path) -> None:
    texts = ["Where is the man who wrote this letter to my sister?"] * 24
    answers: list[Any] = []

    def translate(address: str) -> None:
        with opened(address, "/v1/translate", {"model": "en-fr", "input": texts, "beam": 4}) as answer:
            answers.append(json.load(answer))

    with served(tmp_path) as (process, address):
        with opened(address, "/v1/translate", {"model": "en-fr", "input": "Where?"}) as answer:
            assert json.load(answer)["data"][0]["text"]
        translating = threading.Thread(target=translate, args=(address,))
        with opened(address, "/v1/completions", {**LONG, "max_tokens": 700}) as stream:
            assert stream.readline().startswith(b"data: ")
            translating.start()
            while not _busy(address):
                pass
            process.terminate()
            rest = stream.read()
        translating.join(PATIENCE)
        assert rest.rstrip().endswith(b"data: [DONE]") and b'"error"' not in rest
        assert len(answers) == 1 and len(answers[0]["data"]) == len(texts)
        assert process.wait(PATIENCE) == 0


def _busy(address: str) -> bool:
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
        return b"\nheadway_bench_waiting 1.0" in answer.read()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with served(tmp_path, "--grace", "50") as (process, address):
        with opened(address, "/v1/completions", {**LONG, "n": 8, "max_tokens": 16_000}) as stream:
            assert stream.readline().startswith(b"data: ")
            process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.terminate()
            assert process.wait(20) == 1


def test_texts_that_take_longer_than_the_grace_time_are_told(tmp_path: Path) -> None:
    with served(tmp_path, "--grace", "0.5") as (process, address):
        with opened(address, "/v1/completions", {**LONG, "n": 8, "max_tokens": 16_000}) as stream:
            assert stream.readline().startswith(b"data: ")
            process.terminate()
            rest = stream.read()
        assert b'"shutting_down"' in rest and rest.rstrip().endswith(b"data: [DONE]")
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("signals", [3, pytest.param(30, marks=pytest.mark.soak)])
def test_no_stream_is_cut_when_a_signal_comes_under_load(tmp_path: Path, signals: int) -> None:
    draw = random.Random(17)
    for number in range(signals):
        with served(tmp_path, "--grace", "0.3" if number % 3 == 2 else "30") as (process, address):
            answers: list[bytes] = []
            clients = [threading.Thread(target=_ask_on, args=(address, one, answers)) for one in range(6)]
            for client in clients:
                client.start()
            while not answers:
                time.sleep(0.01)
            time.sleep(draw.random() * 0.3)
            process.terminate()
            for client in clients:
                client.join(PATIENCE)
            assert process.wait(PATIENCE) == 0
        assert len(answers) >= len(clients)
        for answer in answers:
            assert answer.rstrip().endswith(b"data: [DONE]")
            assert re.search(rb'"finish_reason":"(length|stop)"|"code":"shutting_down"', answer)


def _ask_on(address: str, number: int, answers: list[bytes]) -> None:
    """Stream after stream until none is taken on any more; what was answered with 200 is kept to its last byte."""
    body = {**LONG, "prompt": f"{number}", "max_tokens": 20 + 40 * number}
    while True:
        try:
            stream = opened(address, "/v1/completions", body)
        except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
            return
        with stream:
            answers.append(stream.read())  # raises where a stream is cut
