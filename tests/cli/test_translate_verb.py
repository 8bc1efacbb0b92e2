"""`headway translate`: the same words as the library; every line in is a line out, from wherever it comes."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import headway
from headway.cli import source_text
from headway.cli.source_text import model_and_text, read_lines
from headway.errors import DataError, UsageError
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig
from headway.tasks.translator import Translator
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

FEW = ("--max-new-tokens", "5", "--beam", "2")


def tokenizer() -> ByteLevelTokenizer:
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    return ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))


@pytest.fixture(scope="session")
def translating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    sizes = {"context": 53, "width": 10, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feed_forward": 14}
    folder = tmp_path_factory.mktemp("models") / "translating"
    headway.save(Transformer(TransformerConfig(vocabulary=257, norm="pre", **sizes)).eval(), tokenizer(), folder)
    return folder


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    config = RNNSearchConfig(
        vocabulary=257, width=6, embedding=5, maxout=4, attention="fixed", bidirectional=False, initial="modern"
    )
    folder = tmp_path_factory.mktemp("models") / "fixed"
    headway.save(RNNSearch(config).eval(), tokenizer(), folder)
    return folder


def expected(folder: Path, texts: list[str]) -> list[str]:
    found = Translator(folder, device="cpu").translate(texts, beam=2, max_new_tokens=5)
    return [one.text.replace("\r", " ").replace("\n", " ") for one in found]


def test_a_text_on_the_command_line_is_translated(command: Callable, translating: Path) -> None:
    finished = command("translate", translating, "Where is it?", *FEW)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == expected(translating, ["Where is it?"])[0] + "\n"


def test_every_line_of_a_file_is_a_line_of_the_output(command: Callable, translating: Path, tmp_path: Path) -> None:
    lines = ["One.", "", "Deux \u2028 é", "مرحبا", "😀", "\x00", "  ", "no newline at the end"]
    (tmp_path / "in.txt").write_bytes("\r\n".join(lines).encode())
    words = ("translate", translating, "--input", tmp_path / "in.txt", *FEW)
    printed = command(*words)
    assert printed.code == 0 and printed.out.split("\n")[:-1] == expected(translating, lines)
    assert command(*words, "-o", tmp_path / "out.txt").out == ""
    assert (tmp_path / "out.txt").read_bytes().decode() == printed.out
    assert command(*words, "--window", "1", "--batch-tokens", "1").out == printed.out


def test_lines_come_from_a_pipe(command: Callable, translating: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (("-",), ()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
        finished = command("translate", translating, *words, *FEW)
        assert finished.out.split("\n")[:-1] == expected(translating, ["one", "two"])


def test_an_empty_file_gives_an_empty_output(command: Callable, translating: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    finished = command("translate", translating, "--input", tmp_path / "empty.txt", "--output", tmp_path / "out.txt")
    assert finished.code == 0 and (tmp_path / "out.txt").read_bytes() == b""


def test_a_file_of_another_encoding_is_named_with_its_line(
    command: Callable, translating: Path, tmp_path: Path
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"one\ncaf\xe9\n")
    (tmp_path / "out.txt").write_text("before", encoding="utf-8")
    finished = command(
        "translate", translating, "--input", tmp_path / "latin.txt", "--output", tmp_path / "out.txt", *FEW
    )
    assert finished.code == 3 and "byte 3 of line 2" in finished.err and "latin.txt" in finished.err
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "marked.txt").write_bytes("\ufeffone\r\ntwo".encode())
    assert list(read_lines(tmp_path / "marked.txt")) == ["one", "two"]
    with pytest.raises(DataError, match=r"missing\.txt"):
        list(read_lines(tmp_path / "missing.txt"))


def test_n_best_translations_stand_under_each_other_with_number_and_score(
    command: Callable, translating: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_bytes(b"one\ntwo\n")
    finished = command(
        "translate", translating, "--input", tmp_path / "in.txt", "--n-best", "3", "--max-new-tokens", "5"
    )
    rows = [line.split("\t") for line in finished.out.split("\n")[:-1]]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] * 3
    assert all(len(row) == 3 for row in rows)
    assert float(rows[0][1]) >= float(rows[1][1]) >= float(rows[2][1])
    scored = command("translate", translating, "one", "--scores", "--max-new-tokens", "5", "--beam", "4")
    assert scored.out == "\t".join(rows[0][1:]) + "\n"


def test_json_is_one_object_a_line_with_alignment(command: Callable, translating: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b'one "word"\n\n' + b"a long one, " * 9)
    finished = command("translate", translating, "--input", tmp_path / "in.txt", *FEW, "--json", "--n-best", "2")
    first, blank, long = (json.loads(line) for line in finished.out.split("\n")[:-1])
    assert first["source"] == 'one "word"' and len(first["alternatives"]) == 1
    assert first["alignment"]["source_words"] == ["one", '"', "word", '"', "<end>"]
    assert all(abs(sum(row) - 1) < 1e-4 for row in first["alignment"]["weights"])
    assert blank["text"] == "" and blank["alignment"] is None
    assert long["windowed"] and len(long["pieces"]) > 1 and long["pieces"][0]["alignment"]["links"]
    assert "Text 3 was read in" in finished.err and len(finished.err.splitlines()) == 1


def test_a_fixed_vector_translates_without_alignment_and_that_is_said(command: Callable, fixed: Path) -> None:
    finished = command("translate", fixed, "one", *FEW, "--json")
    assert json.loads(finished.out)["alignment"] is None and "no alignment" in finished.err


def test_drawn_seeds_are_said_and_repeat(command: Callable, translating: Path) -> None:
    first = command("translate", translating, "one", "--temperature", "2", "--max-new-tokens", "9")
    seed = first.err.split("--seed ")[1].split()[0]
    again = command("translate", translating, "one", "--temperature", "2", "--max-new-tokens", "9", "--seed", seed)
    assert (again.out, again.err) == (first.out, "")


def test_contradictions_and_missing_models_have_their_own_codes(
    command: Callable, translating: Path, tiny: Path
) -> None:
    for words, code, said in (
        ((translating, "one", "--temperature", "1", "--beam", "3"), 2, "temperature"),
        ((translating, "one", "--input", "file.txt"), 2, "both"),
        ((translating, "--input", "no-such-file.txt"), 3, "no-such-file.txt"),
        (("no/such/model", "one"), 3, "no/such/model"),
        ((tiny, "one"), 2, "reads no source"),
        ((translating, "one", "--beam", "0"), 2, "beam"),
    ):
        finished = command("translate", *words)
        assert finished.code == code and said in finished.err and len(finished.err.splitlines()) <= 6


def test_one_word_is_a_model_if_there_is_one_else_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(source_text, "bundled_names", lambda: ["en-fr"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for first, second, wanted in (
        (None, None, ("en-fr", None)),
        ("mine", None, ("mine", None)),
        ("mine", "-", ("mine", None)),
        ("mine", "One.", ("mine", "One.")),
        ("mine", "", ("mine", "")),
        ("-", None, ("en-fr", None)),
        ("./absent", None, ("./absent", None)),
    ):
        assert model_and_text(first, second, default="en-fr", given=False) == wanted
    assert capsys.readouterr().err == ""
    assert model_and_text("One two", None, default="en-fr", given=False) == ("en-fr", "One two")
    assert "'One two': it is the text for en-fr" in capsys.readouterr().err
    assert model_and_text("mine", None, default="en-fr", given=True) == ("mine", None)
    with pytest.raises(UsageError, match="both"):
        model_and_text("mine", "One.", default="en-fr", given=True)
    with pytest.raises(DataError, match="byte 3"):
        model_and_text("mine", "caf\udce9", default="en-fr", given=False)


def test_a_document_is_summarised_and_windows_are_said(command: Callable, translating: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("One sentence here.\nAnother one there.\n" * 3, encoding="utf-8")
    finished = command("summarise", translating, tmp_path / "long.txt", *FEW)
    assert finished.code == 0 and len(finished.out.splitlines()) == 1 and "read in 3 pieces" in finished.err
    command("summarise", translating, tmp_path / "long.txt", "-o", tmp_path / "short.txt", *FEW)
    assert (tmp_path / "short.txt").read_text(encoding="utf-8") == finished.out
    lines = command("summarise", translating, tmp_path / "long.txt", "--lines", "--json", *FEW)
    found = [json.loads(line) for line in lines.out.split("\n")[:-1]]
    assert [one["source"] for one in found] == ["One sentence here.", "Another one there."] * 3
    assert lines.err == "" and not any(one["windowed"] for one in found)
    missing = command("summarise", translating, tmp_path / "missing.txt")
    assert missing.code == 3 and "missing.txt" in missing.err
