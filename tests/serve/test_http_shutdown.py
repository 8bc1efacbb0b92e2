"""The end of a server: one signal lets what runs be done, a second does not wait."""

import json
import subprocess
import sys
import threading
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
