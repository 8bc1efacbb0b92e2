"""Texts, or pairs of texts, with labels, from files of separated values, JSON lines and Parquet.

Which column is which: by the names given, by the usual names, else by what stands there: labels are few and return.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headway.corpus.labelled_file import check_file, fingerprint_of, kind_of
from headway.corpus.table_files import parquet_rows, separated_rows
from headway.corpus.text_file import shown, text_lines
from headway.errors import DataError

KINDS = (".tsv", ".csv", ".jsonl", ".parquet")
_LABELS = ("label", "labels", "class", "category", "sentiment")
_TEXTS = ("text", "sentence", "review")
_OTHERS = ("other", "text2", "sentence2", "text_pair", "hypothesis")
_LOOKED_AT = 10_000  # rows from which columns are told apart
_WAY_OUT = (
    "Name it: train --set data.label_field=NAME, evaluate --label-field NAME (text_field and other_field likewise);\n"
    "columns without names by number, from 1."
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, the second text of a pair or None, its labels (one, or with multi_label any number), and where it is."""

    text: str
    other: str | None
    labels: tuple[str, ...]
    place: str = field(default="", compare=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both."""
        return (self.text,) if self.other is None else (self.text, self.other)


@dataclass(frozen=True, kw_only=True)
class LabelledFields:
    """The names of the fields or columns, or their numbers from 1; None: found by usual names, else by content."""

    text: str | None = None
    label: str | None = None
    other: str | None = None
    multi_label: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """The labelled texts of a file; every iteration reads it anew, in the same order."""

    path: Path
    fields: LabelledFields

    def __iter__(self) -> Iterator[Labelled]:
        """The examples, those with empty texts too. Raises DataError for a bad file, or if there is none."""
        given = False
        for example in _read(self.path, self.fields):
            given = True
            yield example
        if not given:
            raise DataError(f"there are no labelled texts in {shown(self.path)}: it is empty\nGive another file.")

    def columns(self) -> LabelledFields:
        """The fields by the names or numbers of the columns they were found in, for another file of the same layout."""
        names, rows = _rows(self.path, self.fields)
        head = list(itertools.islice(rows, _LOOKED_AT))
        if not head:
            return self.fields
        found = _columns(self.path, names, head, len(head[0][1]), self.fields)
        text, label, other = (None if place is None else names[place] if names else str(place + 1) for place in found)
        return replace(self.fields, text=text, label=label, other=other)

    def fingerprint(self) -> str:
        """A hash of the file's name and bytes and of the fields taken from it."""
        return fingerprint_of(self.path, repr(self.fields))


def read_labelled(
    path: str | Path,
    *,
    text_field: str | None = None,
    label_field: str | None = None,
    other_field: str | None = None,
    multi_label: bool = False,
) -> LabelledTexts:
    """The labelled texts of a .tsv, .csv, .jsonl (each also with .gz) or .parquet file.

    .tsv: plain columns without quotes, the first line a header where it holds usual or given names; .csv: with a
    header. Two columns are a text and its label, in any order; three are a pair and its label. With `multi_label`
    labels are divided by "|", or a list in JSON. Raises DataError for a missing path or another kind of file at once,
    for what is in the file when read.
    """
    path = Path(path)
    check_file(path, KINDS, "labelled texts")
    fields = LabelledFields(text=text_field, label=label_field, other=other_field, multi_label=multi_label)
    return LabelledTexts(path=path, fields=fields)


def read_column(path: str | Path, field: str) -> Iterator[str]:
    """The texts of one column or field, by name or number, of a file that read_labelled takes; empty ones left out.

    Raises DataError for a bad file, for a column that is not there, and where no row has text.
    """
    path = Path(path)
    check_file(path, KINDS, "texts in columns")
    names, rows = _rows(path, LabelledFields(text=field))
    width, given = None, False
    for place, row in rows:
        width = width or len(row)
        column = _place(path, names, width, field, "Name another: --text-field NAME; columns without names by number.")
        if column is None or column >= len(row):
            raise DataError(f"{place} has {len(row)} columns, but the first line has {width}\nMend that line.")
        text = _text(row[column], place)
        if text.strip():
            given = True
            yield text
    if not given:
        raise DataError(f"there is no text in column {field!r} of {shown(path)}\nGive another file or column.")


Row = tuple[str, Sequence[Any]]


def _read(path: Path, fields: LabelledFields) -> Iterator[Labelled]:
    """The examples of a file of any kind: its rows, and which column is which."""
    names, rows = _rows(path, fields)
    head = list(itertools.islice(rows, _LOOKED_AT))
    if not head:
        return
    width = len(head[0][1])
    text, label, other = _columns(path, names, head, width, fields)
    for place, row in itertools.chain(head, rows):
        if len(row) != width:
            raise DataError(
                f"{place} has {len(row)} columns, but the first line has {width}\n"
                "Mend that line; in .tsv a text may hold neither a tab nor a line break."
            )
        labels = _labels(row[label], place, fields.multi_label)
        second = None if other is None else _text(row[other], place)
        yield Labelled(_text(row[text], place), second, labels, place)


def _rows(path: Path, fields: LabelledFields) -> tuple[list[str] | None, Iterator[Row]]:
    """The columns' names, None where there are none, and the rows."""
    kind = kind_of(path)
    if kind == ".csv":
        header, rows = separated_rows(path, ",")
        return header, iter(rows)
    if kind == ".parquet":
        names: list[str] = []

        def choose(found: Sequence[str]) -> list[str]:
            names.extend(found)
            return list(found)

        found = parquet_rows(path, choose)
        first = next(found, None)
        every = iter(()) if first is None else itertools.chain([first], found)
        return names, ((place, [row[name] for name in names]) for place, row in every)
    return _json_rows(path, fields) if kind == ".jsonl" else _plain_rows(path, fields)


def _plain_rows(path: Path, fields: LabelledFields) -> tuple[list[str] | None, Iterator[Row]]:
    lines = (
        (f"{shown(path)}:{number}", line.rstrip("\n").split("\t"))
        for number, line in enumerate(text_lines(path), start=1)
        if not line.isspace()
    )
    first = next(lines, None)
    if first is None:
        return None, iter(())
    cells = [cell.strip().lower() for cell in first[1]]
    usual = bool(set(cells) & set(_LABELS)) and bool(set(cells) & {*_TEXTS, "sentence1", "premise", "question"})
    given = (fields.label, fields.text)  # a number is a place, also where the first line holds it as a label
    named = any(name is not None and not name.isdecimal() and name in first[1] for name in given)
    if usual or named:
        return first[1], lines
    return None, itertools.chain([first], lines)


def _json_rows(path: Path, fields: LabelledFields) -> tuple[list[str] | None, Iterator[Row]]:
    objects = _json_objects(path)
    first = next(objects, None)
    if first is None:
        return None, iter(())
    names = list(first[1])

    def rows() -> Iterator[Row]:
        for place, value in itertools.chain([first], objects):
            missing = [name for name in names if name not in value]
            wanted = {fields.text, fields.label, fields.other, *_LABELS, *_TEXTS}
            if any(name in wanted for name in missing):
                raise DataError(f"{place} has no field {missing[0]!r}, which the first line has\nMend that line.")
            yield place, [value.get(name) for name in names]

    return names, rows()


def _json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text_lines(path), start=1):
        if line.isspace():
            continue
        place = f"{shown(path)}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not JSON: {error}\nMend that line or take it out.") from None
        if not isinstance(value, dict):
            raise DataError(f"each line must be an object with a text and a label, but {place} is {value!r:.60}")
        yield place, value


