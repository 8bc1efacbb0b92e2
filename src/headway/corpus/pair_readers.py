"""One reader of pairs a kind of file: each gives the pairs of a file one after another, in bounded memory."""

import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.corpus.pair_memory import read_translation_memory
from headway.corpus.table_files import parquet_rows, separated_rows
from headway.corpus.text_file import shown, text_lines
from headway.errors import DataError

logger = logging.getLogger(__name__)

_NESTED = "translation"  # a field that holds both languages, {"en": ..., "fr": ...}, as many published sets have it
_WAY_OUT = "Name the two: --set data.source_field=NAME --set data.target_field=NAME"


@dataclass(frozen=True, slots=True)
class Pair:
    """A source, its target, and where they stand (file, and line or row), for messages."""

    source: str
    target: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class PairFields:
    """The names of the fields, columns or languages that hold source and target; None: as each reader chooses."""

    source: str | None = None
    target: str | None = None


def kind_of(path: Path) -> str | None:
    """The suffix that names the reader, or None for a file of another kind or a folder."""
    name = path.name.lower()
    inner = name.removesuffix(".gz")
    suffix = os.path.splitext(inner)[1]
    if suffix not in READERS or (suffix == ".parquet" and inner != name) or path.is_dir():
        return None
    return suffix


def read_two_files(source_path: Path, target_path: Path) -> Iterator[Pair]:
    """Line n of the one file with line n of the other. Raises DataError naming both counts where they differ."""
    name = shown(source_path)
    sources, targets = text_lines(source_path), text_lines(target_path)
    for number in itertools.count(1):
        source, target = next(sources, None), next(targets, None)
        if source is None and target is None:
            return
        if source is None or target is None:
            n_sources = number - 1 + (source is not None) + sum(1 for _ in sources)
            n_targets = number - 1 + (target is not None) + sum(1 for _ in targets)
            raise DataError(
                "two files of pairs must have equally many lines, but\n"
                f"{name} has {n_sources} and {shown(target_path)} has {n_targets}\n"
                "Mend the file where a line is missing or broken in two."
            )
        yield Pair(source.removesuffix("\n"), target.removesuffix("\n"), f"{name}:{number}")


def read_tabs(path: Path, fields: PairFields) -> Iterator[Pair]:
    """A pair a line, divided by one tab; no quotes, no escapes. Blank lines are passed over.

    Named fields are looked up in the first line, or are numbers of columns from 1. A first line "source", "target" is
    a header. More than two columns are refused, but for the two layouts of Tatoeba: a third column of attribution
    ("CC-BY ..."), and numbers before both sentences.
    """
    name = shown(path)
    chosen: tuple[int, int] | None = None
    n_columns = 0
    for number, line in enumerate(text_lines(path), start=1):
        columns = line.removesuffix("\n").split("\t")
        if columns == [""]:
            continue
        if chosen is None:
            chosen, header = _tab_columns(columns, fields, f"{name}:{number}")
            n_columns = len(columns)
            if header:
                continue
        if len(columns) != n_columns:
            raise DataError(_column_count(f"{name}:{number}", len(columns), n_columns))
        yield Pair(columns[chosen[0]], columns[chosen[1]], f"{name}:{number}")


def read_json_lines(path: Path, fields: PairFields) -> Iterator[Pair]:
    """A pair a line: an object with two fields, or a list of two strings; null is an empty text."""
    for number, line in enumerate(text_lines(path), start=1):
        if line.isspace():
            continue
        place = f"{shown(path)}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not JSON: {error}\nMend that line or take it out.") from None
        if isinstance(value, list) and len(value) == 2 and fields.source is None:
            yield Pair(_text(value[0], place, "the first"), _text(value[1], place, "the second"), place)
        elif isinstance(value, dict):
            yield _from_object(value, fields, place)
        else:
            raise DataError(
                f"{place} must be an object with a source and a target, but is {value!r:.80}\n"
                'Write {"source": ..., "target": ...} on each line.'
            )


def read_commas(path: Path, fields: PairFields) -> Iterator[Pair]:
    """A pair a row of a .csv with a header: the two columns named, "source" and "target", or the only two."""
    header, rows = separated_rows(path)
    if header is None:
        return
    names = _two_names(header, fields, shown(path))
    source, target = header.index(names[0]), header.index(names[1])
    for place, row in rows:
        yield Pair(row[source], row[target], place)


