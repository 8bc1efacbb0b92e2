"""Tables in files, row by row in bounded memory: separated values with a header, and Parquet.

What the readers of documents and of pairs share: where a row stands, and what is wrong with it.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.corpus.text_file import shown, text_lines, unreadable
from headway.errors import DataError, DependencyError

_LONGEST_FIELD = 1 << 24  # characters of a field; the csv module's own limit is 131072
_PARQUET_ROWS = 1024


def separated_rows(path: Path, separator: str = ",") -> tuple[list[str] | None, Iterator[tuple[str, list[str]]]]:
    """The header, None where the file is empty, and the rows as (place, fields), blank ones left out.

    Raises DataError, naming the line, for quotes that do not close and for a row of another length than the header.
    """
    rows = csv.reader(text_lines(path), delimiter=separator, strict=True)
    header = _next_row(rows, path)
    return header, iter(()) if header is None else _rows(rows, len(header), path)


def parquet_rows(path: Path, choose: Callable[[Sequence[str]], list[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows as (place, values by column); choose: the columns that are read, from the names of all.

    Raises DependencyError where pyarrow is not installed, DataError for a file that is not sound.
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
            columns = choose(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{shown(path)}:row {number}", row
    except pyarrow.ArrowException as error:
        raise DataError(f"{shown(path)} is not sound Parquet: {error}\nFetch it again, or leave it out.") from error
    except OSError as error:
        raise DataError(unreadable(path, error)) from error


def _rows(rows: Any, width: int, path: Path) -> Iterator[tuple[str, list[str]]]:
    while True:
        place = f"{shown(path)}:{rows.line_num + 1}"
        row = _next_row(rows, path)
        if row is None:
            return
        if row and len(row) != width:
            raise DataError(
                f"each row must have the {width} fields of the header, but {place} has {len(row)}\n"
                'Put fields that hold the separator or a line break in double quotes ("), or mend that row.'
            )
        if row:
            yield place, row


def _next_row(rows: Any, path: Path) -> list[str] | None:
    limit = csv.field_size_limit(_LONGEST_FIELD)  # the module has one limit for all readers: it is put back
    try:
        row: list[str] | None = next(rows, None)
        return row
    except csv.Error as error:
        raise DataError(
            f"{shown(path)} cannot be read up to line {rows.line_num}: {error}\n"
            f'Mend the quotes (") there; a field may have {_LONGEST_FIELD} characters.'
        ) from None
    finally:
        csv.field_size_limit(limit)
