"""From repeats to medians, and from medians to the tables people read."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rows import ROWS, Row

Result = dict[str, Any]
Results = Mapping[str, Mapping[str, Sequence[Result]]]
"""Row name -> work -> repeats, of one family."""

CORES, STEAL = (
    0.15,
    0.02,
)  # a repeat beside more of other processes, or more time taken by another machine, is set aside
_PLACES = 3


def is_quiet(result: Result) -> bool:
    """Whether nothing was seen beside it; a work that cannot tell (a cold start) is taken as it is."""
    return bool(result.get("others", 0.0) <= CORES and result.get("stolen", 0.0) <= STEAL)


def kept(repeats: Sequence[Result]) -> list[Result]:
    """The quiet repeats; all of them where none was."""
    return [result for result in repeats if is_quiet(result)] or list(repeats)


def figures(family: str, row: Row, works: Mapping[str, Sequence[Result]], speed: float, size: int) -> dict[str, float]:
    """A row's medians by name. speed: GB/s that the machine reads; size: parameters read for each token."""
    found: dict[str, float] = {}
    for work, repeats in works.items():
        good = kept(repeats)
        if not good:
            continue
        if family != "gpt2":
            count = len(good[0]["ids"]) if family == "marian" else good[0]["rows"]
            found[work] = statistics.median(count / result["seconds"] for result in good)
        elif work == "cold start":
            found["loading"] = statistics.median(result["first"] - result["imported"] for result in good)
            found["imports"] = statistics.median(result["imported"] - result["began"] for result in good)
        else:
            found[work] = statistics.median(_rate(result) for result in good)
        if work == "after 512":
            found["prefill"] = statistics.median(1000 * result["stamps"][0] for result in good)
            found["peak"] = statistics.median(result["peak"] / 1e6 for result in good)
    if "after 32" in found:
        found["limit"] = found["after 32"] * size * row.stored / 8 / 1e9 / speed
    return found


def _rate(result: Result) -> float:
    """Tokens a second of all rows together, the first token, which the prompt pays for, apart."""
    stamps, rows = result["stamps"], len(result["ids"])
    return float(rows * (len(stamps) - 1) / (stamps[-1] - stamps[0]))


_COLUMNS = {
    "gpt2": {
        "after 32": "decode tok/s after 32",
        "limit": "of the read limit",
        "after 512": "after 512",
        "prefill": "prefill 512, ms",
        "batch 8": "batch 8 tok/s",
        "stolen core": "one core stolen, tok/s",
        "loading": "cold start s, without imports",
        "imports": "imports s",
        "peak": "peak MB",
        "times": "times its weights",
    },
    "bert": {"batch 1": "batch 1, sentences/s", "batch 32": "batch 32", "error": "largest error of a state"},
    "marian": {"beam 4": "sentences/s"},
}
TITLES = {
    "gpt2": "GPT-2, greedy",
    "bert": "BERT, sequence 128",
    "marian": "Transformer in Marian's form, beam 4, 25 tokens",
}


def table(family: str, medians: Mapping[str, Mapping[str, float]], set_aside: Mapping[str, str]) -> str:
    """Markdown. set_aside: by row, how many repeats of how many were."""
    columns = _COLUMNS[family]
    lines = [f"## {TITLES[family]}", "| peer | precision | " + " | ".join(columns.values()) + " | set aside |"]
    lines.append("|---" * (len(columns) + 3) + "|")
    for row in ROWS[family]:
        if row.name in medians:
            cells = [_cell(name, medians[row.name].get(name)) for name in columns]
            lines.append("| " + " | ".join([row.peer, row.precision, *cells, set_aside[row.name]]) + " |")
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name == "limit":
        return f"{value:.0%}"
    return f"{value:.{_PLACES}g}" if abs(value) < 100 else f"{value:,.0f}"


def difference(family: str, reference: Result, other: Result) -> str:
    """What differs between two results of float32, in a phrase; "" where nothing does."""
    if family == "bert":
        error = state_error(reference, other)
        return f"a state differs by {error:.2g}" if error > 1e-3 else ""
    rows = 0
    first = None
    for number, (own, their) in enumerate(zip(reference["ids"], other["ids"], strict=True)):
        place = next((place for place, pair in enumerate(zip(own, their, strict=False)) if pair[0] != pair[1]), None)
        if place is None and len(own) != len(their):
            place = min(len(own), len(their))
        if place is not None:
            rows += 1
            first = first or f"first in row {number} at token {place}"
    return f"{rows} of {len(reference['ids'])} rows have other ids, {first}" if rows else ""


def state_error(reference: Result, other: Result) -> float:
    """The largest distance of a number of the first sentence's states."""
    own: list[list[float]] = reference["states"]
    theirs: list[list[float]] = other["states"]
    rows = zip(own, theirs, strict=True)
    return max(abs(one - two) for row, their in rows for one, two in zip(row, their, strict=True))
