"""What the verbs print with: results to stdout, words about them to stderr."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """Print one JSON document; a number that is not finite becomes null, which JSON can say."""
    print(json.dumps(_finite(value), ensure_ascii=False, indent=2, allow_nan=False))


def print_rows(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows as aligned columns, the last one as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(f"{indent}{'  '.join(cells)}".rstrip())


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def bytes_text(count: float) -> str:
    """A size for people: 4.9 MB, 23.4 GB (powers of ten)."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def count_text(count: float) -> str:
    """A count for people: 124.4M, 7.1k."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
