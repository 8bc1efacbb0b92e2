"""`headway train`: the recipe its words mean, and the run as a person sees it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import headway
from headway.cli.train import Printer
from headway.training.report import Evaluation, Progress

SMALL = ("--set", "model.width=14", "--set", "model.n_layers=2", "--set", "model.n_heads=2", "--set", "train.window=11")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"It was night {number}, and dark. " * 20, encoding="utf-8")
    return folder


def test_training_then_writing(command: Callable, texts: Path, tmp_path: Path) -> None:
    words = ("train", texts, "-o", tmp_path / "model", "--steps", "2", "--seed", "3", *SMALL)
    finished = command(*words)
    assert finished.code == 0, finished.err
    assert finished.out == f"{tmp_path / 'model'}\n"
    assert "validation loss" in finished.err and "bits/byte" in finished.err
    assert headway.load(tmp_path / "model")[0].config.width == 14
    assert command("write", tmp_path / "model", "It", "--max-new-tokens", "3").code == 0

    again = command(*words, "--json")
    assert again.code == 0, again.err
    found = json.loads(again.out)
    assert found["already_finished"] and found["steps"] == 2 and found["folder"] == str(tmp_path / "model")


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("--minutes", "0"), 2, "--minutes must be above 0"),
        (("--minutes", "1", "--steps", "3"), 2, "exactly one"),
        (("--steps", "1", "--set", "train.lerning_rate=1"), 2, "did you mean train.learning_rate?"),
        (("--steps", "1", "--set", "nothing"), 2, "NAME=VALUE"),
        (("--steps", "1", "--from", "absent/model"), 3, "absent/model"),
        (("--recipe", "absent.toml"), 3, "absent.toml"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    command: Callable, texts: Path, tmp_path: Path, words: tuple[str, ...], code: int, hint: str
) -> None:
    finished = command("train", texts, "-o", tmp_path / "model", *words)
    assert finished.code == code, finished.err
    assert hint in finished.err and len(finished.err.splitlines()) <= 6
    assert not (tmp_path / "model").exists()


def test_output_and_data_are_asked_for(command: Callable, texts: Path, tmp_path: Path) -> None:
    assert "-o" in command("train", texts).err
    assert command("train", "-o", tmp_path / "model").code == 2
    assert command("train", tmp_path / "absent", "-o", tmp_path / "model").code == 3


def test_printer_shows_what_matters_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    printer.note("chosen")
    printer.progress(
        Progress(
            step=7,
            share=0.25,
            loss=2.5,
            bits_per_byte=1.25,
            learning_rate=0.001,
            gradient_norm=1.0,
            tokens=700,
            tokens_per_second=12_345.0,
            memory=2_500_000_000,
            seconds=30.0,
            seconds_left=3_725.0,
        )
    )
    measured = {"step": 7, "validation_loss": 2.25, "best": True, "seconds": 1.0}
    printer.evaluation(Evaluation(**measured, validation_bits_per_byte=1.125, scores={}))
    printer.evaluation(Evaluation(**measured, validation_bits_per_byte=None, scores={"masked_accuracy": 0.25}))
    printer.sample("two\nlines")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "chosen",
        " 25%  step 7  loss 2.500  1.250 bits/byte  12.3k tokens/s  2.5 GB  1:02:05 left",
        "      step 7  validation loss 2.250  1.125 bits/byte, the best so far",
        "      step 7  validation loss 2.250  masked accuracy 0.250, the best so far",
        "      writes: two lines",
    ]
