"""What cannot be read is refused with its place and the way out."""

import builtins
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from headway.corpus.documents import fingerprint, read_documents
from headway.errors import DataError, DependencyError


def refusal(path: Path, text_field: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list(read_documents(path, text_field=text_field))
    message = str(caught.value)
    assert message.count("\n") < 6
    return message


def test_a_missing_path_is_refused_at_once(tmp_path: Path) -> None:
    for read in (read_documents, fingerprint):
        with pytest.raises(DataError, match="there is no file or folder .*nowhere"):
            read(tmp_path / "nowhere")


def test_a_folder_without_texts_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no text to read: 0 file"):
        read_documents(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 file\(s\) of other kinds(.|\n)*\.jsonl"):
        read_documents(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(b"%PDF")
    assert "one of .txt .md" in refusal(tmp_path / "book.pdf")


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf"])
def test_a_corpus_with_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b.csv").write_bytes(b"text,n\n")
    (tmp_path / "c.csv").write_bytes(b"")
    (tmp_path / "d.jsonl").write_bytes(b"")
    (tmp_path / "e.txt.gz").write_bytes(b"")
    assert "there is no text in" in refusal(tmp_path)


def test_a_binary_file_among_the_texts_is_named_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    message = refusal(tmp_path)
    assert "b.txt has one at byte 8" in message and "binary" in message
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + b"x" * 2_000_000 + b"\0")
    assert "at byte 2000003" in refusal(tmp_path)


def test_another_encoding_is_named_with_the_byte_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    message = refusal(tmp_path)
    assert "a.txt" in message and "byte 3 is 0xe9" in message
    assert f"iconv -f WINDOWS-1252 -t UTF-8 '{tmp_path}/a.txt' > new.txt" in message
    (tmp_path / "a.txt").write_bytes(b"x" * 1_500_000 + b"\xff")
    assert "byte 1500000 is 0xff" in refusal(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"abc\xe2\x82")
    assert "byte 3 is 0xe2" in refusal(tmp_path)


def test_another_encoding_inside_gzip_is_unpacked_first(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as packed:
        packed.write(b'"na\xefve"\n')
    message = refusal(tmp_path)
    assert "byte 3 of what it unpacks to is 0xef" in message and "gzip -dc" in message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffhere".encode(encoding))
    assert "UTF-16" in refusal(tmp_path) and "iconv -f UTF-16" in refusal(tmp_path)
    (tmp_path / "a.txt").write_bytes("here".encode(encoding))
    assert "binary" in refusal(tmp_path) and "UTF-16" in refusal(tmp_path)


@pytest.mark.parametrize("line", ["{", "nothing", '{"text": "open', "[" * 100_000, '"one" "two"'])
def test_a_line_that_is_not_json_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'"fine"\n{line}\n"fine"\n')
    assert "a.jsonl:2 is not JSON" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"body": "x", "id": 3}, "has no field 'text'; it has 'body', 'id'"),
        ({"text": ["x"]}, "field 'text' is list"),
        (["x"], "is list"),
        ({"text": "half \ud800 of it"}, r"'\ud800', which is not Unicode"),
    ],
)
def test_a_line_without_text_is_named_with_what_it_has(tmp_path: Path, line: Any, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'"fine"\n{json.dumps(line)}\n')
    message = refusal(tmp_path)
    assert "a.jsonl:2" in message and said in message


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_without_the_column_names_those_it_has(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text("title,body\nx,y\n")
    pyarrow.parquet.write_table(pyarrow.table({"title": ["x"], "body": ["y"]}), tmp_path / "a.parquet")
    for field in (None, "contents"):
        message = refusal(tmp_path / name, field)
        assert f"has no field {field or 'text'!r}; it has 'title', 'body'" in message
        assert "--set data.text_field=NAME, evaluate --text-field NAME" in message


def test_a_table_with_another_separator_is_not_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;text\n1;one\n")
    assert "separator" in refusal(tmp_path) and "';'" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("n,text\n1,one\n2,two,three\n", "header, but .*a.csv:3 has 3"),
        ('n,text\n1,"one\n2,two\n', "up to line 3: unexpected end of data"),
        ('n,text\n1,"one"x\n', "up to line 2"),
        ("n,text\n1," + "x" * (1 << 24) + "x\n", r"up to line 2: field larger than field limit"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        list(read_documents(tmp_path))


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: data[:30], lambda data: b"PK" + data])
def test_damaged_gzip_is_named(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    whole = gzip.compress(b"some text, and more of it, and still more of it " * 3)
    (tmp_path / "a.txt.gz").write_bytes(change(whole))
    assert "a.txt.gz is damaged or cut short" in refusal(tmp_path)


def test_damaged_parquet_and_a_column_of_numbers_are_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [3, 5]}), tmp_path / "a.parquet")
    assert "a.parquet:row 1 column 'text' is int: 3" in refusal(tmp_path)
    whole = (tmp_path / "a.parquet").read_bytes()
    for damaged in (b"", whole[:50], whole[:-20]):
        (tmp_path / "a.parquet").write_bytes(damaged)
        assert "a.parquet is not sound Parquet" in refusal(tmp_path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"]}), tmp_path / "a.parquet")
    ordinary = builtins.__import__

    def without(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return ordinary(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=r"pip install 'headway\[data\]'"):
        list(read_documents(tmp_path))


def test_a_file_that_vanishes_or_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    documents = read_documents(tmp_path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match=r"a.txt cannot be read: No such file"):
        list(documents)
    (tmp_path / "a.txt").symlink_to("nowhere.txt")
    assert "a.txt cannot be read" in refusal(tmp_path)
