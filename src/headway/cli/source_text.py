"""Where the text of `translate`, `summarise` and `look` comes from: the command line, a file or a pipe."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from headway.cli.output import note
from headway.errors import DataError, UsageError
from headway.formats.bundled import bundled_names


def model_and_text(first: str | None, second: str | None, *, default: str, given: bool) -> tuple[str, str | None]:
    """The model, and the text on the command line; None where it comes from a file or standard input.

    One word alone is the model where a folder or bundled model is called so, else the text for `default`, and that is
    said. given: the text comes from a file, so the one word is the model. Raises UsageError for a text given twice.
    """
    if given:
        if second is not None:
            raise UsageError(f"the text comes from a file or from the command line, but got both: {second[:40]!r}")
        return first or default, None
    if first is not None and second is None and not _is_model(first):
        if first != "-":
            short = first if len(first) <= 40 else f"{first[:37]}..."
            note(f"No folder or bundled model is called {short!r}: it is the text for {default}.")
        first, second = None, first
    text = None if second in (None, "-") else argument_text(second or "")
    return first or default, text


def argument_text(word: str) -> str:
    """A word of the command line as text. Raises DataError for bytes that are not UTF-8."""
    try:
        return os.fsencode(word).decode("utf-8")  # bytes that are not of the terminal's encoding lie there in halves
    except UnicodeDecodeError as error:
        raise DataError(f"a text is UTF-8, but byte {error.start} of the text given is not; convert it") from error


def read_lines(path: Path | None) -> Iterator[str]:
    """The lines of a file, or of standard input, without their ends, one at a time.

    Only a newline ends a line, with a carriage return before it or not; the last one needs none. Raises DataError,
    naming the line, where it is not UTF-8, and for a file that cannot be read.
    """
    if path is None:
        if sys.stdin is None:
            raise DataError("standard input is closed\nGive a text or a file.")
        yield from _decoded(sys.stdin.buffer, "standard input")
        return
    try:
        with open(path, "rb") as file:
            yield from _decoded(file, str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a text file") from error


def is_keyboard() -> bool:
    """Whether standard input is typed by somebody."""
    return sys.stdin is not None and sys.stdin.isatty()


def _decoded(file: BinaryIO, name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"a text is UTF-8, but byte {error.start} of line {number} of {name} is not\n"
                "Convert it, for instance with: iconv -f LATIN1 -t UTF-8"
            ) from error
        yield text.removesuffix("\n").removesuffix("\r")


def _is_model(word: str) -> bool:
    if word == "-":
        return False
    only_a_path = "/" in word and not any(character.isspace() for character in word)
    return only_a_path or word in bundled_names() or os.path.exists(word)
