"""Reading documents: every kind of file, in order, exactly and in bounded memory."""

import csv
import gzip
import itertools
import json
import logging
import shutil
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.corpus import readers, text_file
from headway.corpus.documents import Document, corpus_bytes, fingerprint, read_documents
from headway.text.tokenizer import Tokenizer

SAMPLES = Path(__file__).parent.parent / "data" / "corpus"
# Text as a file may hold it: no NUL (binary), no half characters (not UTF-8), no CRLF (becomes LF).
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=40).map(
    lambda text: "a" + text.replace("\r\n", "\n").removeprefix("\ufeff")
)


def texts(path: Path, text_field: str | None = None) -> list[str]:
    return [document.text for document in read_documents(path, text_field=text_field)]


def test_the_samples_are_read_in_the_order_of_their_names() -> None:
    documents = list(read_documents(SAMPLES))
    kinds = [Path(source.rpartition(":")[0] or source).name for source in (d.source for d in documents)]
    assert [(name, len(list(group))) for name, group in itertools.groupby(kinds)] == [
        ("address.jsonl", 5),
        ("chapter.txt", 1),
        ("neutrality.jsonl.gz", 4),
        ("psalm.csv", 61),
        ("sunset.md", 1),
    ]
    assert documents[0].text.startswith("Fellow-Citizens of the Senate")
    assert documents[5].text == (SAMPLES / "chapter.txt").read_text(encoding="utf-8")
    assert documents[10].text == "Contend, Yahweh, with those who contend with me."


