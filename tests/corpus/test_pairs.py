"""Pairs are read from every kind of file, as they stand there, in a fixed order."""

import gzip
import json
import logging
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from headway.corpus.pairs import Pair, read_pairs

SAMPLES = Path(__file__).parent.parent / "data" / "pairs"
PAIRS = [
    Pair("I am.", "Je suis."),
    Pair('He said "no".', "Il a dit « non »."),
    Pair("", "rien"),
    Pair("שלום עולם", "مرحبا بالعالم"),
    Pair("\N{GRINNING FACE} yes", "oui \N{GRINNING FACE}\N{ZERO WIDTH JOINER}\N{ROCKET}"),
    Pair("unassigned \U000e0fff", "line\N{LINE SEPARATOR}separator"),
]
MEMORY = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header srclang="{source}" datatype="plaintext"/><body>
<tu><tuv xml:lang="fr-FR"><seg>Je <bpt i="1">&lt;b></bpt>suis<ept i="1">&lt;/b></ept>
   l&#xe0;.</seg></tuv><tuv xml:lang="en"><seg>I <hi>am</hi> there.</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>only English</seg></tuv></tu>
<tu><prop type="x">a note</prop><tuv xml:lang="EN"><seg>A &amp; B</seg></tuv>
<tuv xml:lang="fr-fr"><seg>A et B</seg></tuv></tu>
</body></tmx>"""


def test_tabs_divide_and_nothing_else_does(tmp_path: Path) -> None:
    text = "".join(f"{pair.source}\t{pair.target}\n" for pair in PAIRS)
    (tmp_path / "a.tsv").write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / "b.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\ufeff" + text.replace("\n", "\r\n").removesuffix("\r\n"))
    for name in ("a.tsv", "b.tsv.gz"):
        assert list(read_pairs(tmp_path / name)) == PAIRS
    assert [pair.place[-7:] for pair in read_pairs(tmp_path / "a.tsv")][:2] == ["a.tsv:1", "a.tsv:2"]


def test_blank_lines_of_tabs_are_passed_over_and_empty_sides_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n\n\t\nc\t\n")
    assert list(read_pairs(tmp_path / "a.tsv")) == [Pair("a", "b"), Pair("", ""), Pair("c", "")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("I am.\tJe suis.\tCC-BY 2.0 (France) Attribution: tatoeba.org #1 (CK)\n", "third is an attribution"),
        ("17\tI am.\t19\tJe suis.\n", "2 and 4"),
    ],
)
def test_both_layouts_of_tatoeba_are_known_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, said: str
) -> None:
    (tmp_path / "a.tsv").write_text(line * 2)
    with caplog.at_level(logging.INFO):
        assert list(read_pairs(tmp_path / "a.tsv")) == [Pair("I am.", "Je suis.")] * 2
    assert said in caplog.text


def test_columns_of_tabs_are_named_in_a_first_line_or_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("fr\tnote\ten\nJe suis.\tx\tI am.\n")
    assert list(read_pairs(tmp_path / "a.tsv", source_field="en", target_field="fr")) == [Pair("I am.", "Je suis.")]
    numbered = list(read_pairs(tmp_path / "a.tsv", source_field="3", target_field="1"))
    assert numbered == [Pair("en", "fr"), Pair("I am.", "Je suis.")]
    (tmp_path / "b.tsv").write_text("Target\tSource\nJe suis.\tI am.\n")
    assert list(read_pairs(tmp_path / "b.tsv")) == [Pair("I am.", "Je suis.")]


def test_json_lines_csv_and_parquet_give_the_same_pairs(tmp_path: Path) -> None:
    rows = [{"source": pair.source, "n": 3, "target": pair.target} for pair in PAIRS]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    csv = "".join(
        '"{source}",{n},"{target}"\n'.format(**{k: str(v).replace('"', '""') for k, v in r.items()}) for r in rows
    )
    (tmp_path / "a.csv").write_text("source,n,target\n" + csv, encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert list(read_pairs(tmp_path / name)) == PAIRS


def test_the_only_two_fields_are_source_and_target_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"en": "I", "fr": "je"}\n["you", "tu"]\n{"en": "he", "fr": null}\n')
    (tmp_path / "a.csv").write_text("en,fr\nI,je\nyou,tu\nhe,\n")
    pyarrow.parquet.write_table(
        pyarrow.table({"en": ["I", "you", "he"], "fr": ["je", "tu", None]}), tmp_path / "a.parquet"
    )
    expected = [Pair("I", "je"), Pair("you", "tu"), Pair("he", "")]
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert list(read_pairs(tmp_path / name)) == expected
    for name in ("a.csv", "a.parquet"):
        swapped = read_pairs(tmp_path / name, source_field="fr", target_field="en")
        assert list(swapped) == [Pair(pair.target, pair.source) for pair in expected]


def test_a_translation_field_holds_both_languages(tmp_path: Path) -> None:
    rows = [{"id": 7, "translation": {"fr": "je", "en": "I"}}, {"id": 8, "translation": {"fr": "tu", "en": "you"}}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        found = list(read_pairs(tmp_path / name, source_field="en", target_field="fr"))
        assert found == [Pair("I", "je"), Pair("you", "tu")]
        assert list(read_pairs(tmp_path / name)) == [Pair("je", "I"), Pair("tu", "you")]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_a_translation_memory_begins_with_the_language_of_its_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    text = MEMORY.format(source="EN").replace("UTF-8", encoding)
    (tmp_path / "a.tmx.gz").write_bytes(gzip.compress(text.encode(encoding)))
    expected = [Pair("I am there.", "Je suis là."), Pair("A & B", "A et B")]
    with caplog.at_level(logging.INFO):
        pairs = list(read_pairs(tmp_path / "a.tmx.gz"))
    assert pairs == expected and [pair.place[-3:] for pair in pairs] == ["z:3", "z:6"]
    assert "source language en, target language fr-fr" in caplog.text and "left out 1 units" in caplog.text
    other = read_pairs(tmp_path / "a.tmx.gz", source_field="fr", target_field="en")
    assert list(other) == [Pair(pair.target, pair.source) for pair in expected]


def test_a_translation_memory_without_source_language_begins_with_its_first(tmp_path: Path) -> None:
    (tmp_path / "a.tmx").write_text(MEMORY.format(source="*all*"), encoding="utf-8")
    assert [pair.source for pair in read_pairs(tmp_path / "a.tmx")] == ["Je suis là.", "A et B"]


def test_a_named_document_type_is_not_fetched(tmp_path: Path) -> None:
    text = MEMORY.format(source="en").replace("<tmx ", '<!DOCTYPE tmx SYSTEM "nowhere/tmx14.dtd">\n<tmx ', 1)
    (tmp_path / "a.tmx").write_text(text, encoding="utf-8")
    assert len(list(read_pairs(tmp_path / "a.tmx"))) == 2


def test_a_long_translation_memory_is_streamed(tmp_path: Path) -> None:
    unit = '<tu><tuv xml:lang="a"><seg>x{0}</seg></tuv><tuv xml:lang="b"><seg>y{0}</seg></tuv></tu>'
    units = "\n".join(unit.format(number) for number in range(12_000))
    (tmp_path / "a.tmx").write_text(f'<tmx><header srclang="b"/><body>{units}</body></tmx>')
    pairs = list(read_pairs(tmp_path / "a.tmx"))
    assert pairs == [Pair(f"y{number}", f"x{number}") for number in range(12_000)]


def test_two_files_go_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("I\n\nyou", encoding="utf-8")
    (tmp_path / "train.fr.gz").write_bytes(gzip.compress(b"je\nrien\ntu\n"))
    pairs = read_pairs(tmp_path / "train.en", target_path=tmp_path / "train.fr.gz")
    assert list(pairs) == [Pair("I", "je"), Pair("", "rien"), Pair("you", "tu")]


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("b.tsv", "a/z.tsv", "a/.hidden.tsv", "note.txt", ".git/c.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\ttarget\n")
    pairs = read_pairs(tmp_path)
    assert "ignored 1 files" in caplog.text and "note.txt" in caplog.text
    assert [pair.source for pair in pairs] == ["a/z.tsv", "b.tsv"] == [pair.source for pair in pairs]


def test_the_fingerprint_is_of_content_names_and_fields(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text('{"en": "I", "fr": "je"}\n')
    first = read_pairs(tmp_path / "one").fingerprint()
    assert first == read_pairs(tmp_path / "two").fingerprint()
    assert first != read_pairs(tmp_path / "one", source_field="fr", target_field="en").fingerprint()
    (tmp_path / "two" / "a.jsonl").rename(tmp_path / "two" / "b.jsonl")
    assert first != read_pairs(tmp_path / "two").fingerprint()
    (tmp_path / "one" / "a.jsonl").write_text('{"en": "I", "fr": "moi"}\n')
    assert first != read_pairs(tmp_path / "one").fingerprint()
    (tmp_path / "s").write_text("x\n")
    (tmp_path / "t").write_text("y\n")
    two = read_pairs(tmp_path / "s", target_path=tmp_path / "t").fingerprint()
    (tmp_path / "t").write_text("z\n")
    assert two != read_pairs(tmp_path / "s", target_path=tmp_path / "t").fingerprint()


def test_bytes_are_those_of_both_sides(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("é\tab\nc\t\n", encoding="utf-8")
    assert read_pairs(tmp_path / "a.tsv").bytes == 5


def test_the_samples_are_pairs() -> None:
    pairs = list(read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv"))
    assert len(pairs) == 300 and pairs[0].source == "1980 was the year that I was born."
    assert len(list(read_pairs(SAMPLES / "tatoeba.en-fr.valid.tsv"))) == 60
