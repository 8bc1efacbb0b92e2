"""`headway fill`, `classify`, `tag`, `answer` and `embed`: the same words as the library, line by line."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

import headway
from headway.formats.reader_settings import ReaderSettings, write_reader_settings
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.tasks.reader import Reader
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

TEXTS = ["The red house by the sea.", "A ship came home in the evening.", "Nobody saw the keeper again."]
SIZES = {"context": 29, "width": 12, "n_layers": 2, "n_heads": 3, "feed_forward": 17, "initial_deviation": 0.5}
CPU = ("--device", "cpu")


@pytest.fixture(scope="session")
def words() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 120)


@pytest.fixture(scope="session")
def folder(words: WordPieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(head: str, labels: tuple[str, ...] = (), **settings: object) -> Path:
        torch.manual_seed(5)
        config = BERTConfig(vocabulary=words.size, head=head, n_labels=len(labels), **SIZES)  # type: ignore[arg-type]
        path = tmp_path_factory.mktemp("models") / head
        headway.save(BERT(config).eval(), words, path)
        if head != "masked":
            write_reader_settings(path, ReaderSettings(task=head, labels=labels, **settings))  # type: ignore[arg-type]
        return path

    return make


@pytest.fixture(scope="session")
def judge(folder: Callable[..., Path]) -> Path:
    return folder("classify", ("bad", "good"), abstention=((0.99, 0.0, 0.2), (0.5, 0.2, 1.0)))


@pytest.fixture(scope="session")
def filler(folder: Callable[..., Path]) -> Path:
    return folder("masked")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "file.txt").write_text("\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n")
    return tmp_path / "file.txt"


def test_fill_prints_a_guess_a_line(command: Callable, filler: Path) -> None:
    finished = command("fill", filler, "The [MASK] of the sea", "--top", "3", *CPU)
    assert (finished.code, finished.err) == (0, "")
    guesses = Reader(filler, device="cpu").fill("The [MASK] of the sea", top=3)
    printed = finished.out.splitlines()
    assert len(printed) == 3
    for line, guess in zip(printed, guesses, strict=True):
        assert guess.token in line and line.endswith(guess.text)


def test_fill_gives_one_object(command: Callable, filler: Path) -> None:
    found = json.loads(command("fill", filler, "[MASK] [MASK]", "--top", "2", "--json", *CPU).out)
    assert [guess["place"] for guess in found["guesses"]] == [0, 0, 1, 1]


def test_fill_without_a_mask_says_how_to_write_one(command: Callable, filler: Path) -> None:
    finished = command("fill", filler, "The state of the Union", *CPU)
    assert finished.code == 2 and "[MASK]" in finished.err and len(finished.err.splitlines()) <= 6


def test_classify_gives_a_line_for_each_line_with_text(command: Callable, judge: Path, lines: Path) -> None:
    finished = command("classify", judge, lines, *CPU)
    assert finished.code == 0
    expected = Reader(judge, device="cpu").classify(TEXTS)
    assert finished.out.splitlines() == [
        f"{one.label}\t{one.probability:.4f}\t{text}" for one, text in zip(expected, TEXTS, strict=True)
    ]


def test_classify_reads_standard_input(command: Callable, judge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO("\n".join(TEXTS).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    finished = command("classify", judge, "--json", *CPU)
    assert [json.loads(line)["text"] for line in finished.out.splitlines()] == TEXTS


def test_classify_abstains_where_the_table_says_so(command: Callable, judge: Path) -> None:
    assert command("classify", judge, "--text", TEXTS[0], "--threshold", "1", *CPU).out.startswith("?\t")
    sure = Reader(judge, device="cpu").classify(TEXTS[0]).probability >= 0.99
    assert command("classify", judge, "--text", TEXTS[0], "--error-rate", "0.05", *CPU).out.startswith("?") != sure


def test_classify_refuses_a_text_given_twice_and_an_empty_file(command: Callable, judge: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    assert command("classify", judge, tmp_path / "empty.txt", *CPU).code == 3
    assert command("classify", judge, tmp_path / "empty.txt", "--text", "a", *CPU).code == 2


def test_lines_go_to_a_file_by_its_short_option(
    command: Callable, judge: Path, folder: Callable[..., Path], lines: Path, tmp_path: Path
) -> None:
    assert command("classify", judge, lines, "-o", tmp_path / "labels.tsv", *CPU).code == 0
    assert (tmp_path / "labels.tsv").read_text() == command("classify", judge, lines, *CPU).out
    tagger = folder("tag", ("O", "B-THING", "I-THING"), scheme="BIO")
    assert command("tag", tagger, "--input", lines, "-o", tmp_path / "tags.tsv", *CPU).code == 0
    assert (tmp_path / "tags.tsv").read_text() == command("tag", tagger, "--input", lines, *CPU).out


def test_a_second_text_for_a_model_of_single_ones_is_refused(command: Callable, judge: Path) -> None:
    finished = command("classify", judge, "--text", "a", "--second", "b", *CPU)
    assert finished.code == 2 and "--second is of models of pairs" in finished.err


def test_a_column_of_a_table_is_read_by_its_name(
    command: Callable, judge: Path, filler: Path, folder: Callable[..., Path], tmp_path: Path
) -> None:
    table, lines = tmp_path / "table.csv", tmp_path / "table.jsonl"
    table.write_text("id,body\n" + "".join(f'{number},"{text}"\n' for number, text in enumerate(TEXTS)))
    lines.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS))
    for path in (table, lines):
        found = command("classify", judge, path, "--text-field", "body", "--json", *CPU)
        assert [json.loads(line)["text"] for line in found.out.splitlines()] == TEXTS
    finished = command("embed", filler, table, "--text-field", "body", *CPU)
    assert finished.code == 0 and len(finished.out.splitlines()) == 3
    tagger = folder("tag", ("O", "B-THING", "I-THING"), scheme="BIO")
    finished = command("tag", tagger, "--input", table, "--text-field", "body", "--json", *CPU)
    assert [json.loads(line)["text"] for line in finished.out.splitlines()] == TEXTS
    finished = command("classify", judge, table, "--text-field", "text", *CPU)
    assert finished.code == 3 and "it has 'id', 'body'" in finished.err


def test_a_table_is_not_read_as_lines_of_text(command: Callable, judge: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,body\n1,one\n")
    finished = command("classify", judge, tmp_path / "table.csv", *CPU)
    assert finished.code == 2 and "--text-field NAME" in finished.err
    assert command("classify", judge, "--text", "a", "--text-field", "body", *CPU).code == 2
    assert command("classify", judge, "--text-field", "body", *CPU).code == 2


def test_tag_prints_places_in_the_text_as_given(command: Callable, folder: Callable[..., Path]) -> None:
    tagger = folder("tag", ("O", "B-THING", "I-THING"), scheme="BIO")
    text = "  The r\u00e9d house,   by the sea."
    rows = [json.loads(line) for line in command("tag", tagger, text, "--json", *CPU).out.splitlines()]
    assert len(rows) == 1 and rows[0]["words"]
    for part in [*rows[0]["words"], *rows[0]["spans"]]:
        assert text[part["start"] : part["end"]] == part["text"]
    assert [word["text"] for word in rows[0]["words"]] == ["The", "r\u00e9d", "house", ",", "by", "the", "sea", "."]
    assert command("tag", tagger, text, "--words", *CPU).out.count("\t") == 2 * 8


def test_answer_prints_what_stands_in_the_context(
    command: Callable, folder: Callable[..., Path], tmp_path: Path
) -> None:
    qa = folder("answer")
    context = "\n".join(TEXTS * 9)  # several windows
    (tmp_path / "page.txt").write_text(context)
    words = ("answer", qa, "Who came home?", "--context", tmp_path / "page.txt", "--always", "--top", "2", "--json")
    found = json.loads(command(*words, *CPU).out)["answers"]
    assert len(found) == 2 and found[0]["probability"] >= found[1]["probability"] > 0
    for one in found:
        assert one["text"] and context[one["start"] : one["end"]] == one["text"]


def test_embed_writes_vectors_as_numpy_reads_them(command: Callable, filler: Path, lines: Path, tmp_path: Path) -> None:
    finished = command("embed", filler, lines, "-o", tmp_path / "vectors.npy", *CPU)
    assert (finished.code, finished.out) == (0, f"{tmp_path / 'vectors.npy'}\n")
    vectors = numpy.load(tmp_path / "vectors.npy")
    assert numpy.allclose(vectors, Reader(filler, device="cpu").embed(TEXTS), atol=1e-5)
    assert command("embed", filler, lines, "-o", tmp_path / "vectors.txt", *CPU).code == 2


def test_a_writer_is_refused_by_the_verb_that_fits_it(command: Callable, tiny: Path) -> None:
    finished = command("fill", tiny, "The [MASK]", *CPU)
    assert finished.code != 0 and "no masked-word head" in finished.err
    assert command("classify", tiny, "--text", "a", *CPU).code == 2
