"""`headway evaluate` with models that read: the text, the object, and options that mean nothing refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from headway.engine.extension import is_built
from headway.formats.folder import save
from headway.formats.reader_settings import ReaderSettings, write_reader_settings
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

TEXTS = ["the red house by the sea", "a ship came home in the evening", "nobody saw the lighthouse keeper again"]
LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 120)


def saved(folder: Path, tokenizer: WordPieceTokenizer, head: str, settings: ReaderSettings | None) -> str:
    torch.manual_seed(5)
    config = BERTConfig(
        vocabulary=tokenizer.size,
        context=17,
        width=12,
        n_layers=2,
        n_heads=3,
        feed_forward=19,
        head=head,  # type: ignore[arg-type]
        n_labels=0 if settings is None else len(settings.labels),
    )
    save(BERT(config), tokenizer, folder)
    if settings is not None:
        write_reader_settings(folder, settings)
    return str(folder)


@pytest.fixture(scope="module")
def judge(tokenizer: WordPieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "judge"
    return saved(folder, tokenizer, "classify", ReaderSettings(task="classify", labels=LABELS))


@pytest.fixture(scope="module")
def filler(tokenizer: WordPieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("models") / "filler", tokenizer, "masked", None)


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(f"{LABELS[number % 2]}\t{TEXTS[number % 3]} {number}\n" for number in range(11)))
    return str(path)


def test_a_classifier_prints_its_scores_labels_and_baseline(command: Callable, judge: str, reviews: str) -> None:
    result = command("evaluate", judge, reviews, "--baseline", reviews)
    assert result.code == 0, result.err
    for words in ("accuracy", "macro-F1", "calibration error", "bag of words accuracy", "precision", "the right label"):
        assert words in result.out
    assert "11 of the examples stand in" in result.err


def test_json_has_the_scores_of_the_task(command: Callable, judge: str, reviews: str) -> None:
    found = json.loads(command("evaluate", judge, reviews, "--json").out)
    assert found["model"] == judge and found["task"] == "classify" and found["data"] == reviews
    assert {"accuracy", "accuracy_band", "macro_f1", "by_label", "confusion", "calibration_error"} <= set(found)
    assert [part["label"] for part in found["by_label"]] == list(LABELS) and "baseline" not in found


def test_hidden_words_are_scored_on_text(command: Callable, filler: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(TEXTS))
    result = command("evaluate", filler, str(path), "--mask-share", "0.3")
    assert result.code == 0, result.err
    assert "bits per masked token" in result.out and "(30 %, seed 1)" in result.out
    found = json.loads(command("evaluate", filler, str(path), "--every-token", "--tokens", "5", "--json").out)
    assert found["task"] == "fill" and found["masked"] == 5 and found["pseudo_bits_per_byte"] > 0


@pytest.mark.skipif(not is_built(), reason="the compiled engine is not built here")
def test_a_reader_is_scored_in_the_engine_at_fewer_bits(command: Callable, filler: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(TEXTS))
    bits = [
        json.loads(command("evaluate", filler, str(path), "--json", *options).out)["bits_per_masked_token"]
        for options in ([], ["--engine", "compiled"], ["--bits", "4"])
    ]
    assert bits[1] == pytest.approx(bits[0], rel=1e-4) and bits[2] != bits[0]
    assert bits[2] == pytest.approx(bits[0], rel=0.1)


def test_pytorch_has_no_bits(command: Callable, judge: str, reviews: str) -> None:
    result = command("evaluate", judge, reviews, "--engine", "torch", "--bits", "8")
    assert result.code == 2 and "leave out one" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--beam", "3"], "--beam is of models that translate, and this one reads"),
        (["--by-length"], "--by-length is of models that translate"),
        (["--stride", "3"], "--stride is of models that write"),
        (["--mask-share", "0.2"], "of models that fill in hidden words"),
    ],
)
def test_options_of_other_models_are_refused(
    command: Callable, judge: str, reviews: str, options: list[str], words: str
) -> None:
    result = command("evaluate", judge, reviews, *options)
    assert result.code == 2 and words in " ".join(result.err.split())


def test_unknown_labels_are_bad_data(command: Callable, judge: str, tmp_path: Path) -> None:
    path = tmp_path / "other.tsv"
    path.write_text("ugly\tone\nbad\ttwo\nugly\tthree\n")
    result = command("evaluate", judge, str(path), "--label-field", "1")
    assert result.code == 3 and "'ugly'" in result.err and "'bad', 'good'" in result.err


def test_a_baseline_of_hidden_words_is_refused(command: Callable, filler: str, reviews: str) -> None:
    result = command("evaluate", filler, reviews, "--baseline", reviews)
    assert result.code == 2 and "baseline is of classifiers" in result.err


def test_two_readers_are_compared_on_one_file(
    command: Callable, judge: str, filler: str, reviews: str, tokenizer: WordPieceTokenizer, tmp_path: Path
) -> None:
    other = saved(tmp_path / "other", tokenizer, "classify", ReaderSettings(task="classify", labels=LABELS[::-1]))
    result = command("evaluate", judge, reviews, "--against", other)
    assert result.code == 0, result.err
    verdict = result.out.splitlines()[-1]
    assert result.out.startswith(f"{judge}\n") and f"\n{other}\n" in result.out
    assert judge in verdict and other in verdict and "points of accuracy" in verdict
    found = json.loads(command("evaluate", judge, reviews, "--against", other, "--json").out)
    assert found["model"] == judge and found["against"]["model"] == other
    difference = found["comparison"]["accuracy"]["difference"]
    assert difference == pytest.approx(100 * (found["accuracy"] - found["against"]["accuracy"]))
    assert difference != 0  # the labels stand the other way round, so the same weights say the opposite
    assert found["comparison"]["accuracy"]["verdict"] == verdict


def test_a_reader_is_compared_with_a_reader_of_its_task(
    command: Callable, judge: str, filler: str, reviews: str, tiny: Path
) -> None:
    result = command("evaluate", judge, reviews, "--against", filler)
    assert result.code == 2 and "one is trained to classify and the other to fill" in " ".join(result.err.split())
    result = command("evaluate", judge, reviews, "--against", str(tiny))
    assert result.code == 2 and f"{tiny} writes" in result.err
    result = command("evaluate", filler, reviews, "--against", filler)
    assert result.code == 2 and "each tokenizer divides" in result.err