def _columns(
    path: Path, names: list[str] | None, head: Sequence[Row], width: int, fields: LabelledFields
) -> tuple[int, int, int | None]:
    """Where the text, the label and the second text stand."""
    if width < 2:
        raise DataError(f"{shown(path)} has one column, but a text and its label are two\n{_WAY_OUT}")
    given = [_place(path, names, width, name) for name in (fields.text, fields.label, fields.other)]
    text, label, other = given
    lowered = [name.strip().lower() for name in names or ()]
    taken = [place for place in given if place is not None]
    if len(set(taken)) < len(taken):
        raise DataError(f"text, label and second text must be different columns of {shown(path)}\n{_WAY_OUT}")
    if label is None:
        label = _usual(lowered, _LABELS, taken)
    if label is None:
        label = _by_content(path, names, head, [place for place in range(width) if place not in taken])
    taken.append(label)
    if text is None:
        text = _usual(lowered, _TEXTS, taken)
    left = [place for place in range(width) if place not in (text, label, other)]
    if text is None:
        if len(left) > 2 - (other is not None):
            raise DataError(f"{shown(path)} has {len(left)} columns that could be the text{_listed(names)}\n{_WAY_OUT}")
        if not left:
            raise DataError(f"{shown(path)} has no column for the text beside the label{_listed(names)}\n{_WAY_OUT}")
        text = left.pop(0)
        if other is None and left:
            other = left.pop(0)
    elif other is None:
        other = _usual(lowered, _OTHERS, [text, label])
    return text, label, other


def _place(path: Path, names: list[str] | None, width: int, name: str | None, way_out: str = _WAY_OUT) -> int | None:
    if name is None:
        return None
    if names is not None and name in names:
        return names.index(name)
    if names is None and name.isdecimal() and 1 <= int(name) <= width:
        return int(name) - 1
    raise DataError(
        f"{shown(path)} has no column {name!r}{_listed(names) or f'; it has {width} without names'}\n{way_out}"
    )


def _usual(lowered: Sequence[str], usual: Sequence[str], taken: Sequence[int]) -> int | None:
    for name in usual:
        if name in lowered and lowered.index(name) not in taken:
            return lowered.index(name)
    return None


def _by_content(path: Path, names: list[str] | None, head: Sequence[Row], places: Sequence[int]) -> int:
    """The column of fewest different values, where it has at most half as many as any other."""
    distinct = {place: len({str(row[place]) for _, row in head if place < len(row)}) for place in places}
    ordered = sorted(places, key=lambda place: distinct[place])
    if len(ordered) > 1 and 2 * distinct[ordered[0]] > distinct[ordered[1]]:
        counts = ", ".join(str(distinct[place]) for place in places)
        raise DataError(
            f"which column of {shown(path)} is the label? Its columns have {counts} different values in "
            f"{len(head)} rows{_listed(names)}\n{_WAY_OUT}"
        )
    return ordered[0]


def _listed(names: list[str] | None) -> str:
    return "" if names is None else f"; it has {', '.join(map(repr, names[:20]))}"


def _labels(value: Any, place: str, multi_label: bool) -> tuple[str, ...]:
    if isinstance(value, list) and multi_label:
        return tuple(dict.fromkeys(_label(item, place) for item in value))
    if multi_label and (value is None or isinstance(value, str)):
        return tuple(dict.fromkeys(part.strip() for part in (value or "").split("|") if part.strip()))
    return (_label(value, place),)


def _label(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)) and str(value).strip():
        return str(value).strip()
    way_out = "several labels need --set data.multi_label=true" if isinstance(value, list) else "mend that line"
    raise DataError(f"a label is a word or a number, but {place} has {value!r:.60}\n{way_out.capitalize()}.")


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"a text must be a string, but {place} has {value!r:.60}\n{_WAY_OUT}")
    return value
