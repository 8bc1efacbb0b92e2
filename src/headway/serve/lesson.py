"""One lesson as its server sees it: a child process, and the events it has told so far."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from headway.serve.lesson_process import LessonOrder
from headway.settings import to_dict

Event = dict[str, Any]

_LONGEST_LINE = 1 << 16
_MOST_EVENTS = 2_000
_TAIL = 2_000  # characters of the child's complaints that are logged
_ERRORS = "errors.txt"

logger = logging.getLogger(__name__)


class Lesson:
    """A lesson that began when this was made. state: "running", then "done", "failed" or "stopped"."""

    def __init__(self, name: str, folder: Path, order: LessonOrder, *, grace_s: float) -> None:
        """Start the process in `folder`, which holds its text. Raises OSError where that cannot be done."""
        self.id = name
        self.folder = folder
        self.order = order
        self.kept: Path | None = None
        self.state: Literal["running", "done", "failed", "stopped"] = "running"
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._began = time.monotonic()
        self._late = False
        self._process = _begin(folder, order)
        self._reading = threading.Thread(target=self._read, name=f"lesson {name}", daemon=True)
        self._timer = threading.Timer(order.seconds + grace_s, self._too_late)
        self._timer.daemon = True
        self._reading.start()
        self._timer.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def seconds_left(self) -> float:
        """About how long it goes on; 0 after its end."""
        if self.state != "running":
            return 0.0
        return max(self.order.seconds - (time.monotonic() - self._began), 1.0)

    def since(self, seen: int) -> tuple[list[Event], bool]:
        """The events after the first `seen`, at once, and whether the last of them is the lesson's last."""
        with self._changed:
            return self._events[seen:], self.state != "running"

    def events(self, seen: int = 0, *, timeout: float | None = None) -> Iterator[Event]:
        """All events after the first `seen`, from the past and as they come, to the last.

        Blocks between them; ends early where none comes for `timeout` seconds.
        """
        while True:
            with self._changed:
                while len(self._events) <= seen and self.state == "running":
                    if not self._changed.wait(timeout):
                        return
            new, ended = self.since(seen)
            yield from new
            seen += len(new)
            if ended:
                return

    def stop(self) -> None:
        """Kill the process where it runs, and remove the folder; what was kept stays."""
        with self._changed:
            if self.state == "running":
                self._end("stopped", _error("the lesson was stopped before its end", "stopped"))
        self._timer.cancel()
        _kill(self._process)
        if threading.current_thread() is not self._reading:
            self._reading.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _too_late(self) -> None:
        self._late = True
        _kill(self._process)

    def _read(self) -> None:
        """Take the events in until the process ends; then there is an end, whatever happened."""
        assert self._process.stdout is not None
        with self._process.stdout as told:
            while line := told.readline(_LONGEST_LINE):
                self._take(line)
        code = self._process.wait()
        self._timer.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
        with self._changed:
            if self.state == "running":
                logger.warning("a lesson ended with code %d: %s", code, self._complaints())
                self._end("failed", _error(_why(code, self._late), "failed"))
            failed = self.state == "failed"
        if failed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return  # cut short by a kill
        with self._changed:
            if self.state != "running" or not isinstance(event, dict):
                return
            if "done" in event:
                self._end("done", event)
            elif "error" in event:
                self._end("failed", event)
            elif len(self._events) < _MOST_EVENTS:
                self._events.append(event)
                self._changed.notify_all()

    def _end(self, state: Literal["done", "failed", "stopped"], event: Event) -> None:
        """The last event, once; the condition is held."""
        self._events.append(event)
        self.state = state
        self._changed.notify_all()

    def _complaints(self) -> str:
        try:
            return (self.folder / _ERRORS).read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        except OSError:
            return "it said nothing"


def _begin(folder: Path, order: LessonOrder) -> subprocess.Popen[bytes]:
    """The process, which has its order; its input stays open, and where that closes it ends."""
    threads = str(order.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": ""}
    with open(folder / _ERRORS, "wb") as errors:
        process = subprocess.Popen(
            # -P: a file of the current folder must not stand in for a module.
            [sys.executable, "-P", "-m", "headway.serve.lesson_process", str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C in the server's terminal is the server's
        )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(to_dict(order)).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it ended at once, which is told like any other end
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()


def _error(message: str, code: str) -> Event:
    return {"error": {"message": message, "code": code}}


def _why(code: int, late: bool) -> str:
    """What a process that ended without a word died of, as far as its code tells."""
    if late:
        return (
            "the lesson took far longer than its seconds and was ended: the machine is busy, or the text is not made "
            "of words\nTry again later, or with running text."
        )
    if code == -signal.SIGKILL:
        return (
            "the lesson's process was killed, as the system does where memory runs out\n"
            "Try again with a shorter text, or when less is running."
        )
    if code < 0:
        return f"the lesson's process was ended by signal {-code}\nTry again."
    return f"the lesson's process failed with code {code}; the server's log says more\nTry again."
