"""The text of a comparison: three parts, nothing lost, nothing twice, for many documents and for a single one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from headway.corpus.documents import read_documents
from headway.errors import DataError
from headway.studies.plan import CompareSettings
from headway.studies.text_division import TextDivision, documents_to_test, text_division_of, text_fingerprint
from headway.training.recipe import DataSettings
from headway.training.report import Silent

PARTS = ("train", "validation", "test")


def divided(folder: Path, path: Path, test: Path | None = None, validation: Path | None = None) -> TextDivision:
    asked = CompareSettings(
        data=str(path), families=("bert", "gpt2"), steps=1, test=None if test is None else str(test)
    )
    data = DataSettings(path=str(path), validation=None if validation is None else str(validation))
    folder.mkdir(exist_ok=True)
    return text_division_of(folder, asked, data, (), read="print", reporter=Silent())


def texts(folder: Path, part: str) -> list[str]:
    return [document.text for document in read_documents(folder / "data" / f"{part}.jsonl")]


def test_every_document_stands_in_one_part(tmp_path: Path) -> None:
    given = [f"document {number} of a small library" for number in range(200)]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in given))
    found = divided(tmp_path / "report", tmp_path / "all.jsonl")
    parts = {part: texts(tmp_path / "report", part) for part in PARTS}
    assert sorted(text for part in parts.values() for text in part) == sorted(given)
    assert 15 <= len(parts["test"]) <= 25 and 7 <= len(parts["validation"]) <= 13
    assert found.test_documents == len(parts["test"]) and found.test == sum(map(len, parts["test"]))
    assert divided(tmp_path / "report", tmp_path / "all.jsonl") == found


def test_one_long_document_is_cut_between_words(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(4001))
    (tmp_path / "book.txt").write_text(text)
    found = divided(tmp_path / "report", tmp_path / "book.txt")
    parts = [piece for part in PARTS for piece in texts(tmp_path / "report", part)]
    assert sorted(" ".join(parts).split()) == sorted(text.split())
    assert 0.07 < found.test / len(text) < 0.13 and 0.02 < found.validation / len(text) < 0.09
    assert len(documents_to_test(tmp_path / "report")) == found.test_documents >= 2


def test_given_parts_are_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one word after another " * 300)
    (tmp_path / "test.txt").write_text("what is tested")
    (tmp_path / "choose.txt").write_text("what is chosen by")
    divided(tmp_path / "report", tmp_path / "book.txt", tmp_path / "test.txt", tmp_path / "choose.txt")
    assert texts(tmp_path / "report", "test") == ["what is tested"]
    assert texts(tmp_path / "report", "validation") == ["what is chosen by"]
    assert len("".join(texts(tmp_path / "report", "train"))) == 23 * 300


def test_too_little_text_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a short note")
    with pytest.raises(DataError, match="too little text"):
        divided(tmp_path / "report", tmp_path / "note.txt")
    assert not (tmp_path / "report" / "data").exists()


def test_the_fingerprint_covers_the_test_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("words")
    (tmp_path / "test.txt").write_text("other words")
    asked = CompareSettings(data=str(tmp_path / "book.txt"), families=("bert", "gpt2"), steps=1)
    data = DataSettings(path=asked.data)
    with_test = replace(asked, test=str(tmp_path / "test.txt"))
    before = text_fingerprint(with_test, data, ())
    assert before != text_fingerprint(asked, data, ())
    (tmp_path / "test.txt").write_text("still other words")
    assert text_fingerprint(with_test, data, ()) != before
