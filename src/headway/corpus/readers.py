"""One reader a kind of file: each gives the documents of a file one after another, in bounded memory."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headway.corpus.text_file import shown, text_chunks, text_lines, unreadable
from headway.errors import DataError, DependencyError

if TYPE_CHECKING:
    import _csv

_PIECE = 1 << 22  # characters; a longer plain text comes in pieces
_LONGEST_FIELD = 1 << 24  # characters of a .csv field; the csv module's own limit is 131072
_PARQUET_ROWS = 1024
# A piece ends before a blank that follows a non-blank: no tokenizer of ours joins the two, so ids do not change.
_BREAK = re.compile(r"(?<=\S)[ \n]")
_BREAK_REACH = 1 << 16
_WAY_OUT = "Name the one that holds the text: train --set data.text_field=NAME, evaluate --text-field NAME"


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it stands (file, and line or row), for messages.

    more: the text goes on in the next Document; so a plain text file of any size is read in bounded memory.
    """

    text: str
    source: str
    more: bool = False


def read_text(path: Path, text_field: str | None) -> Iterator[Document]:
    """The whole file as one document, in pieces of about four million characters."""
    held, source = "", shown(path)
    for chunk in text_chunks(path):
        held += chunk
        if len(held) >= _PIECE:
            breaks = [found.start() for found in _BREAK.finditer(held, len(held) - _BREAK_REACH)]
            if breaks:
                yield Document(held[: breaks[-1]], source, more=True)
                held = held[breaks[-1] :]
    yield Document(held, source)


def read_json_lines(path: Path, text_field: str | None) -> Iterator[Document]:
    """A document a line: an object with the text in `text_field` (None: "text"), or a string; null is no text."""
    field = text_field or "text"
    for number, line in enumerate(text_lines(path), start=1):
        if line.isspace():
            continue
        source = f"{shown(path)}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{source} is not JSON: {error}\nMend that line or take it out.") from None
        if isinstance(value, dict):
            if field not in value:
                raise DataError(_no_field(source, field, list(value)))
            value = value[field]
        yield Document(_text(value, source, f"field {field!r}"), source)


def read_table(path: Path, text_field: str | None) -> Iterator[Document]:
    """A document a row of a .csv or .tsv with a header: column `text_field`, or "text", or the only one."""
    tabs = path.name.lower().removesuffix(".gz").endswith(".tsv")
    rows = csv.reader(text_lines(path), delimiter="\t" if tabs else ",", strict=True)
    header = _next_row(rows, path)
    if header is None:
        return
    _check_separator(header, path)
    column = header.index(_column(header, text_field, shown(path)))
    while True:
        source = f"{shown(path)}:{rows.line_num + 1}"
        row = _next_row(rows, path)
        if row is None:
            return
        if row and len(row) != len(header):
            raise DataError(
                f"each row must have the {len(header)} fields of the header, but {source} has {len(row)}\n"
                'Put fields that hold the separator or a line break in double quotes ("), or mend that row.'
            )
        if row:
            yield Document(row[column], source)


def read_parquet(path: Path, text_field: str | None) -> Iterator[Document]:
    """A document a row: column `text_field`, or "text", or the only one; a null is no text.

    Raises DependencyError where pyarrow is not installed.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise DependencyError(
            f"reading {shown(path)} needs the package pyarrow: pip install 'headway[data]'"
        ) from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            column = _column(file.schema_arrow.names, text_field, shown(path))
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    source = f"{shown(path)}:row {number}"
                    yield Document(_text(value, source, f"column {column!r}"), source)
    except pyarrow.ArrowException as error:
        raise DataError(f"{shown(path)} is not sound Parquet: {error}\nFetch it again, or leave it out.") from error
    except OSError as error:
        raise DataError(unreadable(path, error)) from error


def _next_row(rows: "_csv.Reader", path: Path) -> list[str] | None:
    limit = csv.field_size_limit(_LONGEST_FIELD)  # the module has one limit for all readers: it is put back
    try:
        return next(rows, None)
    except csv.Error as error:
        raise DataError(
            f"{shown(path)} cannot be read up to line {rows.line_num}: {error}\n"
            f'Mend the quotes (") there; a field may have {_LONGEST_FIELD} characters.'
        ) from None
    finally:
        csv.field_size_limit(limit)


def _check_separator(header: list[str], path: Path) -> None:
    """One column whose name holds a separator is a file with another separator, not a table of one column."""
    found = [mark for mark in (";", "\t", ",", "|") if len(header) == 1 and mark in header[0]]
    if found:
        raise DataError(
            f"columns are divided by a comma in .csv and by a tab in .tsv, but {shown(path)} begins {header[0]!r}\n"
            f"Save it with the separator of its name (it seems to be {found[0]!r})."
        )


def _column(names: Sequence[str], text_field: str | None, source: str) -> str:
    if text_field is not None and text_field not in names:
        raise DataError(_no_field(source, text_field, names))
    if text_field is None and "text" not in names and len(names) != 1:
        raise DataError(_no_field(source, "text", names))
    return text_field or ("text" if "text" in names else names[0])


def _no_field(source: str, field: str, names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names[:20])) or "none"
    return f"{source} has no field {field!r}; it has {listed}\n{_WAY_OUT}"


def _text(value: object, source: str, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"the text must be a string, but in {source} {place} is {type(value).__name__}: {value!r:.80}\n{_WAY_OUT}"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{source} holds half a character, {value[error.start]!a}, which is not Unicode text\n"
            "Mend that line or take it out."
        ) from None
    return value.replace("\r\n", "\n")
