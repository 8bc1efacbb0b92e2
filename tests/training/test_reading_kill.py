"""Contract 7 for fine-tuning, with kill -9: the resumed run ends bit for bit alike, calibration and all."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headway.formats.folder import load

RUNS = Path(__file__).with_name("reading_runs.py")
DATA = Path(__file__).parents[1] / "data"
STEPS = 60


def start(task: str, data: Path, output: Path) -> subprocess.Popen[str]:
    """A run that has begun: its imports are done."""
    command = [sys.executable, str(RUNS), task, str(data), str(output), str(STEPS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    return process


def finish(task: str, data: Path, output: Path) -> float:
    """Run to the end; the seconds it took after its imports."""
    process = start(task, data, output)
    began = time.monotonic()
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert printed.endswith(f"finished {STEPS}\n")
    return time.monotonic() - began


def content(output: Path) -> list[bytes]:
    checkpoint = output / "training" / f"step-{STEPS}"
    names = [output / "model.safetensors", output / "reader.json", checkpoint / "optimizer.safetensors"]
    return [path.read_bytes() for path in names]


@pytest.mark.night
@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("classify", "labelled/sentiment.train.tsv"),
        ("answer", "questions/coqa.jsonl"),
        ("tag", "tagged/names.train.conll"),
    ],
)
def test_a_fine_tuning_killed_at_random_moments_resumes_bit_for_bit(tmp_path: Path, task: str, data: str) -> None:
    chance = random.Random(11)
    whole = finish(task, DATA / data, tmp_path / "whole")
    expected = content(tmp_path / "whole")
    for number in range(6):
        output = tmp_path / f"killed-{number}"
        process = start(task, DATA / data, output)
        time.sleep(chance.uniform(0.0, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if output.exists():
            load(output)
        finish(task, DATA / data, output)
        assert content(output) == expected
        assert not list(tmp_path.glob(".*.partial-*")) and not list(output.rglob(".*.partial-*"))
