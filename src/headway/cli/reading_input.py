"""Where the texts of `classify`, `tag` and `embed` come from: the command line, a pipe, a file's lines or a column."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.source_text import argument_text, read_lines
from headway.corpus.labelled import read_column
from headway.corpus.labelled_file import kind_of
from headway.errors import DataError, UsageError

_TABLES = (".csv", ".jsonl", ".parquet")  # .tsv is also how two texts stand on a line
AT_ONCE = 1024
"""Texts read and answered together: enough to sort by length, few enough for any memory."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Given:
    """A text in place of a file, and which column of a file is meant."""

    text: Annotated[str | None, Parameter(help="One text, in place of a file.")] = None
    second: Annotated[str | None, Parameter(help="And its second text, for a model of pairs.")] = None
    text_field: Annotated[
        str | None, Parameter(help="The field, or number of the column, of a .tsv, .csv, .jsonl or .parquet file.")
    ] = None


def texts_of(file: str | None, given: Given) -> Iterator[str]:
    """The texts: the one given, or the file's column, or the lines of the file or of standard input; none empty.

    Raises UsageError for both, for a lone second text, for a column of no file and for a table without the name of its
    column, DataError for a file that cannot be read or has no text.
    """
    if given.text_field is not None:
        yield from _column(file, given)
        return
    if given.text is not None:
        if file is not None:
            raise UsageError(f"the text comes from a file or from --text, but got both: {file}")
        yield argument_text(given.text)
        return
    if given.second is not None:
        raise UsageError("--second goes with --text")
    if file is not None and kind_of(Path(file)) in _TABLES and Path(file).is_file():
        raise UsageError(
            f"{file} is a table, not a text a line\nSay which of its columns is the text: --text-field NAME"
        )
    found = False
    for line in read_lines(None if file in (None, "-") else Path(str(file))):
        if line.strip():
            found = True
            yield line
    if not found:
        raise DataError(f"{'standard input' if file in (None, '-') else file} has no text; give a text a line")


def _column(file: str | None, given: Given) -> Iterator[str]:
    if file in (None, "-") or given.text is not None or given.second is not None:
        raise UsageError("--text-field names a column of a file: give one (.tsv .csv .jsonl .parquet), and no --text")
    yield from read_column(str(file), str(given.text_field))


def in_parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of at most AT_ONCE, in order."""
    rest = iter(texts)
    while part := list(islice(rest, AT_ONCE)):
        yield part
