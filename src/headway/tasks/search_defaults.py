"""What a model folder says about translating: the ids that begin and end, and the search's own settings.

They stand in generation_config.json under the names transformers has for them, and a few of ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.errors import FormatError
from headway.formats.folder import LONGEST_SOURCE
from headway.tasks.alignment import Head, head_of

HEAD_KEY = "headway_alignment_head"
"""The attention that aligns best: [layer, head], or [layer, null] for the mean over its heads."""

_BEAM = 4
_LONGEST = 256


@dataclass(frozen=True, kw_only=True)
class SearchDefaults:
    """A folder's settings; alpha is the exponent of the length, which transformers calls length_penalty."""

    start: int | None
    ends: frozenset[int]
    barred: frozenset[int]
    head: Head | None
    longest: int
    beam: int
    alpha: float
    max_new_tokens: int | None


def read_defaults(table: Mapping[str, object]) -> SearchDefaults:
    """The settings in the table of generation_config.json. Raises FormatError for a value that makes no sense."""
    longest = _whole(table, LONGEST_SOURCE)
    beam = _whole(table, "num_beams")
    # max_length counts the start id too.
    max_length, max_new_tokens = _whole(table, "max_length"), _whole(table, "max_new_tokens")
    if max_new_tokens is None and max_length is not None:
        max_new_tokens = max(1, max_length - 1)
    head = table.get(HEAD_KEY)
    if head is not None and head_of(head) is None:
        raise _wrong(HEAD_KEY, "[layer, head] or [layer, null]", head)
    start = _id(table, "decoder_start_token_id")
    ends = frozenset(_ids(table, "eos_token_id"))
    return SearchDefaults(
        start=start,
        ends=ends,
        barred=frozenset({*_ids(table, "pad_token_id"), *_forbidden(table), *([] if start is None else [start])}),
        head=None if head is None else head_of(head),
        longest=_LONGEST if longest is None else longest,
        beam=_BEAM if beam is None else beam,
        alpha=_number(table, "length_penalty", 1.0),
        max_new_tokens=max_new_tokens,
    )


def _id(table: Mapping[str, object], name: str) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(name, "an id", value)
    return value


def _ids(table: Mapping[str, object], name: str) -> list[int]:
    value = table.get(name)
    several: list[Any] = value if isinstance(value, list) else [value]
    return [token for one in several if (token := _id({name: one}, name)) is not None]


def _forbidden(table: Mapping[str, object]) -> list[int]:
    """Ids that may never be written; sequences of several are not supported, and not dropped in silence."""
    name = "bad_words_ids"
    value = table.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 1 for one in value):
        raise _wrong(name, "a list of lists of one id each", value)
    return [token for one in value for token in _ids({name: one}, name)]


def _whole(table: Mapping[str, object], name: str) -> int | None:
    value = table.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise _wrong(name, "a whole number of at least 1", value)
    return value


def _number(table: Mapping[str, object], name: str, default: float) -> float:
    value = table.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(name, "a number", value)
    return float(value)


def _wrong(name: str, wanted: str, value: object) -> FormatError:
    shown = repr(value)
    return FormatError(
        f"{name} in generation_config.json must be {wanted}, but is {shown[:100]}\nCorrect that file, or delete it."
    )
