"""A text file, plain or gzipped, as decoded chunks or lines, in bounded memory.

UTF-8 is required, and what is not UTF-8 is refused with its place: a guess at another encoding would train a model on
garbled letters. A byte order mark is dropped and CRLF becomes LF; nothing else is changed.
"""

import codecs
import gzip
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from headway.errors import DataError

_CHUNK = 1 << 20  # bytes
_LONGEST_LINE = 1 << 28  # characters; a line must be held whole
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_chunks(path: Path) -> Iterator[str]:
    """The text of the file in chunks of about a million characters, cut anywhere.

    Raises DataError for a file that cannot be read, is binary, is damaged gzip or is not UTF-8.
    """
    offset, pending, carriage = 0, b"", ""
    for number, chunk in enumerate(itertools.chain(byte_chunks(path), [b""])):
        if number == 0:
            if chunk.startswith(_UTF16_MARKS):
                raise DataError(_not_utf8(path, 0, chunk[0], encoding="UTF-16"))
            offset = len(codecs.BOM_UTF8) if chunk.startswith(codecs.BOM_UTF8) else 0
            chunk = chunk[offset:]
        zero = chunk.find(b"\0")
        if zero >= 0:
            raise DataError(_binary(path, offset + len(pending) + zero))
        data, last = pending + chunk, not chunk
        try:
            text, used = codecs.utf_8_decode(data, "strict", last)
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path, offset + error.start, data[error.start])) from None
        offset, pending = offset + used, data[used:]
        text = carriage + text
        carriage = "\r" if text.endswith("\r") and not last else ""  # its LF may be in the next chunk
        text = text[: len(text) - len(carriage)].replace("\r\n", "\n")
        if text:
            yield text


def text_lines(path: Path) -> Iterator[str]:
    """The lines of the file, each with its LF; no other character ends a line. Raises DataError as `text_chunks`."""
    held: list[str] = []
    for chunk in text_chunks(path):
        first, newline, rest = chunk.partition("\n")
        held.append(first)
        if newline:
            yield "".join(held) + newline
            *lines, last = rest.split("\n")
            yield from (line + "\n" for line in lines)
            held = [last]
        elif sum(map(len, held)) > _LONGEST_LINE:
            raise DataError(
                f"a line must have at most {_LONGEST_LINE} characters, but {shown(path)} has a longer one\n"
                "Put one document on each line, or save running text as .txt."
            )
    if any(held):
        yield "".join(held)


def byte_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of the file in chunks, .gz unpacked. Raises DataError for one that cannot be read or is damaged."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{shown(path)} is damaged or cut short: {error}\nFetch it again, or leave it out of the folder."
        ) from error
    except OSError as error:
        raise DataError(unreadable(path, error)) from error


def shown(path: Path) -> str:
    """The path as a message can carry it: bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def unreadable(path: Path, error: OSError) -> str:
    """The message for a file or folder that the system does not let us read."""
    return f"{shown(path)} cannot be read: {error.strerror or error}\nMend its permissions, or leave it out."


def _binary(path: Path, offset: int) -> str:
    return (
        f"a text file has no NUL bytes, but {shown(path)} has one at byte {offset}{_unpacked(path)}: it is binary\n"
        "Take it out of the folder, or convert it to UTF-8 text (UTF-16 without a byte order mark looks like this too)."
    )


def _not_utf8(path: Path, offset: int, value: int, encoding: str = "") -> str:
    found = f"begins with the byte order mark of {encoding}" if encoding else "is in another encoding"
    unpack = f"gzip -dc '{shown(path)}' | " if _unpacked(path) else ""
    name = "" if unpack else f" '{shown(path)}'"
    return (
        f"text must be UTF-8, but {shown(path)} {found}:\n"
        f"byte {offset}{_unpacked(path)} is 0x{value:02x}\n"
        f"Convert it: {unpack}iconv -f {encoding or 'WINDOWS-1252'} -t UTF-8{name} > new.txt"
        + ("" if encoding else "\n(or the encoding it was written in, instead of WINDOWS-1252)")
    )


def _unpacked(path: Path) -> str:
    return " of what it unpacks to" if path.name.lower().endswith(".gz") else ""
