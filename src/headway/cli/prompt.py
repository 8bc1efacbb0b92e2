"""Which model and which prompt the words of `headway write` mean, and where a prompt is read from."""

import os
import sys
from pathlib import Path

from headway.cli.output import note
from headway.errors import DataError, UsageError
from headway.formats.bundled import bundled_names

DEFAULT_MODEL = "writer"


def model_and_prompt(first: str | None, second: str | None, file: Path | None) -> tuple[str, str]:
    """The model and the text of the prompt.

    One word alone is the model where a folder or bundled model is called so, else the prompt, and that is said; one
    that can only be a path, with a slash and no blank, is always the model. The prompt `-` is standard input.
    Raises UsageError for a prompt given twice, DataError for one that cannot be read.
    """
    if file is not None:
        if second is not None:
            raise UsageError(f"the prompt comes from --file or from the command line, but got {file} and {second!r}")
        return first or DEFAULT_MODEL, _read(file)
    if first is not None and second is None and not _is_model(first):
        if first != "-":
            note(f"No folder or bundled model is called {_short(first)!r}: it is the prompt for {DEFAULT_MODEL}.")
        first, second = None, first
    if second == "-":
        prompt = _decode(sys.stdin.buffer.read(), "standard input")
    else:  # bytes that are not of the terminal's encoding lie in the words as half characters
        prompt = _text(os.fsencode(second or ""), "the prompt given")
    return first or DEFAULT_MODEL, prompt


def _is_model(word: str) -> bool:
    if word == "-":
        return False
    only_a_path = "/" in word and not any(character.isspace() for character in word)
    return only_a_path or word in bundled_names() or os.path.exists(word)


def _read(file: Path) -> str:
    try:
        return _decode(file.read_bytes(), str(file))
    except OSError as error:
        raise DataError(f"the prompt {file} cannot be read: {error.strerror}; give the path of a text file") from error


def _decode(data: bytes, source: str) -> str:
    """The text without the newline that ends its last line: editors and `echo` add it, a prompt seldom means it."""
    return _text(data, source).removesuffix("\n").removesuffix("\r")


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"a prompt is UTF-8 text, but byte {error.start} of {source} is not; convert it") from error


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