def test_a_source_names_the_file_and_the_line_or_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('"one"\n\n{"text": "two"}\n')
    (tmp_path / "b.csv").write_text('text\n"first\nsecond"\nthird\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x", "y"]}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_text("whole")
    sources = [document.source.removeprefix(f"{tmp_path}/") for document in read_documents(tmp_path)]
    assert sources == ["a.jsonl:1", "a.jsonl:3", "b.csv:2", "b.csv:4", "c.parquet:row 1", "c.parquet:row 2", "d.txt"]


def test_a_folder_is_read_with_its_folders_in_the_order_of_relative_paths(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a.txt", "b/1.md", "c.txt", "b/deep/er/3.TXT"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert texts(tmp_path) == ["a.txt", "b/1.md", "b/2.txt", "b/deep/er/3.TXT", "c.txt"]


def test_iterating_again_reads_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    documents = read_documents(tmp_path)
    assert list(documents) == list(documents) == [Document("one", f"{tmp_path}/a.txt")]


def test_hidden_files_are_skipped_and_other_kinds_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("kept")
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.txt").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "elsewhere").symlink_to(SAMPLES)
    with caplog.at_level(logging.WARNING):
        assert texts(tmp_path) == ["kept"]
    assert "ignored 2 files" in caplog.text
    assert "elsewhere, picture.png" in caplog.text
    assert ".hidden.txt" not in caplog.text and ".git" not in caplog.text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT)
def test_text_is_kept_exactly_whatever_kind_of_file_holds_it(tmp_path: Path, text: str) -> None:
    for name in ("a.txt", "a.md"):
        (tmp_path / name).write_bytes(text.encode())
        with gzip.open(tmp_path / f"{name}.gz", "wb") as packed:
            packed.write(text.encode())
        assert texts(tmp_path / name) == texts(tmp_path / f"{name}.gz") == [text]
    for line in (json.dumps(text), json.dumps({"text": text}, ensure_ascii=False)):
        (tmp_path / "a.jsonl").write_bytes(line.encode() + b"\n")
        with gzip.open(tmp_path / "a.jsonl.gz", "wb") as packed:
            packed.write(line.encode())
        assert texts(tmp_path / "a.jsonl") == texts(tmp_path / "a.jsonl.gz") == [text]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        with open(tmp_path / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
                [["id", "text"], ["1", text]]
            )
        assert texts(tmp_path / name) == [text]
    pyarrow.parquet.write_table(pyarrow.table({"text": [text], "id": [1]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == [text]


def test_crlf_becomes_lf_and_a_lone_carriage_return_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\r\r\n")
    (tmp_path / "b.jsonl").write_bytes(b'"one\\r\\ntwo\\rthree\\r\\r\\n"\r\n')
    (tmp_path / "c.csv").write_bytes(b'text\r\n"one\r\ntwo"\r\n')
    assert texts(tmp_path) == ["one\ntwo\rthree\r\n", "one\ntwo\rthree\r\n", "one\ntwo"]


@pytest.mark.parametrize("before", [-2, -1, 0, 1])
def test_characters_and_line_ends_may_lie_across_the_chunks_a_file_is_read_in(tmp_path: Path, before: int) -> None:
    text = "x" * ((1 << 20) + before) + "\r\n\u20ac\U0001f600" * 5
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert texts(tmp_path) == [text.replace("\r\n", "\n")]


def test_a_byte_order_mark_of_utf8_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhere")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf"there"')
    (tmp_path / "c.csv").write_bytes(b"\xef\xbb\xbftext,n\nwhere,1\n")
    assert texts(tmp_path) == ["here", "there", "where"]


def test_only_line_feeds_end_a_line_of_jsonl(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('"one\u2028two\u0085three"\n"four"', encoding="utf-8")
    assert texts(tmp_path) == ["one\u2028two\u0085three", "four"]


def test_the_only_column_is_the_text_and_a_named_field_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sentence\none\n\ntwo\n")
    assert texts(tmp_path / "a.csv") == ["one", "two"]
    (tmp_path / "b.csv").write_text("text,body\nno,yes\n")
    (tmp_path / "c.jsonl").write_text('{"text": "no", "body": "yes"}\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": ["no"], "body": ["yes"]}), tmp_path / "d.parquet")
    for name in ("b.csv", "c.jsonl", "d.parquet"):
        assert texts(tmp_path / name, "body") == ["yes"]


def test_documents_without_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\t\n")
    (tmp_path / "b.jsonl").write_text('""\n{"text": null}\n"here"\n')
    (tmp_path / "c.csv").write_text('n,text\n1,\n2,"there"\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": [None, "where"]}), tmp_path / "d.parquet")
    assert texts(tmp_path) == ["here", "there", "where"]


def test_a_long_field_of_csv_is_read_and_the_modules_own_limit_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("text\n" + "word " * 100_000 + "\n")
    assert [len(text) for text in texts(tmp_path)] == [500_000]
    assert csv.field_size_limit() == limit


def test_a_large_text_comes_in_pieces_that_end_before_a_blank(tmp_path: Path) -> None:
    text = "some words,\n\n  and more\u3000of them. " * 300_000
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    pieces = list(read_documents(tmp_path))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert len(pieces) == 3
    for before, after in itertools.pairwise(pieces):
        assert after.text[0] in " \n" and not before.text[-1].isspace()


def test_reading_holds_a_few_pieces_at_most(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.txt.gz", "wb", compresslevel=1) as packed:
        for _ in range(24):
            packed.write(b"word " * 200_000)
    tracemalloc.start()
    assert corpus_bytes(tmp_path) == 24_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_corpus_bytes_counts_the_text_and_not_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffd\u00e9j\u00e0\r\n".encode())
    (tmp_path / "b.jsonl").write_text('{"id": 12345, "text": "vu"}\n')
    assert corpus_bytes(tmp_path) == 7 + 2


def test_the_fingerprint_follows_names_and_contents_and_not_the_place(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "here")
    here = fingerprint(tmp_path / "here")
    assert here == fingerprint(SAMPLES) and len(here) == 32
    (tmp_path / "here" / "picture.png").write_bytes(b"not read, so not counted")
    assert fingerprint(tmp_path / "here") == here
    (tmp_path / "here" / "chapter.txt").rename(tmp_path / "here" / "chapter2.txt")
    renamed = fingerprint(tmp_path / "here")
    (tmp_path / "here" / "sunset.md").write_text("changed")
    changed = fingerprint(tmp_path / "here")
    (tmp_path / "here" / "sunset.md").unlink()
    assert len({here, renamed, changed, fingerprint(tmp_path / "here")}) == 4
    assert fingerprint(SAMPLES / "chapter.txt") != fingerprint(SAMPLES / "sunset.md")


def test_pieces_give_the_ids_of_the_whole_text(
    tmp_path: Path, gpt2: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (SAMPLES / "chapter.txt").read_text(
        encoding="utf-8"
    ) + "\n\n  It's  'quoted' \n\t 12,345\u3000 \u00e9tude's\n" * 50
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(text_file, "_CHUNK", 61)
    monkeypatch.setattr(readers, "_PIECE", 97)
    pieces = texts(tmp_path)
    assert len(pieces) > 50 and "".join(pieces) == text
    found = [id for ids in gpt2.encode_corpus(pieces) for id in ids.tolist()]
    assert found == gpt2.encode(text)
