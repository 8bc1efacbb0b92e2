"""Perplexity and bits per byte, held against the model's own full pass."""

import math
from pathlib import Path

import pytest
import torch

import headway
from headway.errors import ConfigError, DataError, FormatError
from headway.evaluation.perplexity import evaluate_text, score_windows
from headway.evaluation.windows import windows
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

END = "<|endoftext|>"
BYTES = tuple(bytes([byte]) for byte in range(256))


def build_model() -> GPT2:
    torch.manual_seed(3)
    return GPT2(GPT2Config(vocabulary=257, context=11, width=10, n_layers=2, n_heads=2, initial_deviation=0.3)).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    vocabulary = ByteVocabulary(tokens=(*BYTES, END.encode()), merges=(), special_tokens={END: 256})
    headway.save(build_model(), ByteLevelTokenizer(vocabulary), path)
    return path


def losses(model: torch.nn.Module, ids: list[int]) -> list[float]:
    """-log p of each id after the first, from one full pass."""
    with torch.no_grad():
        table = model(torch.tensor([ids[:-1]])).double().log_softmax(-1)[0]
    return [-float(table[place, token]) for place, token in enumerate(ids[1:])]


def test_short_documents_score_as_the_full_pass(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("tälk", encoding="utf-8")
    (tmp_path / "two.txt").write_text("walk on", encoding="utf-8")
    model = build_model()
    expected = sum(losses(model, [256, *"tälk".encode()])) + sum(losses(model, [256, *b"walk on"]))
    found = evaluate_text(folder, tmp_path)
    assert (found.documents, found.tokens, found.bytes) == (2, 12, 12)
    assert found.loss == pytest.approx(expected / 12, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(expected / 12), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(expected / 12 / math.log(2), rel=1e-5)
    assert (found.window, found.stride, found.device, found.dtype) == (11, 5, "cpu", "float32")


@pytest.mark.parametrize("stride", [None, 1, 3, 11])
def test_long_documents_score_in_the_stated_windows(folder: Path, tmp_path: Path, stride: int | None) -> None:
    text = b"It was a dark and stormy night."
    (tmp_path / "long.txt").write_bytes(text)
    model, ids = build_model(), [256, *text]
    expected, step, end = 0.0, stride or 5, 0
    for start in range(0, len(ids), step):
        if end == len(ids) - 1:
            break
        new = min(start + 11, len(ids) - 1) - end
        end += new
        expected += sum(losses(model, ids[start : end + 1])[-new:])
    found = evaluate_text(folder, tmp_path / "long.txt", stride=stride)
    assert found.tokens == len(text)
    assert found.loss == pytest.approx(expected / len(text), rel=1e-5)


def test_windows_score_the_same_alone_and_in_a_batch() -> None:
    model = build_model()
    batch = [*windows([256, *b"a longer document, in windows"], 11, 5), *windows([256, *b"short"], 11, 5)]
    alone = sum(score_windows(model, [window]) for window in batch)
    assert score_windows(model, batch) == pytest.approx(alone, rel=1e-6)


def test_without_end_of_text_the_first_token_and_its_bytes_do_not_count(tmp_path: Path) -> None:
    vocabulary = ByteVocabulary(tokens=(*BYTES, b"wa"), merges=((b"w", b"a"),), special_tokens={}, end_of_text=None)
    headway.save(build_model(), ByteLevelTokenizer(vocabulary), tmp_path / "model")
    (tmp_path / "text.txt").write_text("walk on", encoding="utf-8")
    found = evaluate_text(tmp_path / "model", tmp_path / "text.txt")
    assert (found.tokens, found.bytes) == (5, 5)
    assert found.loss == pytest.approx(sum(losses(build_model(), [256, *b"lk on"])) / 5, rel=1e-5)


def test_end_of_text_written_out_is_text(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(END, encoding="utf-8")
    assert evaluate_text(folder, tmp_path / "text.txt").tokens == len(END)


def test_progress_counts_up_to_all_tokens(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("walk on " * 9, encoding="utf-8")
    counts: list[int] = []
    assert evaluate_text(folder, tmp_path / "text.txt", progress=counts.append).tokens == counts[-1] == 72
    assert counts == sorted(counts)


def test_bad_input_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        evaluate_text(folder, tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="empty"):
        evaluate_text(folder, tmp_path / "empty.txt")
    (tmp_path / "text.txt").write_text("walk", encoding="utf-8")
    with pytest.raises(ConfigError, match="stride must be in 1..11"):
        evaluate_text(folder, tmp_path / "text.txt", stride=12)


def test_predictions_that_are_not_finite_are_refused() -> None:
    model = build_model()
    with torch.no_grad():
        model.final_norm.weight.fill_(math.nan)
    with pytest.raises(FormatError, match="finite"):
        score_windows(model, list(windows([256, 1, 2], 11, 5)))
