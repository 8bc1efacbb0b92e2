"""Contract 7 with kill -9: whatever the moment, the folder can be read and the resumed run ends bit for bit alike."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headway.formats.folder import load

RUNS = Path(__file__).with_name("runs.py")


def start(texts: Path, output: Path, steps: int) -> subprocess.Popen[str]:
    """A run that has begun: its imports, which take most of a short run's time, are done."""
    command = [sys.executable, str(RUNS), str(texts), str(output), str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    return process


def finish(texts: Path, output: Path, steps: int) -> float:
    """Run to the end; the seconds it took after its imports."""
    process = start(texts, output, steps)
    began = time.monotonic()
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert printed.endswith(f"finished {steps}\n")
    return time.monotonic() - began


def content(output: Path, steps: int) -> dict[str, str]:
    """Hashes of the model and of the last checkpoint's tensors."""
    checkpoint = output / "training" / f"step-{steps}"
    names = [output / "model.safetensors", checkpoint / "model.safetensors", checkpoint / "optimizer.safetensors"]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def kill_and_resume(texts: Path, tmp_path: Path, kills: int, steps: int) -> None:
    """Kill one run after another at random moments of its life, resume each once, compare with one never killed."""
    chance = random.Random(7)
    whole = finish(texts, tmp_path / "whole", steps)
    expected = content(tmp_path / "whole", steps)
    for number in range(kills):
        output = tmp_path / f"killed-{number}"
        process = start(texts, output, steps)
        time.sleep(chance.uniform(0.0, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if output.exists():
            load(output)
        finish(texts, output, steps)
        assert content(output, steps) == expected
        assert not list(tmp_path.glob(".*.partial-*")) and not list(output.rglob(".*.partial-*"))


def test_a_killed_run_resumes_bit_for_bit(texts, tmp_path):
    kill_and_resume(texts, tmp_path, kills=2, steps=30)


@pytest.mark.night
def test_thirty_runs_killed_at_random_moments_resume_bit_for_bit(texts, tmp_path):
    kill_and_resume(texts, tmp_path, kills=30, steps=150)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_run(texts, tmp_path, number, code):
    command = [sys.executable, "-m", "headway", "train", str(texts), "-o", str(tmp_path / "model"), "--steps", "100000"]
    small = ["--set", "model.width=14", "--set", "model.n_heads=2", "--set", "tokenizer.vocabulary=270"]
    process = subprocess.Popen([*command, *small], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "model/training/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 1):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command goes on" in errors and "Traceback" not in errors
    load(tmp_path / "model")
