"""The losses of a ten-step run, written down: a change that should change nothing leaves them as they are."""

import json
from pathlib import Path

import pytest

from headway.training.run import train

GOLDEN = Path(__file__).with_name("golden_losses.txt")


def test_ten_steps_have_the_losses_written_down(recipe, tmp_path):
    without_draws = ("model.residual_dropout=0.0", "model.embedding_dropout=0.0")
    chosen = ("train.precision=float32", "train.optimizer=adamw", "train.log_every=1", "train.evaluations=1")
    train(recipe(*without_draws, *chosen, steps=10))
    lines = (tmp_path / "model/training/metrics.jsonl").read_text().splitlines()
    losses = [entry["loss"] for entry in map(json.loads, lines) if entry["kind"] == "progress"]
    expected = [float(line) for line in GOLDEN.read_text().splitlines()]
    # Products are summed in another order on another processor; a change of meaning is a thousand times larger.
    assert losses == pytest.approx(expected, abs=2e-5)
