"""Where the texts of `classify`, `tag` and `embed` come from: the command line, a file or a pipe, line by line."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.source_text import argument_text, read_lines
from headway.errors import DataError, UsageError

AT_ONCE = 1024
"""Texts read and answered together: enough to sort by length, few enough for any memory."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Given:
    """A text in place of a file."""

    text: Annotated[str | None, Parameter(help="One text, in place of a file.")] = None
    second: Annotated[str | None, Parameter(help="And its second text, for a model of pairs.")] = None


def texts_of(file: str | None, given: Given) -> Iterator[str]:
    """The texts: the one given, or the lines of the file or of standard input that are not empty.

    Raises UsageError for both or for a lone second text, DataError for a file that cannot be read or has no text.
    """
    if given.text is not None:
        if file is not None:
            raise UsageError(f"the text comes from a file or from --text, but got both: {file}")
        yield argument_text(given.text)
        return
    if given.second is not None:
        raise UsageError("--second goes with --text")
    found = False
    for line in read_lines(None if file in (None, "-") else Path(str(file))):
        if line.strip():
            found = True
            yield line
    if not found:
        raise DataError(f"{'standard input' if file in (None, '-') else file} has no text; give a text a line")


def in_parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of at most AT_ONCE, in order."""
    rest = iter(texts)
    while part := list(islice(rest, AT_ONCE)):
        yield part
