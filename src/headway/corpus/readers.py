"""One reader a kind of file: each gives the documents of a file one after another, in bounded memory."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway.corpus.table_files import parquet_rows, separated_rows
from headway.corpus.text_file import shown, text_chunks, text_lines
from headway.errors import DataError

_PIECE = 1 << 22  # characters; a longer plain text comes in pieces
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
    header, rows = separated_rows(path, "\t" if tabs else ",")
    if header is None:
        return
    _check_separator(header, path)
    column = header.index(_column(header, text_field, shown(path)))
    for source, row in rows:
        yield Document(row[column], source)


def read_parquet(path: Path, text_field: str | None) -> Iterator[Document]:
    """A document a row: column `text_field`, or "text", or the only one; a null is no text.

    Raises DependencyError where pyarrow is not installed.
    """
    for source, row in parquet_rows(path, lambda names: [_column(names, text_field, shown(path))]):
        ((column, value),) = row.items()
        yield Document(_text(value, source, f"column {column!r}"), source)


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
