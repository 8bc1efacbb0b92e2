"""Live lessons: pasted text trains a tiny writer for a minute, in a process of its own, while others watch.

A lesson tells events, in this order but mixed: {"note"}, {"model": {...}}, {"step", "loss", "bits_per_byte",
"tokens_per_s", "seconds_left"}, {"kept_aside": {...}}, {"sample", "prompt", "at_step"}, {"head": {...}}; and as its
last one {"done": {...}} or {"error": {"message", "code"}}.
"""

import contextlib
import math
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from headway.errors import ConfigError, DataError, HeadwayError, StorageError, UsageError
from headway.serve.lesson import Lesson
from headway.serve.lesson_process import MODEL, TEXT, LessonOrder
from headway.storage import only_writer, replace_file, require_space

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_WORKING = ".lesson-"
_DISK_BYTES = 100_000_000  # a lesson's folder has about 15 MB
_NEW_SECONDS = 60.0  # a folder this young may be one that another server is about to hold


class LessonConflict(HeadwayError):
    """Another lesson is running, or this one is not in the state that was asked of it."""


class UnknownLesson(HeadwayError):
    """There is no lesson of that name, or no longer."""


@dataclass(frozen=True, kw_only=True)
class LessonLimits:
    """What lessons may take.

    threads: of the training process. memory: bytes it may hold. remembered: how many lessons there are at once, of
    which all but one have ended and stay to be watched again and kept; the oldest makes room. grace_s: how long a
    lesson may take beside its seconds, for starting and ending, before its process is killed.
    """

    least_bytes: int = 1_000
    most_bytes: int = 2_000_000
    least_seconds: float = 1.0
    most_seconds: float = 120.0
    threads: int = 2
    memory: int = 2_000_000_000
    remembered: int = 4
    grace_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("least_bytes", "most_bytes", "threads", "memory", "remembered"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of lessons must be at least 1, but got {getattr(self, name)}")
        if not 0.0 < self.least_seconds <= self.most_seconds < math.inf:
            raise ConfigError(
                f"the seconds of lessons must be above 0 and the least no more than the most, but got "
                f"least_seconds={self.least_seconds}, most_seconds={self.most_seconds}"
            )


def default_models_folder() -> Path:
    """Where kept models go where nothing is said: the user's data folder, by the XDG rules."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "headway" / "models"


class Lessons:
    """The lessons of one server, one running at a time; safe from any thread."""

    def __init__(self, folder: str | Path | None = None, limits: LessonLimits | None = None) -> None:
        """`folder`: where kept models go, and where lessons work; made when the first one starts."""
        self.folder = default_models_folder() if folder is None else Path(folder)
        self.limits = limits or LessonLimits()
        self._lessons: dict[str, Lesson] = {}
        self._held: dict[str, contextlib.ExitStack] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(self, text: str, seconds: float, seed: int) -> Lesson:
        """Begin a lesson; it runs on, whether or not anybody watches.

        Raises DataError for a text that is too short, too long or no text, UsageError for seconds or a seed outside
        their range, LessonConflict where a lesson is running, StorageError where the folder cannot be written.
        """
        content = self._checked(text, seconds, seed)
        order = LessonOrder(
            seconds=float(seconds),
            seed=seed,
            threads=max(1, min(self.limits.threads, os.cpu_count() or 1)),
            memory=self.limits.memory,
        )
        with self._lock:
            if self._closed:
                raise LessonConflict("the server is shutting down and starts no lesson\nTry again later.")
            running = next((lesson for lesson in self._lessons.values() if lesson.state == "running"), None)
            if running is not None:
                raise LessonConflict(
                    f"one lesson runs at a time, and one has {running.seconds_left():.0f} seconds to go\n"
                    f"Watch that one, or try again when it has ended."
                )
            while len(self._lessons) >= self.limits.remembered:
                self._discard(next(iter(self._lessons)))
            name = secrets.token_hex(8)
            folder = self._working_folder(name, content)
            try:
                lesson = Lesson(name, folder, order, grace_s=self.limits.grace_s)
            except OSError as error:
                self._held.pop(name).close()
                shutil.rmtree(folder, ignore_errors=True)
                raise StorageError(
                    f"the lesson's process cannot be started: {error.strerror or error}\nTry again later."
                ) from error
            self._lessons[name] = lesson
            return lesson

    def get(self, name: str) -> Lesson:
        """The lesson of that id. Raises UnknownLesson."""
        with self._lock:
            return self._get(name)

    def keep(self, lesson: str, name: str, *, taken: Collection[str] = ()) -> Path:
        """Move a finished lesson's model into the folder of kept models, under `name`, and return its path.

        taken: names that are not free though no folder has them. Raises UsageError for a name that is none,
        StorageError for one that is taken, LessonConflict where the lesson is not done or is kept already, and
        UnknownLesson.
        """
        with self._lock:
            found = self._get(lesson)
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UsageError(
                    f"a model's name has at most 60 letters (a to z), digits, - and _, and begins with a letter or a "
                    f"digit, but got {name!a:.80}\nChoose another name."
                )
            if found.kept is not None:
                raise LessonConflict(f"this lesson's model is kept already, as {found.kept.name}\nUse it by that name.")
            if found.state != "done":
                raise LessonConflict(f"only a lesson that is done can be kept, and this one is {found.state}")
            target = self.folder / name
            if name in taken or os.path.lexists(target):
                raise StorageError(f"there is a model {name} already\nChoose another name.")
            _move(found, target)
            found.kept = target
            return target

    def forget(self, name: str) -> None:
        """Stop a lesson where it runs, and remove what it made, unless that was kept. Raises UnknownLesson."""
        with self._lock:
            self._get(name)
            self._discard(name)

    def close(self) -> None:
        """Stop the running lesson and remove everything that was not kept; no lesson starts any more."""
        with self._lock:
            self._closed = True
            for name in list(self._lessons):
                self._discard(name)

    def _get(self, name: str) -> Lesson:
        if name not in self._lessons:
            raise UnknownLesson(f"there is no lesson {name!a:.40}, or no longer\nStart another one.")
        return self._lessons[name]

    def _discard(self, name: str) -> None:
        self._lessons.pop(name).stop()
        self._held.pop(name).close()

    def _checked(self, text: str, seconds: float, seed: int) -> bytes:
        """The text as UTF-8."""
        limits = self.limits
        try:
            content = text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"the text has half a character at place {error.start} (a lone surrogate)\nTake it out."
            ) from None
        if "\0" in text:
            raise DataError("the text has a zero byte, as files that are no text have\nPaste plain text.")
        written = len(text.strip().encode())
        if written < limits.least_bytes or len(content) > limits.most_bytes:
            raise DataError(
                f"a lesson's text has {limits.least_bytes:,} to {limits.most_bytes:,} bytes, but got "
                f"{min(written, len(content)) if written < limits.least_bytes else len(content):,}\n"
                f"Paste {'more' if written < limits.least_bytes else 'less'} text."
            )
        if isinstance(seconds, bool) or not limits.least_seconds <= seconds <= limits.most_seconds:
            raise UsageError(
                f"a lesson takes {limits.least_seconds:g} to {limits.most_seconds:g} seconds, but got {seconds!a:.40}"
            )
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise UsageError(f"a seed is a whole number from 0 to 2,147,483,647, but got {seed!a:.40}")
        return content

    def _working_folder(self, name: str, content: bytes) -> Path:
        """A folder beside the kept models, so that keeping is one rename; held while its lesson is remembered."""
        folder = self.folder / f"{_WORKING}{name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            require_space(self.folder, _DISK_BYTES)
            folder.mkdir(mode=0o700)
            held = contextlib.ExitStack()
            held.enter_context(only_writer(folder))
            self._held[name] = held
            (folder / TEXT).write_bytes(content)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if name in self._held:
                self._held.pop(name).close()
            raise StorageError(
                f"{self.folder} cannot be written: {error.strerror or error}\n"
                f"Free space there, or start the server with another models folder."
            ) from error
        return folder


def _sweep(folder: Path) -> None:
    """Remove the working folders of servers that died; those of living ones are held."""
    for leftover in folder.glob(f"{_WORKING}*"):
        with contextlib.suppress(OSError, StorageError):
            if time.time() - leftover.stat().st_mtime > _NEW_SECONDS and not leftover.is_symlink():
                with only_writer(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)


def _move(lesson: Lesson, target: Path) -> None:
    """One rename, after what names the model by its working folder or can never go on was put right."""
    model = lesson.folder / MODEL
    try:
        for checkpoint in (model / "training").glob("step-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)  # the text is gone, so the run cannot go on
        card = (model / "README.md").read_text(encoding="utf-8")
        named = card.replace(f"# {MODEL}\n", f"# {target.name}\n", 1) + (
            f"- Made in a live lesson of {lesson.order.seconds:g} seconds: it writes in the manner of its text, "
            f"and nothing it writes is knowledge. The text was not kept.\n"
        )
        replace_file(model / "README.md", lambda path: _write(path, named))
        os.rename(model, target)
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror or error}\nFree space there, or choose another name."
        ) from error


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
