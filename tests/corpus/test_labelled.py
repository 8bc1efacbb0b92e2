"""Labelled texts of every kind of file, which column is which, and what is refused."""

import gzip
import json
from pathlib import Path

import pytest

from headway.corpus.connected_division import keep_aside, shared_texts
from headway.corpus.labelled import Labelled, read_column, read_labelled
from headway.errors import DataError

DATA = Path(__file__).parents[1] / "data" / "labelled"
WANTED = [("neg", "it was dull"), ("pos", 'a "joy", really'), ("neg", "no"), ("pos", "fine")]


def found(path: Path, **fields: object) -> list[tuple[str, str]]:
    return [(example.labels[0], example.text) for example in read_labelled(path, **fields)]  # type: ignore[arg-type]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_two_plain_columns_in_any_order(tmp_path: Path) -> None:
    one = write(tmp_path / "one.tsv", "".join(f"{label}\t{text}\n" for label, text in WANTED))
    other = write(tmp_path / "other.tsv", "".join(f"{text}\t{label}\r\n" for label, text in WANTED))
    assert found(one) == found(other) == WANTED
    packed = tmp_path / "packed.tsv.gz"
    packed.write_bytes(gzip.compress(one.read_bytes()))
    assert found(packed) == WANTED


def test_headers_json_lines_csv_and_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    rows = [{"label": label, "text": text, "id": number} for number, (label, text) in enumerate(WANTED)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert found(write(tmp_path / "a.jsonl", lines)) == WANTED
    quoted = "".join('{},"{}"\n'.format(label, text.replace('"', '""')) for label, text in WANTED)
    assert found(write(tmp_path / "a.csv", "label,text\n" + quoted)) == WANTED
    header = "id\tLabel\ttext\n" + "".join(f"{n}\t{label}\t{text}\n" for n, (label, text) in enumerate(WANTED))
    assert found(write(tmp_path / "a.tsv", header)) == WANTED
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == WANTED


def test_three_columns_are_a_pair_and_its_label(tmp_path: Path) -> None:
    lines = [f"premise {number}\thypothesis {number}\t{'yes' if number % 2 else 'no'}\n" for number in range(8)]
    first = next(iter(read_labelled(write(tmp_path / "a.tsv", "".join(lines)))))
    assert first == Labelled("premise 0", "hypothesis 0", ("no",))
    named = "".join(
        json.dumps({"q": f"q {number}", "p": f"p {number}", "label": number % 2}) + "\n" for number in range(4)
    )
    path = write(tmp_path / "b.jsonl", named)
    assert next(iter(read_labelled(path, text_field="p", other_field="q"))) == Labelled("p 0", "q 0", ("0",))


def test_several_labels_by_bars_or_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "label\ttext\nred|round\ta ball\n\tnothing\nred\ta rose\n")
    assert [example.labels for example in read_labelled(path, multi_label=True)] == [("red", "round"), (), ("red",)]
    lines = '{"label": ["red", "round"], "text": "a ball"}\n{"label": [], "text": "nothing"}\n'
    path = write(tmp_path / "a.jsonl", lines)
    assert [example.labels for example in read_labelled(path, multi_label=True)] == [("red", "round"), ()]
    with pytest.raises(DataError, match="multi_label"):
        list(read_labelled(path))


def test_columns_are_named_by_number_where_they_have_no_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "1\tone a\tx\n2\ttwo b\tx\n3\tthree c\ty\n")
    assert found(path, text_field="2", label_field="3") == [("x", "one a"), ("x", "two b"), ("y", "three c")]


def test_the_number_of_a_column_is_no_name_where_the_first_line_has_it_as_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "1\tone\n0\ttwo\n1\tthree\n")
    assert found(path, label_field="1") == [("1", "one"), ("0", "two"), ("1", "three")]
    assert list(read_column(path, "2")) == ["one", "two", "three"]