def read_parquet(path: Path, fields: PairFields) -> Iterator[Pair]:
    """A pair a row: the two columns named, "source" and "target", or the only two; or one column "translation".

    Raises DependencyError where pyarrow is not installed.
    """

    def chosen(names: Sequence[str]) -> list[str]:
        nested = _NESTED in names and (fields.source is None or fields.source not in names)
        return [_NESTED] if nested else list(_two_names(names, fields, shown(path)))

    for place, row in parquet_rows(path, chosen):
        yield _from_object(row, fields, place)


def read_memory(path: Path, fields: PairFields) -> Iterator[Pair]:
    """A pair a unit of a translation memory; the fields are its languages."""
    for source, target, line in read_translation_memory(path, source=fields.source, target=fields.target):
        yield Pair(source, target, f"{shown(path)}:{line}")


READERS: Mapping[str, Callable[[Path, PairFields], Iterator[Pair]]] = {
    ".tsv": read_tabs,
    ".jsonl": read_json_lines,
    ".csv": read_commas,
    ".parquet": read_parquet,
    ".tmx": read_memory,
}
"""The reader of each kind of file, by its suffix."""


def _tab_columns(columns: Sequence[str], fields: PairFields, place: str) -> tuple[tuple[int, int], bool]:
    """The columns of source and target, chosen by the first line, and whether that line is a header."""
    if fields.source is not None and fields.target is not None:
        if fields.source.isdecimal() and fields.target.isdecimal():
            numbers = int(fields.source) - 1, int(fields.target) - 1
            if not all(0 <= number < len(columns) for number in numbers):
                raise DataError(
                    f"columns {fields.source} and {fields.target} are asked for, but {place} has {len(columns)}\n"
                    f"{_WAY_OUT}"
                )
            return numbers, False
        names = _two_names(columns, fields, f"{place}, the line of names,")
        return (columns.index(names[0]), columns.index(names[1])), True
    lowered = [column.strip().lower() for column in columns]
    if "source" in lowered and "target" in lowered:
        logger.info("%s: the line of names is no pair", place)
        return (lowered.index("source"), lowered.index("target")), True
    if len(columns) == 2:
        return (0, 1), False
    if len(columns) == 3 and columns[2].startswith("CC-BY"):
        logger.info("%s: columns 1 and 2 are taken, the third is an attribution", place)
        return (0, 1), False
    if len(columns) == 4 and columns[0].isdecimal() and columns[2].isdecimal():
        logger.info("%s: columns 2 and 4 are taken, the others are sentence numbers", place)
        return (1, 3), False
    raise DataError(_column_count(place, len(columns), 2))


def _column_count(place: str, found: int, wanted: int) -> str:
    few = found < 2
    way_out = (
        "Divide source and target by a tab. Targets in a file of their own: --set data.target_path=FILE"
        if few
        else "Take the surplus tabs out, or give two columns by number: --set data.source_field=1 "
        "--set data.target_field=2"
    )
    return f"each line must have {wanted} columns divided by tabs, but {place} has {found}\n{way_out}"


def _from_object(value: Mapping[str, Any], fields: PairFields, place: str) -> Pair:
    inner = value.get(_NESTED)
    if isinstance(inner, dict) and (fields.source is None or fields.source not in value):
        value = inner
    source, target = _two_names(list(value), fields, place)
    return Pair(_text(value[source], place, repr(source)), _text(value[target], place, repr(target)), place)


def _two_names(names: Sequence[str], fields: PairFields, place: str) -> tuple[str, str]:
    if fields.source is not None and fields.target is not None:
        wanted = fields.source, fields.target
    elif ("source" in names and "target" in names) or len(names) != 2:
        wanted = "source", "target"
    else:
        wanted = names[0], names[1]
    missing = [name for name in wanted if name not in names]
    if missing:
        listed = ", ".join(map(repr, names[:20])) or "none"
        raise DataError(f"{place} has no field {missing[0]!r}; it has {listed}\n{_WAY_OUT}")
    return wanted


def _text(value: object, place: str, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"source and target must be strings, but in {place} {name} is {type(value).__name__}: {value!r:.80}\n"
            f"{_WAY_OUT}"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half a character, {value[error.start]!a}, which is not Unicode text\n"
            "Mend that line or take it out."
        ) from None
    return value.replace("\r\n", "\n")
