"""A live lesson, from pasted text to a kept model, and everything that can go wrong on the way."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headway import Writer
from headway.errors import ConfigError, DataError, StorageError, UsageError
from headway.serve.lesson import Lesson
from headway.serve.lesson_process import LessonOrder, prompt_of
from headway.serve.lessons import (
    LessonConflict,
    LessonLimits,
    Lessons,
    UnknownLesson,
    default_models_folder,
)

SECONDS = 4.0
STEPS = 16  # however busy the machine is
LIMITS = LessonLimits(threads=1, grace_s=900.0)


def prose(n_sentences: int = 400) -> str:
    """A text that is quickly learnt from."""
    draw = random.Random(3)
    who, what, where = ("the cat", "a dog", "my aunt"), ("sees", "likes", "finds"), ("the red house", "a ball", "him")
    return "".join(f"{draw.choice(who)} {draw.choice(what)} {draw.choice(where)}. " for _ in range(n_sentences))


def wait_until_gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a child that this process has reaped is no more."""
    for _ in range(int(seconds * 50)):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.02)
    return False


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".lesson-*"))


@pytest.fixture
def lessons(tmp_path: Path) -> Iterator[Lessons]:
    made = Lessons(tmp_path / "models", LIMITS)
    yield made
    made.close()


@dataclass(frozen=True)
class Run:
    """A lesson that came to its end, with all it told."""

    lessons: Lessons
    lesson: Lesson
    events: list[dict[str, Any]]

    def all(self, key: str) -> list[Any]:
        return [event for event in self.events if key in event]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    lessons = Lessons(tmp_path_factory.mktemp("lessons") / "models", LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headway.serve.lessons.LessonOrder", partial(LessonOrder, steps=STEPS))
        lesson = lessons.start(prose(), SECONDS, 7)
    yield Run(lessons, lesson, list(lesson.events(timeout=900.0)))
    lessons.close()


def test_a_lesson_ends_with_done_and_its_loss_falls(run: Run) -> None:
    assert run.events[-1].keys() == {"done"}, run.events[-1]
    steps = run.all("loss")
    assert all(event.keys() == {"step", "loss", "bits_per_byte", "tokens_per_s", "seconds_left"} for event in steps)
    numbers = [event["step"] for event in steps]
    assert numbers == sorted(set(numbers)) and numbers[0] == 1 and numbers[-1] == STEPS
    kept_aside = [event["kept_aside"]["bits_per_byte"] for event in run.all("kept_aside")]
    assert min(kept_aside) < 0.8 * 8.0 and run.events[-1]["done"]["bits_per_byte"] == pytest.approx(min(kept_aside))
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert 0.0 <= steps[-1]["seconds_left"] < steps[0]["seconds_left"]


def test_samples_begin_with_the_prompt_and_come_before_and_during_learning(run: Run) -> None:
    samples = run.all("sample")
    assert samples[0]["at_step"] == 0 and len(samples) >= 3
    assert [event["at_step"] for event in samples] == sorted({event["at_step"] for event in samples})
    assert all(event["sample"].startswith(prompt_of(prose())) for event in samples)
    assert len({event["sample"] for event in samples}) > 1


def test_one_head_is_shown_from_before_the_first_step_to_the_end(run: Run) -> None:
    heads = [event["head"] for event in run.all("head")]
    assert heads[0]["at_step"] == 0 and len(heads) == len(run.all("sample"))
    assert len({(head["layer"], head["head"]) for head in heads}) == 1
    for head in heads:
        data, side = base64.b64decode(head["data"], validate=True), head["side"]
        assert side == len(head["tokens"]) <= 32 and len(data) == side * side
        rows = [data[place * side : (place + 1) * side] for place in range(side)]
        assert all(not any(row[place + 1 :]) for place, row in enumerate(rows)), "a head reads no later token"
        assert all(abs(sum(row) - 255) <= side for row in rows)
    assert heads[0]["data"] != heads[-1]["data"]


def test_who_comes_late_gets_every_event_again(run: Run) -> None:
    assert list(run.lesson.events()) == run.events
    assert list(run.lesson.events(len(run.events) - 1)) == run.events[-1:]
    assert run.lesson.since(len(run.events)) == ([], True)
    assert json.loads(json.dumps(run.events, allow_nan=False)) == run.events
    model = run.all("model")[0]["model"]
    assert model["text_bytes"] == len(prose()) and model["seed"] == 7 and model["parameters"] > 100_000


def test_hostile_and_taken_names_are_refused_and_nothing_is_moved(run: Run) -> None:
    (run.lessons.folder / "taken").mkdir(exist_ok=True)
    before = sorted(path.name for path in run.lessons.folder.iterdir())
    for name in (
        "",
        ".",
        "..",
        "../x",
        "/tmp/x",
        "a/b",
        "a\\b",
        "a\0b",
        "x" * 61,
        "-rf",
        ".hidden",
        "a b",
        "n\n",
        "\u00e9",
    ):
        with pytest.raises(UsageError, match="at most 60 letters"):
            run.lessons.keep(run.lesson.id, name)
    with pytest.raises(StorageError, match="already"):
        run.lessons.keep(run.lesson.id, "taken")
    with pytest.raises(StorageError, match="already"):
        run.lessons.keep(run.lesson.id, "served", taken={"served"})
    with pytest.raises(UnknownLesson):
        run.lessons.keep("../x", "fine")
    assert sorted(path.name for path in run.lessons.folder.iterdir()) == before


def test_a_kept_model_opens_writes_and_outlives_its_lesson(run: Run) -> None:
    folder = run.lessons.keep(run.lesson.id, "my-first_Model2")
    assert folder == run.lessons.folder / "my-first_Model2"
    with pytest.raises(LessonConflict, match="kept already"):
        run.lessons.keep(run.lesson.id, "again")
    written = Writer(folder, engine="torch").write("the cat", max_new_tokens=12, seed=1)
    assert len(written.ids) == 12
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# my-first_Model2\n") and f"{SECONDS:g} seconds" in card
    assert not list((folder / "training").glob("step-*")) and (folder / "training" / "recipe.toml").exists()
    assert str(run.lessons.folder) not in (folder / "training" / "recipe.toml").read_text(encoding="utf-8")
    run.lessons.forget(run.lesson.id)
    assert folder.is_dir() and not left_behind(run.lessons.folder)
    with pytest.raises(UnknownLesson):
        run.lessons.get(run.lesson.id)


def test_a_killed_process_is_an_error_event_and_leaves_no_folder(lessons: Lessons) -> None:
    lesson = lessons.start(prose(), 60.0, 0)
    os.kill(lesson.pid, signal.SIGKILL)
    last = list(lesson.events(timeout=60.0))[-1]
    assert last["error"]["code"] == "failed" and "memory" in last["error"]["message"]
    assert lesson.state == "failed" and wait_until_gone(lesson.pid)
    lessons.forget(lesson.id)
    assert not left_behind(lessons.folder)


def test_one_lesson_runs_at_a_time_and_stopping_it_makes_room(lessons: Lessons) -> None:
    first = lessons.start(prose(), 60.0, 0)
    with pytest.raises(LessonConflict, match="one lesson runs at a time"):
        lessons.start(prose(), 60.0, 1)
    with pytest.raises(LessonConflict, match="running"):
        lessons.keep(first.id, "early")
    watched: list[dict[str, Any]] = []
    watcher = threading.Thread(target=lambda: watched.extend(first.events()))
    watcher.start()
    first.stop()
    watcher.join(timeout=60.0)
    assert watched[-1]["error"]["code"] == "stopped" and first.state == "stopped"
    assert not Path(f"/proc/{first.pid}").exists() and not left_behind(lessons.folder)
    second = lessons.start(prose(), 60.0, 1)
    lessons.close()
    assert second.state == "stopped" and not Path(f"/proc/{second.pid}").exists() and not left_behind(lessons.folder)
    with pytest.raises(LessonConflict, match="shutting down"):
        lessons.start(prose(), 60.0, 2)


def test_the_oldest_lesson_makes_room(tmp_path: Path) -> None:
    lessons = Lessons(tmp_path, LessonLimits(remembered=2))
    names = []
    for seed in range(3):
        lesson = lessons.start(prose(), 60.0, seed)
        lesson.stop()
        names.append(lesson.id)
    with pytest.raises(UnknownLesson):
        lessons.get(names[0])
    assert lessons.get(names[1]).state == "stopped" and lessons.get(names[2]).state == "stopped"
    lessons.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("short", "1,000 to 2,000,000 bytes"),
        (" " * 5_000, "1,000 to 2,000,000 bytes"),
        ("\u00e9" * 1_000_001, "2,000,002"),
        ("a zero byte \0 " * 200, "zero byte"),
        ("half a character \ud800 " * 100, "surrogate"),
    ],
)
def test_texts_that_cannot_be_learnt_from_are_refused_at_once(lessons: Lessons, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        lessons.start(text, 60.0, 0)
    assert not lessons.folder.exists()


@pytest.mark.parametrize(
    ("seconds", "seed"),
    [(0.0, 0), (121.0, 0), (float("nan"), 0), (float("inf"), 0), (True, 0), (60.0, -1), (60.0, 2**31), (60.0, True)],
)
def test_seconds_and_seeds_outside_their_range_are_refused(lessons: Lessons, seconds: float, seed: int) -> None:
    with pytest.raises(UsageError):
        lessons.start(prose(), seconds, seed)


def test_what_training_refuses_is_the_last_event_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lessons = Lessons(tmp_path, replace(LIMITS, memory=1_000))
    lesson = lessons.start(prose(), 60.0, 0)
    last = list(lesson.events(timeout=900.0))[-1]
    assert "may hold 1,000 bytes of memory" in last["error"]["message"] and last["error"]["code"] == "failed"
    assert "Give it a shorter text." in last["error"]["message"] and lesson.state == "failed"
    lessons.close()
    assert wait_until_gone(lesson.pid) and not left_behind(tmp_path)


def test_a_folder_that_cannot_be_written_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(StorageError, match="models folder"):
        Lessons(tmp_path / "file" / "models", LIMITS).start(prose(), 60.0, 0)


def test_leftovers_of_a_dead_server_are_swept_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    living, dead = Lessons(tmp_path, LIMITS), tmp_path / ".lesson-dead"
    dead.mkdir()
    held = living.start(prose(), 60.0, 0)
    for folder in (dead, held.folder):
        os.utime(folder, (1.0, 1.0))
    other = Lessons(tmp_path, LIMITS)
    other.start(prose(), 60.0, 0)
    assert not dead.exists() and held.folder.exists()
    other.close()
    living.close()
    assert not left_behind(tmp_path)


def test_the_process_ends_with_its_server(tmp_path: Path) -> None:
    code = (
        "import os, sys; from headway.serve.lessons import Lessons; "
        "lesson = Lessons(sys.argv[1]).start('some words to learn. ' * 200, 60.0, 0); "
        "print(lesson.pid, flush=True); os._exit(1)"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert finished.stdout.strip().isdigit(), finished.stderr
    assert ends(int(finished.stdout))


def ends(pid: int) -> bool:
    """Whether a process that nobody here is the parent of ends; a zombie has ended."""
    for _ in range(3_000):
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_kept_models_go_to_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_models_folder() == tmp_path / "headway" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_models_folder() == tmp_path / ".local" / "share" / "headway" / "models"


def test_limits_that_mean_nothing_are_refused() -> None:
    for wrong in ({"threads": 0}, {"memory": 0}, {"least_bytes": 0}, {"remembered": 0}):
        with pytest.raises(ConfigError):
            LessonLimits(**wrong)
    with pytest.raises(ConfigError):
        LessonLimits(least_seconds=5.0, most_seconds=4.0)


def test_the_prompt_is_the_texts_first_words() -> None:
    assert prompt_of("  Once upon\na time there was") == "Once upon a"
    assert len(prompt_of("\u4e00" * 1_000)) == 24