def test_a_column_is_read_by_its_name_or_number_without_empty_texts(tmp_path: Path) -> None:
    rows = [{"kind": "a", "body": "one"}, {"kind": "b", "body": " "}, {"kind": "c", "body": "two\nlines"}]
    lines = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = write(tmp_path / "a.csv", 'kind,body\na,one\nb,\nc,"two\nlines"\n')
    assert list(read_column(lines, "body")) == list(read_column(table, "body")) == ["one", "two\nlines"]
    named = write(tmp_path / "a.tsv", "kind\tbody\na\tone\n")
    assert list(read_column(named, "body")) == ["one"]
    with pytest.raises(DataError, match="no column 'text'; it has 'kind', 'body'\n.*--text-field"):
        list(read_column(table, "text"))
    with pytest.raises(DataError, match="no text in column 'kind'"):
        list(read_column(write(tmp_path / "b.csv", "kind\n"), "kind"))
    with pytest.raises(DataError, match=r"b\.tsv:2 has 1 columns"):
        list(read_column(write(tmp_path / "b.tsv", "a\tone\nb\n"), "2"))
    with pytest.raises(DataError, match="are in a file .tsv"):
        read_column(write(tmp_path / "a.txt", "one"), "1").__next__()


@pytest.mark.parametrize(
    ("name", "text", "fields", "message"),
    [
        ("a.tsv", "one\ttwo\nthree\tfour\n", {}, "which column of .* is the label.*\n.*data.label_field"),
        ("a.tsv", "only\nsome\ntexts\n", {}, "one column"),
        ("a.tsv", "a\tone\na\ttwo\nb\tthree\tmore\nb\tfour\n", {}, r"a\.tsv:3 has 3 columns"),
        ("a.csv", "kind,text\na,one\nb,two\n", {"label_field": "label"}, "no column 'label'; it has 'kind', 'text'"),
        ("a.jsonl", '{"text": "one", "label": "a"}\n{"text": "two"}\n', {}, r"a\.jsonl:2 has no field 'label'"),
        ("a.jsonl", '{"text": "one", "label": null}\n{"text": "two", "label": "b"}\n', {}, "a label is a word"),
        ("a.jsonl", '{"text": 3, "label": "a"}\n', {}, "a text must be a string"),
        ("a.jsonl", "not json\n", {}, "is not JSON"),
        ("a.tsv", "", {}, "empty"),
        ("a.jsonl", "", {}, "empty"),
        ("a.doc", "x", {}, "labelled texts are in a file"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, name: str, text: str, fields: dict[str, str], message: str
) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataError, match=message) as raised:
        list(read_labelled(path, **fields))  # type: ignore[arg-type]
    assert str(raised.value).count("\n") < 6


def test_another_encoding_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("neg\tcafé\npos\tnaïve\n".encode("cp1252"))
    with pytest.raises(DataError, match="UTF-8"):
        list(read_labelled(path))
    with pytest.raises(DataError, match="there is no file"):
        read_labelled(tmp_path / "missing.tsv")


def test_what_is_kept_aside_has_each_label_and_shares_no_text() -> None:
    labels = ["a"] * 90 + ["b"] * 10
    texts = [(f"text {number // 2}",) for number in range(100)]
    texts[1] = ("TEXT, 0!",)
    kept = keep_aside(texts, labels, share=0.2, most=1000)
    assert 16 <= kept.sum() <= 24 and {labels[place] for place in kept.nonzero()[0]} == {"a", "b"}
    aside = [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]
    rest = [text for text, is_kept in zip(texts, kept, strict=True) if not is_kept]
    assert shared_texts(rest, aside) == 0
    assert (kept == keep_aside(texts, labels, share=0.2, most=1000)).all()
    assert 4 <= keep_aside(texts, labels, share=0.2, most=5).sum() <= 6


def test_texts_connected_over_others_stay_together() -> None:
    pairs = [(f"left {number}", f"right {number // 3}") for number in range(60)] + [("left 0", "right 7")]
    kept = keep_aside(pairs, [0] * len(pairs), share=0.3, most=100)
    for number in range(0, 60, 3):
        assert len(set(kept[number : number + 3])) == 1
    assert kept[0] == kept[60] == kept[21]


def test_nothing_to_keep_aside_is_refused() -> None:
    with pytest.raises(DataError, match="data.validation"):
        keep_aside([("same",)] * 9, [0] * 9, share=0.3, most=100)
