"""Pairs that cannot be read are refused with their place and the way out."""

import gzip
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from headway.corpus.pairs import read_pairs
from headway.errors import DataError, UsageError


def refusal(path: Path, target_path: Path | None = None, source: str | None = None, target: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list(read_pairs(path, target_path=target_path, source_field=source, target_field=target))
    message = str(caught.value)
    assert message.count("\n") < 6
    return message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", b"one column\n", "a.tsv:1 has 1"),
        ("a.tsv", b"a\tb\nno tab here\n", "2 columns divided by tabs, but .*a.tsv:2 has 1"),
        ("a.tsv", b"a\tb\tc\n", "a.tsv:1 has 3"),
        ("a.tsv", b"a\tb\nc\td\te\n", "a.tsv:2 has 3"),
        ("a.tsv", b"", "there are no pairs in .*a.tsv: 1 file"),
        ("a.tsv", b"\n\n", "there are no pairs"),
        ("a.tsv", b"caf\xe9\tb\n", "must be UTF-8, but .*a.tsv(.|\n)*byte 3 is 0xe9"),
        ("a.tsv", "a\tb\n".encode("utf-16"), "UTF-16"),
        ("a.tsv", b"a\tb\0\n", "NUL"),
        ("a.tsv.gz", b"a\tb\n", "a.tsv.gz is damaged"),
        ("a.tsv.gz", gzip.compress(b"a\tb\n" * 99, mtime=0)[:-9], "damaged or cut short"),
        ("a.jsonl", b'{"source": "a"}\n', "a.jsonl:1 has no field 'target'; it has 'source'"),
        ("a.jsonl", b'{"source": "a", "target": 3}\n', "a.jsonl:1 'target' is int: 3"),
        ("a.jsonl", b'{"a": "x", "b": "y", "c": "z"}\n', "no field 'source'"),
        ("a.jsonl", b'{"source": "a", "target": "b"}\nnot JSON\n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b'"a string"\n', "a.jsonl:1 must be an object"),
        ("a.jsonl", b'["a", "b", "c"]\n', "a.jsonl:1 must be an object"),
        ("a.jsonl", b'["a", "\\ud800"]\n', "a.jsonl:1 holds half a character"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "a.jsonl:1 is not JSON"),
        ("a.jsonl", b'{"translation": {"en": "a"}}\n', "a.jsonl:1 has no field"),
        ("a.csv", b"only\nx\n", "no field 'source'; it has 'only'"),
        ("a.csv", b"a,b,c\nx,y,z\n", "no field 'source'"),
        ("a.csv", b"en,fr\na,b\nc\n", "a.csv:3 has 1"),
        ("a.csv", b'en,fr\na,"b\n', "a.csv cannot be read up to line"),
        ("a.csv", b"en,fr\n", "there are no pairs"),
        ("a.parquet", b"PAR1", "not sound Parquet"),
        ("a.tmx", b"", "a.tmx:1 is not sound XML"),
        ("a.tmx", b"<tmx><body>\n<tu></body></tmx>", "a.tmx:2 is not sound XML: mismatched tag"),
        ("a.tmx", b"<tmx><body><tu><tuv><seg>x</seg></tuv></tu></body></tmx>", "a.tmx:1: <tuv> must say its language"),
        ("a.tmx", b"<tmx><header/><body></body></tmx>", "there are no pairs"),
    ],
)
def test_a_bad_file_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        list(read_pairs(tmp_path / name))
    assert str(caught.value).count("\n") < 6


def test_named_fields_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("en\tfr\nI\tje\n")
    assert "has no field 'de'; it has 'en', 'fr'" in refusal(tmp_path / "a.tsv", source="de", target="fr")
    assert "columns 1 and 3 are asked for, but" in refusal(tmp_path / "a.tsv", source="1", target="3")
    assert "columns 0 and 1" in refusal(tmp_path / "a.tsv", source="0", target="1")
    (tmp_path / "a.jsonl").write_text('["I", "je"]\n')
    assert "must be an object" in refusal(tmp_path / "a.jsonl", source="en", target="fr")


def test_parquet_values_must_be_text(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"source": ["a"], "target": [3]}), tmp_path / "a.parquet")
    assert "a.parquet:row 1 'target' is int: 3" in refusal(tmp_path / "a.parquet")


def test_two_files_of_unequal_length_are_refused_with_both_counts(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("a\n" * 7)
    (tmp_path / "t.txt").write_text("b\n" * 5)
    message = refusal(tmp_path / "s.txt", tmp_path / "t.txt")
    assert "s.txt has 7 and" in message and "t.txt has 5" in message
    assert "t.txt has 5 and" in refusal(tmp_path / "t.txt", tmp_path / "s.txt")
    (tmp_path / "u.txt").write_text("")
    assert "u.txt has 0" in refusal(tmp_path / "s.txt", tmp_path / "u.txt")
    (tmp_path / "v.txt").write_text("")
    assert "there are no pairs" in refusal(tmp_path / "u.txt", tmp_path / "v.txt")


def test_paths_that_are_missing_or_of_another_kind_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file or folder .*nowhere"):
        read_pairs(tmp_path / "nowhere.tsv")
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"one of .tsv(.|\n)*data.target_path"):
        read_pairs(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"has no pairs to read: 1 file\(s\) of other kinds"):
        read_pairs(tmp_path)
    with pytest.raises(DataError, match="there is no file .*nowhere"):
        read_pairs(tmp_path / "a.txt", target_path=tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a folder"):
        read_pairs(tmp_path / "a.txt", target_path=tmp_path)


def test_arguments_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for name in ("a.tsv", "b.tsv"):
        (tmp_path / name).write_text("a\tb\n")
    for arguments, said in (
        ({"source_field": "en"}, "two fields"),
        ({"source_field": "en", "target_field": "en"}, "two different fields"),
        ({"target_path": str(tmp_path / "a.tsv")}, "the same file"),
        ({"target_path": str(tmp_path / "b.tsv"), "source_field": "a", "target_field": "b"}, "mean nothing"),
    ):
        with pytest.raises(UsageError, match=said):
            read_pairs(tmp_path / "a.tsv", **arguments)


LAUGHS = '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><tmx>&b;</tmx>'
UNIT = '<tmx><body><tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="fr"><seg>x</seg></tuv></tu></body></tmx>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "document type with declarations of its own is refused"),
        ('<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + UNIT.format("&x;"), "is refused"),
        ('<!DOCTYPE tmx [<!ENTITY % x SYSTEM "http://nowhere/x.dtd"> %x;]>' + UNIT.format("a"), "is refused"),
        ('<!DOCTYPE tmx SYSTEM "tmx14.dtd">' + UNIT.format("&x;"), "the entity &x; is declared nowhere"),
        (UNIT.format("&x;"), "not sound XML: undefined entity"),
    ],
)
def test_hostile_xml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.tmx").write_text(text)
    assert said in refusal(tmp_path / "a.tmx")


def test_a_translation_memory_of_three_languages_wants_two_named(tmp_path: Path) -> None:
    units = "".join(f'<tuv xml:lang="{name}"><seg>{name}</seg></tuv>' for name in ("en", "fr", "de"))
    (tmp_path / "a.tmx").write_text(f'<tmx><header srclang="en"/><body><tu>{units}</tu></body></tmx>')
    assert "3 languages: de, en, fr" in refusal(tmp_path / "a.tmx")
    assert [pair.target for pair in read_pairs(tmp_path / "a.tmx", source_field="en", target_field="de")] == ["de"]
    message = refusal(tmp_path / "a.tmx", source="en", target="it")
    assert "none of the 1 units" in message and "its languages are de, en, fr" in message
